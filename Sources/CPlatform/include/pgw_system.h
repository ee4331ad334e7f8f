// SPDX-License-Identifier: Apache-2.0
//
// System calls and constants that the platform module of Swift does not import. Each returns what the C function
// returns and leaves the reason in errno. A call that the platform lacks fails with ENOSYS or ENOTSUP.

#ifndef PGW_SYSTEM_H
#define PGW_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 1U
#endif

/// What every caller wants of a file, from one fstat. Times in nanoseconds since 1970.
typedef struct pgw_stat {
  uint64_t device, inode;
  int64_t size, allocated;        // bytes; bytes of blocks really allocated
  int64_t modified_ns, changed_ns;
  uint32_t mode, owner, group, links;
  int64_t block_size;
} pgw_stat;
int pgw_fstat(int descriptor, pgw_stat *out);
int pgw_stat_path(const char *path, bool follow, pgw_stat *out);
/// The same of a path from an open folder.
int pgw_stat_at(int folder, const char *path, bool follow, pgw_stat *out);
/// open(2) with O_CLOEXEC, again after EINTR.
int pgw_open(const char *path, int flags, int mode);
int pgw_close(int descriptor);
/// ftruncate, again after EINTR. EFBIG, and no signal, beyond RLIMIT_FSIZE; pgw_pwrite likewise.
int pgw_truncate(int descriptor, int64_t length);
/// True when RLIMIT_FSIZE does not allow a file of this length.
bool pgw_is_beyond_file_limit(int64_t length);
/// True when this user owns the file or may write it: then mincore tells the truth.
bool pgw_may_write(int descriptor);
/// SIGURG, whose default action is to be ignored.
int pgw_sigurg(void);
/// pread and pwrite, again after EINTR. Short counts are returned as they are.
ssize_t pgw_pread(int descriptor, void *buffer, size_t count, int64_t offset);
ssize_t pgw_pwrite(int descriptor, const void *buffer, size_t count, int64_t offset);
/// The running kernel as major << 16 | minor; 0 when it cannot be read.
uint32_t pgw_kernel_version(void);

/// The size of a block device in bytes, or -1.
int64_t pgw_block_device_size(int descriptor);

/// Magic number of the file system (statfs f_type) and its free room in bytes. On Darwin the type is a hash of f_fstypename.
typedef struct pgw_filesystem {
  uint64_t type;
  uint64_t free_bytes, total_bytes;
  uint64_t block_size;
  bool is_local_known, is_local, is_read_only;
  char name[32];  // Darwin's f_fstypename; empty on Linux
} pgw_filesystem;
int pgw_fstatfs(int descriptor, pgw_filesystem *out);

/// memfd_create; on Darwin an unlinked shared memory object.
int pgw_memfd_create(const char *name, unsigned flags);
enum { PGW_MEMFD_CLOEXEC = 1, PGW_MEMFD_ALLOW_SEALING = 2, PGW_MEMFD_HUGETLB = 4 };
enum { PGW_SEAL_SEAL = 1, PGW_SEAL_SHRINK = 2, PGW_SEAL_GROW = 4, PGW_SEAL_WRITE = 8, PGW_SEAL_FUTURE_WRITE = 16 };
int pgw_add_seals(int descriptor, int seals);
int pgw_get_seals(int descriptor);

/// A read lease (fcntl F_SETLEASE, F_RDLCK). `notify_signal` 0 keeps the default.
int pgw_lease_read(int descriptor, int notify_signal);
int pgw_lease_release(int descriptor);
/// F_RDLCK while held, F_UNLCK once the kernel asks for it back or it is gone. -1 on error.
int pgw_lease_is_held(int descriptor);

/// Clones (FICLONE / fclonefileat) `source` into the empty file `destination`.
int pgw_clone(int destination, int source);
/// An unnamed file in the folder of `path` (O_TMPFILE), or -1.
int pgw_open_unnamed(const char *directory);

/// cachestat(2), Linux 6.5. Pages are the system's pages.
typedef struct pgw_cache_state {
  uint64_t cached, dirty, writeback, evicted, recently_evicted;
} pgw_cache_state;
int pgw_cachestat(int descriptor, uint64_t offset, uint64_t length, pgw_cache_state *out);

/// posix_fadvise advice; ENOTSUP on Darwin except for willNeed (F_RDADVISE). Returns -1 and errno (not the number).
enum { PGW_FADV_NORMAL, PGW_FADV_SEQUENTIAL, PGW_FADV_RANDOM, PGW_FADV_WILLNEED, PGW_FADV_DONTNEED };
int pgw_fadvise(int descriptor, int64_t offset, int64_t length, int advice);

/// madvise by our own numbers, so that one table serves all platforms. ENOTSUP where the platform has no such advice.
enum {
  PGW_MADV_NORMAL, PGW_MADV_SEQUENTIAL, PGW_MADV_RANDOM, PGW_MADV_WILLNEED, PGW_MADV_COLD, PGW_MADV_PAGEOUT,
  PGW_MADV_HUGEPAGE, PGW_MADV_NOHUGEPAGE, PGW_MADV_COLLAPSE, PGW_MADV_POPULATE_READ, PGW_MADV_POPULATE_WRITE,
  PGW_MADV_DONTNEED, PGW_MADV_FREE, PGW_MADV_REMOVE, PGW_MADV_DONTFORK, PGW_MADV_WIPEONFORK, PGW_MADV_DOFORK,
  PGW_MADV_DONTDUMP, PGW_MADV_DODUMP, PGW_MADV_GUARD_INSTALL, PGW_MADV_GUARD_REMOVE,
};
int pgw_madvise(void *base, size_t length, int advice);

/// mmap; protection bits 1 read, 2 write, 4 execute. Returns NULL on failure (errno set).
enum {
  PGW_MAP_SHARED = 1, PGW_MAP_PRIVATE = 2, PGW_MAP_ANONYMOUS = 4, PGW_MAP_POPULATE = 8, PGW_MAP_NORESERVE = 16,
  PGW_MAP_FIXED = 32, PGW_MAP_HUGETLB_2M = 64, PGW_MAP_HUGETLB_1G = 128, PGW_MAP_FIXED_NOREPLACE = 256,
};
void *pgw_map(void *hint, size_t length, int protection, int flags, int descriptor, int64_t offset);
/// Where to ask for a mapping of a file so that its address is congruent to the offset modulo 2 MiB: then one fault maps a large folio
/// whole. NULL where there is no such place. A hint; Linux aligns mappings of 2 MiB and more itself.
void *pgw_congruent_hint(int64_t offset);
int pgw_unmap(void *base, size_t length);
int pgw_protect(void *base, size_t length, int protection);

/// mlock2 with MLOCK_ONFAULT where `on_fault`.
int pgw_lock(const void *base, size_t length, bool on_fault);
int pgw_unlock(const void *base, size_t length);
/// What this process may lock. Bytes; -1 without a limit.
typedef struct pgw_lock_limit {
  int64_t soft, hard;
  int64_t used;
  bool is_privileged;  // CAP_IPC_LOCK
} pgw_lock_limit;
void pgw_read_lock_limit(pgw_lock_limit *out);

/// mincore: one byte a page, bit 0 says resident.
int pgw_mincore(void *base, size_t length, unsigned char *vector);

/// How many pages from `base` are present in this process's page table and file-backed (PAGEMAP_SCAN, else pagemap).
/// -1 where the kernel cannot say.
int64_t pgw_mapped_pages(const void *base, size_t length);

/// Page faults of this thread so far (Darwin: of the process), or -1. A quarter of a microsecond.
int64_t pgw_fault_count(void);

/// True when the process has about as many mappings as vm.max_map_count allows. Reads /proc/self/maps: milliseconds. For
/// telling apart the two meanings of mmap's ENOMEM.
bool pgw_is_at_mapping_limit(void);

/// PR_SET_VMA_ANON_NAME, best effort.
int pgw_name_mapping(void *base, size_t length, const char *name);

/// SEEK_DATA and SEEK_HOLE; ENXIO at the end, ENOTSUP where the platform has none.
int64_t pgw_seek_data(int descriptor, int64_t offset);
int64_t pgw_seek_hole(int descriptor, int64_t offset);

/// preadv2 with RWF_NOWAIT: reads only what is in memory. EAGAIN when it is not.
ssize_t pgw_read_cached(int descriptor, void *buffer, size_t count, int64_t offset);

/// fallocate(mode 0). EOPNOTSUPP where the file system cannot; never emulated by writing.
int pgw_allocate(int descriptor, int64_t offset, int64_t length);

size_t pgw_page_size(void);
/// Monotonic clock in nanoseconds.
uint64_t pgw_now_ns(void);

#endif
