// SPDX-License-Identifier: Apache-2.0
//
// Looking at files without leaving a trace: opening without an access time, listing folders, finding who writes.

#ifndef PGW_OBSERVE_H
#define PGW_OBSERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "pgw_system.h"

/// Opens for reading with O_NONBLOCK | O_NOCTTY | O_CLOEXEC and, where this user may, O_NOATIME.
int pgw_open_unnoticed(const char *path);

/// A folder being listed. NULL and errno when it cannot be opened.
typedef struct pgw_listing pgw_listing;
pgw_listing *pgw_listing_open(const char *path);
/// The next name (any bytes but NUL and '/'), without "." and "..". NULL at the end, or on an error, which then is in errno
/// (0 at the end). Valid until the next call. `kind` becomes the S_IFMT bits of what stands there, 0 where the file system does not
/// tell them with the name.
const char *pgw_listing_next(pgw_listing *listing, uint32_t *kind);
void pgw_listing_close(pgw_listing *listing);
/// pgw_open_unnoticed and stat of a name in the folder being listed. One component; the path to it is not walked again.
int pgw_listing_open_file(const pgw_listing *listing, const char *name, bool follow);
int pgw_listing_stat(const pgw_listing *listing, const char *name, bool follow, pgw_stat *out);

/// A process that has a file open for writing.
typedef struct pgw_writer {
  int64_t process;
  char name[32];
} pgw_writer;
/// Looks through the open descriptors of all processes that this user may see, for at most `budget_ns`.
/// 1: found, 0: none among all processes, -1: none among those that could be asked in time.
int pgw_find_writer(uint64_t device, uint64_t inode, uint64_t budget_ns, pgw_writer *out);

/// 1: nobody has the file open for writing, 0: somebody has, -1: not known (not this user's file, or no leases here).
/// Takes a read lease and gives it back at once.
int pgw_has_no_writer(int descriptor);

#endif
