// SPDX-License-Identifier: Apache-2.0
//
// What one pass over a large file needs of the kernel: reading past the page cache, and which pages were in memory before.

#ifndef PGW_STREAM_H
#define PGW_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// Opens the file behind a descriptor once more for reading, so that advice and read-ahead are this opening's own. Without a
/// trace in its access time where this user may ask for that. With `direct` past the page cache (O_DIRECT). -1 where the
/// platform cannot (no /proc, Darwin), or the file system refuses (EINVAL).
int pgw_reopen(int descriptor, bool direct);

/// What O_DIRECT wants of the memory's address and of offsets and lengths, in bytes; 0 for an opening that it would refuse.
typedef struct pgw_direct_alignment {
  uint32_t memory, offset;
} pgw_direct_alignment;
/// statx with STATX_DIOALIGN (Linux 6.1). -1 where nobody tells: then only a trial does.
int pgw_get_direct_alignment(int descriptor, pgw_direct_alignment *out);

/// preadv2 with RWF_DONTCACHE (Linux 6.14): what it brings into the page cache leaves it again. EOPNOTSUPP where the file system
/// or the kernel cannot. Again after EINTR.
ssize_t pgw_pread_dontcache(int descriptor, void *buffer, size_t count, int64_t offset);

/// One byte a page, bit 0 says in memory, of whole pages from a page aligned offset on. Maps and unmaps the range and touches
/// nothing. True only for a file that pgw_may_write.
int pgw_resident_pages(int descriptor, int64_t offset, size_t length, unsigned char *vector);

/// read(2), again after EINTR.
ssize_t pgw_read_next(int descriptor, void *buffer, size_t count);
/// Waits until there is something to read, or the end. 1 ready, 0 not within the time or a signal came, -1 failed.
int pgw_wait_readable(int descriptor, int milliseconds);

#endif
