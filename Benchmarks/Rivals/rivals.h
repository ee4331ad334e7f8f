// SPDX-License-Identifier: Apache-2.0

#ifndef PGW_RIVALS_H
#define PGW_RIVALS_H

#include <stddef.h>
#include <stdint.h>

#include "CBaselines.h"

/// A store of values of 4 KiB by number, that commits changes of some of them at once. Every call ends the program when it fails.
typedef struct rival {
  const char *name;
  /// Makes the files in a folder, with `count` values.
  void *(*open)(const char *folder, size_t count);
  /// One transaction, up to where it would be committed.
  void (*store)(void *state, base_changes changes);
  void (*commit)(void *state);
  /// Copies value `number`.
  void (*read)(void *state, uint32_t number, void *value);
  /// Closes it and removes the files.
  void (*close)(void *state);
} rival;

extern const rival sqlite_wal, sqlite_delete, lmdb_full, lmdb_fitting;

/// What value `number` holds at first, and its new content: as the files of `pagewise-benchmarks`, from which the bytes come.
void rival_value(uint32_t number, void *value);
void rival_change(uint32_t number, base_changes changes, void *value);
_Noreturn void rival_fail(const char *call, const char *why);

#endif
