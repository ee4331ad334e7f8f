// SPDX-License-Identifier: Apache-2.0
//
// The calls that change files or make them durable, and the seam at which tests see and fail each of them.
//
// Every function here asks the calling thread's watch first, if it has one: one load of a thread-local word beside a system
// call. A watch can let the call happen, fail it with an errno, cut a transfer short, or pretend that it happened. That is
// how the tests make each call fail in turn, and how they record what a power cut could lose.

#ifndef PGW_STORAGE_H
#define PGW_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "pgw_system.h"

typedef enum pgw_call_kind {
  PGW_CALL_OPEN = 1,    // path
  PGW_CALL_READ,        // descriptor, offset, length
  PGW_CALL_WRITE,       // descriptor, offset, length, bytes
  PGW_CALL_TRUNCATE,    // descriptor, offset = the new size
  PGW_CALL_ALLOCATE,    // descriptor, offset, length
  PGW_CALL_PUNCH,       // descriptor, offset, length
  PGW_CALL_SYNC_DATA,   // descriptor
  PGW_CALL_SYNC_FILE,   // descriptor
  PGW_CALL_SYNC_RANGE,  // descriptor, bytes = address, length: msync
  PGW_CALL_WRITEBACK,   // descriptor, offset, length
  PGW_CALL_RENAME,      // path, other = the new name
  PGW_CALL_UNLINK,      // path
  PGW_CALL_SYNC_FOLDER, // path
  PGW_CALL_LOCK,        // descriptor
  PGW_CALL_MAP,         // descriptor, offset, length
  PGW_CALL_POPULATE,    // bytes = address, length
  PGW_CALL_STAT,        // descriptor
  PGW_CALL_ATTRIBUTES,  // descriptor: mode, owner, extended attributes
} pgw_call_kind;

typedef struct pgw_call {
  pgw_call_kind kind;
  int descriptor;
  int64_t offset;
  uint64_t length;
  const void *bytes;
  const char *path, *other;
} pgw_call;

/// What a watch answers before a call. A positive number is the errno to fail with.
enum { PGW_PERFORM = 0, PGW_PRETEND = -1, PGW_SHORT = -2 };

typedef struct pgw_call_watch {
  void *context;
  int (*before)(void *context, const pgw_call *call);
  /// `result` as the call returned it; after a failure errno is set.
  void (*after)(void *context, const pgw_call *call, int64_t result);
} pgw_call_watch;

/// Watches the calls of this thread, until NULL is given. For tests.
void pgw_watch_calls(const pgw_call_watch *watch);

/// open(2) with O_CLOEXEC, again after EINTR.
int pgw_storage_open(const char *path, int flags, int mode);
int pgw_storage_stat(int descriptor, uint64_t *size, uint64_t *allocated);
/// pgw_fstat, watched.
int pgw_storage_fstat(int descriptor, pgw_stat *out);
/// All of it or an error: goes on after EINTR and short counts. Returns `count`, or less at the end of the file; -1.
ssize_t pgw_storage_read(int descriptor, void *buffer, size_t count, int64_t offset);
/// All of it or an error: goes on after EINTR and short counts. 0 or -1. `bytes` may be mapped: a page that cannot be had is
/// EFAULT, not a signal. EFBIG instead of SIGXFSZ beyond RLIMIT_FSIZE.
int pgw_storage_write(int descriptor, const void *bytes, size_t count, int64_t offset);
/// ftruncate. EFBIG instead of SIGXFSZ beyond RLIMIT_FSIZE.
int pgw_storage_truncate(int descriptor, int64_t size);
/// Blocks for a range; the size grows to its end. Never emulated by writing: EOPNOTSUPP where the file system cannot.
int pgw_storage_allocate(int descriptor, int64_t offset, int64_t length);
/// Gives the blocks of a range back; it reads as zeros. The size stays.
int pgw_storage_punch(int descriptor, int64_t offset, int64_t length);

/// Blocks for a range, also behind the end of the file, whose size stays. Never emulated by writing.
int pgw_storage_allocate_ahead(int descriptor, int64_t offset, int64_t length);

/// What a sync has to reach.
typedef enum pgw_sync_level {
  PGW_SYNC_DATA,     // Linux: fdatasync. Darwin: fsync, which reaches the drive, not its medium.
  PGW_SYNC_DEVICE,   // Linux: fsync. Darwin: F_FULLFSYNC.
  PGW_SYNC_BARRIER,  // Linux: fdatasync, which is more. Darwin: F_BARRIERFSYNC.
} pgw_sync_level;
/// EIO or EROFS also where the call said 0 and the file system has ended under it: see is_alive.
int pgw_storage_sync(int descriptor, pgw_sync_level level);
/// msync(MS_SYNC) of whole pages of a mapping of `descriptor`'s file; EIO and EROFS as for pgw_storage_sync. Darwin: as strong as its
/// fsync.
int pgw_storage_sync_range(int descriptor, void *base, size_t length);
/// Starts to write a range back and does not wait. ENOTSUP on Darwin.
int pgw_storage_writeback(int descriptor, int64_t offset, int64_t length);
/// Makes the names in a folder durable: open, fsync, close. Darwin: F_FULLFSYNC.
int pgw_storage_sync_folder(const char *path);
int pgw_storage_rename(const char *from, const char *to);
/// rename that refuses (EEXIST) to take the place of a file; by link and unlink where the system has no such call.
int pgw_storage_rename_new(const char *from, const char *to);
int pgw_storage_unlink(const char *path);

/// The path without symbolic links, "." and ".." (realpath). Freed by the caller; NULL on failure.
char *pgw_real_path(const char *path);
/// What a symbolic link holds. Freed by the caller; NULL on failure.
char *pgw_read_link(const char *path);
/// When the file was made, nanoseconds since 1970; 0 where that is not known.
int64_t pgw_birth_ns(int descriptor);
/// Fills with random bytes from the kernel. 0 or -1.
int pgw_random(void *bytes, size_t count);

/// A lock of the whole file that belongs to the open file and ends with it, also when its process is killed (OFD lock; flock on
/// Darwin). Does not wait: EAGAIN while somebody else has it.
int pgw_storage_lock(int descriptor);
/// Gives the lock back, also where a child that was just forked still has the open file. 0 or -1.
int pgw_storage_unlock(int descriptor);
/// 1: somebody has the lock, 0: nobody, -1: not known.
int pgw_storage_is_locked(int descriptor);
/// 1: no other open file, mapping or link of this process or another uses the file (proved by a write lease, which is given
/// back at once), 0: somebody does, -1: not known (no leases here, not this user's file). Duplicates of the descriptor, and a forked
/// child that inherited it or its mappings, are the same open file and not told apart.
int pgw_storage_is_alone(int descriptor);

/// mmap as pgw_map, watched. NULL on failure.
void *pgw_storage_map(void *hint, size_t length, int protection, int flags, int descriptor, int64_t offset);
/// Makes every page writable now (MADV_POPULATE_WRITE). EFAULT where a store would raise a signal.
int pgw_storage_populate(void *base, size_t length);

/// Gives `descriptor` the mode, the owner and the extended attributes of `model`. What this user may not set, or the file system
/// does not have, is left out, and with it the rights that it would have limited; `strict`: a change of owner that is refused is
/// an error. 0 or -1.
int pgw_storage_copy_attributes(int model, int descriptor, bool strict);

/// A load of a word that another process may store meanwhile, and what follows it stays behind it.
static inline uint64_t pgw_load_word(const void *address) {
  return __atomic_load_n((const uint64_t *)address, __ATOMIC_ACQUIRE);
}
/// What was stored before is seen by whoever loads this word with pgw_load_word.
static inline void pgw_store_word(void *address, uint64_t value) {
  __atomic_store_n((uint64_t *)address, value, __ATOMIC_RELEASE);
}
/// What was loaded before stays before what is loaded after.
static inline void pgw_fence_loads(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
/// Gives the processor away for about this long.
void pgw_sleep_ns(uint64_t nanoseconds);

/// A run of whole pages, bytes from the base that was given.
typedef struct pgw_page_run {
  size_t start, end;
} pgw_page_run;

/// Finds the pages of a private mapping that this process has changed: from `*next` on (bytes from `base`), at most `capacity`
/// runs, ascending; `*next` is where to go on, `length` at the end. Returns the number of runs, or -1 where the kernel cannot
/// tell. Exact, but for pages that hold what they held before. PAGEMAP_SCAN (Linux 6.7), else /proc/self/pagemap.
int pgw_changed_pages(const void *base, size_t length, pgw_page_run *out, int capacity, size_t *next);
/// The same by plain pagemap, so that a test on a newer kernel reaches it.
int pgw_changed_pages_portable(const void *base, size_t length, pgw_page_run *out, int capacity, size_t *next);

/// The parts of [base, base + length), a mapping of the file with this inode, that are mapped from something else: what the
/// guard replaced. At most `capacity` runs; returns their number, or -1. Reads /proc/self/maps.
int pgw_replaced_pages(const void *base, size_t length, uint64_t inode, pgw_page_run *out, int capacity);

/// 1: a new file beside this one could have `bytes` bytes, 0: no, by the disk or by a quota, -1: not known. Tries it with an
/// unnamed file.
int pgw_has_room_beside(int descriptor, int64_t bytes);

/// 1: the range has blocks that are shared with another file or version (FIEMAP), so that overwriting needs new ones; 0: none;
/// -1: not known.
int pgw_has_shared_blocks(int descriptor, int64_t offset, int64_t length);

#endif
