// SPDX-License-Identifier: Apache-2.0
//
// Checked copy: memcpy that stops at a page that cannot be had, instead of raising a signal that ends the process.

#ifndef PGW_COPY_H
#define PGW_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Copies `count` bytes forwards. Returns the number of bytes NOT copied: 0 when all went well. The lost page may be the
/// source's or the destination's. Bytes before it may or may not have been stored. Needs pgw_guard_install; async-signal-safe.
///
/// On x86-64 this is a leaf routine in assembly without any set-up: the fault handler moves the program counter from
/// inside it to its landing pad, as the kernel does for its own user copies. Elsewhere it is pgw_copy_portable.
size_t pgw_copy_checked(void *destination, const void *source, size_t count);

/// The same promise in portable C: a sigsetjmp inside one C function, which no other frame is ever jumped over.
size_t pgw_copy_portable(void *destination, const void *source, size_t count);

/// What a proving copy tells.
typedef struct pgw_proved_copy {
  size_t missing;   ///< bytes NOT copied, as from pgw_copy_checked
  size_t has_zero;  ///< not 0 when a copied byte is zero; without meaning when bytes are missing
} pgw_proved_copy;

/// pgw_copy_checked that also looks for a zero byte on the way. What a cut leaves in a page is zeros, so bytes without any
/// are the file's own. For short copies: it has no string move.
pgw_proved_copy pgw_copy_proving(void *destination, const void *source, size_t count);

/// What a checked load tells.
typedef struct pgw_loaded {
  uint64_t value;    ///< the bytes as they lie, in the low end of the word
  uint64_t missing;  ///< not 0 when they could not be had
} pgw_loaded;

/// Checked copies of one size into a register, unaligned. As pgw_copy_checked in everything else.
pgw_loaded pgw_load_checked_1(const void *source) __attribute__((pure));
pgw_loaded pgw_load_checked_2(const void *source) __attribute__((pure));
pgw_loaded pgw_load_checked_4(const void *source) __attribute__((pure));
pgw_loaded pgw_load_checked_8(const void *source) __attribute__((pure));

#endif
