// SPDX-License-Identifier: Apache-2.0
//
// Ways to change a file, append to it and bring it to the device, in C: none of them is atomic but the journal.

#ifndef PGW_BASE_STORAGE_H
#define PGW_BASE_STORAGE_H

#include <stddef.h>
#include <stdint.h>

enum { BASE_PAGE = 4096 };

/// What one commit changes: 8 bytes in each of some pages, or all bytes of them.
typedef struct base_changes {
  const uint32_t *pages;
  size_t count;
  uint64_t value;
  int whole;
} base_changes;

/// Makes a file of `size` bytes by one write, so that its page cache is made of large folios where the file system has them, and syncs
/// it. 0 or -1.
int base_fill(const char *path, size_t size);
/// Where in a page its 8 bytes lie, and the new content of a page.
size_t base_place(uint32_t page);
void base_change_page(void *bytes, uint32_t page, uint64_t value, int whole);
/// Changes mapped bytes: the same stores for every side that maps.
void base_store(void *bytes, base_changes changes);
/// What the file holds, read from the device (after it was evicted, where that is possible): a sum that knows the places of the words.
uint64_t base_digest(const char *path);

/// One file and one way to bring changes to the device.
typedef struct base_committer base_committer;
enum base_commit_way { BASE_COMMIT_MSYNC, BASE_COMMIT_PWRITE, BASE_COMMIT_JOURNAL };
base_committer *base_committer_open(const char *path, int way);
/// The changes, as far as they go without waiting for the device. 0 or -1.
int base_committer_store(base_committer *committer, base_changes changes);
/// Waits for the device. 0 or -1.
int base_committer_commit(base_committer *committer);
/// What the journal still has to do behind its commit point. 0 or -1.
int base_committer_settle(base_committer *committer, base_changes changes);
void base_committer_close(base_committer *committer);

/// Appends `count` records to a new file, taken in turn from `source`, with a sync behind each `sync_every` (0: none). Returns the
/// nanoseconds from the first append to when all of them are in the page cache; 0 when a call failed.
enum base_append_way { BASE_APPEND_WRITE, BASE_APPEND_FWRITE, BASE_APPEND_FWRITE_1M, BASE_APPEND_MAP_PAGE, BASE_APPEND_MAP_DOUBLE };
uint64_t base_append(
    const char *path, int way, const void *source, size_t source_size, size_t record, size_t count, size_t sync_every);
/// 1 when the file holds, from `offset` on, just `length` bytes that repeat `source`; bytes behind them must be zeros.
int base_repeats(const char *path, size_t offset, size_t length, const void *source, size_t source_size);

/// A mapped file that is flushed: the C side of MutableMappedFile.flush.
enum base_flush_way { BASE_FLUSH_MSYNC, BASE_FLUSH_FDATASYNC, BASE_FLUSH_FSYNC, BASE_FLUSH_QUEUE };
/// Nanoseconds of the call over the whole file; 0 when it failed or there is no such call.
uint64_t base_flush(base_committer *committer, int way);

#endif
