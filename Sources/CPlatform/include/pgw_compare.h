// SPDX-License-Identifier: Apache-2.0
//
// Where two versions of the same bytes differ.

#ifndef PGW_COMPARE_H
#define PGW_COMPARE_H

#include <stddef.h>
#include <stdint.h>

/// A run of bytes, from the start of what was compared.
typedef struct pgw_byte_run {
  uint64_t offset, length;
} pgw_byte_run;

/// Finds the runs in which `now` differs from `before` (NULL: from zeros), ascending, from `*next` on. Runs begin and end at
/// multiples of 8 bytes (the last may end with `length`), and those closer than `gap` bytes are one. At most `capacity`;
/// `*next` is where to go on, `length` at the end. Returns the number of runs.
size_t pgw_find_changes(const void *before, const void *now, size_t length, size_t gap, pgw_byte_run *out, size_t capacity,
                        size_t *next);

#endif
