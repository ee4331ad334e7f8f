// SPDX-License-Identifier: Apache-2.0

#include "pgw_system.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static int unsupported(void) {
  errno = ENOTSUP;
  return -1;
}

static void fill_stat(pgw_stat *out, const struct stat *in) {
#if defined(__APPLE__)
  const struct timespec modified = in->st_mtimespec, changed = in->st_ctimespec;
#else
  const struct timespec modified = in->st_mtim, changed = in->st_ctim;
#endif
  *out = (pgw_stat){
      .device = (uint64_t)in->st_dev,
      .inode = (uint64_t)in->st_ino,
      .size = in->st_size,
      .allocated = (int64_t)in->st_blocks * 512,
      .modified_ns = (int64_t)modified.tv_sec * 1000000000 + modified.tv_nsec,
      .changed_ns = (int64_t)changed.tv_sec * 1000000000 + changed.tv_nsec,
      .mode = in->st_mode,
      .owner = in->st_uid,
      .group = in->st_gid,
      .links = (uint32_t)in->st_nlink,
      .block_size = in->st_blksize,
  };
}

int pgw_fstat(int descriptor, pgw_stat *out) {
  struct stat found;
  if (fstat(descriptor, &found) != 0) return -1;
  fill_stat(out, &found);
  return 0;
}

int pgw_stat_at(int folder, const char *path, bool follow, pgw_stat *out) {
  struct stat found;
  if (fstatat(folder, path, &found, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0) return -1;
  fill_stat(out, &found);
  return 0;
}

int pgw_stat_path(const char *path, bool follow, pgw_stat *out) { return pgw_stat_at(AT_FDCWD, path, follow, out); }

int pgw_open(const char *path, int flags, int mode) {
  int descriptor;
  do descriptor = open(path, flags | O_CLOEXEC, mode);
  while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

int pgw_close(int descriptor) { return close(descriptor); }

/// True when a write that ends or a file that is made as long as `length` would raise SIGXFSZ, whose default action ends the
/// process.
bool pgw_is_beyond_file_limit(int64_t length) {
  struct rlimit limit;
  return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && length > 0 &&
         (uint64_t)length > limit.rlim_cur;
}

int pgw_truncate(int descriptor, int64_t length) {
  struct stat now;
  if (pgw_is_beyond_file_limit(length) && (fstat(descriptor, &now) != 0 || now.st_size < length)) {
    errno = EFBIG;
    return -1;
  }
  int result;
  do result = ftruncate(descriptor, (off_t)length);
  while (result != 0 && errno == EINTR);
  return result;
}

int pgw_sigurg(void) { return SIGURG; }

bool pgw_may_write(int descriptor) {
  struct stat found;
  if (fstat(descriptor, &found) != 0) return false;
  uid_t user = geteuid();
  if (user == 0 || user == found.st_uid) return true;
  if (found.st_mode & S_IWOTH) return true;
  return found.st_gid == getegid() && (found.st_mode & S_IWGRP) != 0;
}

ssize_t pgw_pread(int descriptor, void *buffer, size_t count, int64_t offset) {
  ssize_t got;
  do got = pread(descriptor, buffer, count, (off_t)offset);
  while (got < 0 && errno == EINTR);
  return got;
}

ssize_t pgw_pwrite(int descriptor, const void *buffer, size_t count, int64_t offset) {
  if (count > 0 && pgw_is_beyond_file_limit(offset + 1)) {
    errno = EFBIG;
    return -1;
  }
  ssize_t put;
  do put = pwrite(descriptor, buffer, count, (off_t)offset);
  while (put < 0 && errno == EINTR);
  return put;
}

uint32_t pgw_kernel_version(void) {
  struct utsname name;
  unsigned major = 0, minor = 0;
  if (uname(&name) != 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2) return 0;
  return major << 16 | (minor & 0xffff);
}

int64_t pgw_fault_count(void) {
#if defined(RUSAGE_THREAD)
  int who = RUSAGE_THREAD;
#else
  int who = RUSAGE_SELF;
#endif
  struct rusage usage;
  return getrusage(who, &usage) == 0 ? (int64_t)usage.ru_minflt + (int64_t)usage.ru_majflt : -1;
}

size_t pgw_page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

uint64_t pgw_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int pgw_unmap(void *base, size_t length) { return munmap(base, length); }
int pgw_protect(void *base, size_t length, int protection) { return mprotect(base, length, protection); }
int pgw_unlock(const void *base, size_t length) { return munlock(base, length); }

void pgw_read_lock_limit(pgw_lock_limit *out) {
  *out = (pgw_lock_limit){.soft = -1, .hard = -1};
  struct rlimit limit;
  if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur <= INT64_MAX) out->soft = (int64_t)limit.rlim_cur;
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max <= INT64_MAX) out->hard = (int64_t)limit.rlim_max;
  }
#if defined(__linux__)
  int descriptor = pgw_open("/proc/thread-self/status", O_RDONLY, 0);
  if (descriptor < 0) return;
  char text[4096];
  ssize_t got = pgw_pread(descriptor, text, sizeof text - 1, 0);
  close(descriptor);
  if (got <= 0) return;
  text[got] = 0;
  const char *line = strstr(text, "\nVmLck:");
  if (line) out->used = strtoll(line + 7, NULL, 10) * 1024;
  line = strstr(text, "\nCapEff:");
  // CAP_IPC_LOCK is bit 14.
  if (line) out->is_privileged = strtoull(line + 8, NULL, 16) >> 14 & 1;
#endif
}

#if defined(SEEK_DATA) && defined(SEEK_HOLE)
int64_t pgw_seek_data(int descriptor, int64_t offset) { return lseek(descriptor, offset, SEEK_DATA); }
int64_t pgw_seek_hole(int descriptor, int64_t offset) { return lseek(descriptor, offset, SEEK_HOLE); }
#else
int64_t pgw_seek_data(int descriptor, int64_t offset) { (void)descriptor, (void)offset; return unsupported(); }
int64_t pgw_seek_hole(int descriptor, int64_t offset) { (void)descriptor, (void)offset; return unsupported(); }
#endif

#if defined(__linux__)
#include <linux/fs.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

int64_t pgw_block_device_size(int descriptor) {
  uint64_t size;
  return ioctl(descriptor, BLKGETSIZE64, &size) == 0 ? (int64_t)size : -1;
}

int pgw_fstatfs(int descriptor, pgw_filesystem *out) {
  struct statfs found;
  if (fstatfs(descriptor, &found) != 0) return -1;
  memset(out, 0, sizeof *out);
  out->type = (uint64_t)(uint32_t)found.f_type;
  out->block_size = (uint64_t)found.f_bsize;
  out->free_bytes = (uint64_t)found.f_bavail * (uint64_t)found.f_bsize;
  out->total_bytes = (uint64_t)found.f_blocks * (uint64_t)found.f_bsize;
  out->is_read_only = (found.f_flags & 1) != 0;  // ST_RDONLY
  return 0;
}

int pgw_memfd_create(const char *name, unsigned flags) { return memfd_create(name, flags); }
int pgw_add_seals(int descriptor, int seals) { return fcntl(descriptor, F_ADD_SEALS, seals); }
int pgw_get_seals(int descriptor) { return fcntl(descriptor, F_GET_SEALS); }

int pgw_lease_read(int descriptor, int notify_signal) {
  if (notify_signal != 0 && fcntl(descriptor, F_SETSIG, notify_signal) != 0) return -1;
  return fcntl(descriptor, F_SETLEASE, F_RDLCK);
}
int pgw_lease_release(int descriptor) { return fcntl(descriptor, F_SETLEASE, F_UNLCK); }
int pgw_lease_is_held(int descriptor) {
  int kind = fcntl(descriptor, F_GETLEASE);
  return kind < 0 ? -1 : kind == F_RDLCK;
}

#ifndef FICLONE
#define FICLONE _IOW(0x94, 9, int)
#endif
int pgw_clone(int destination, int source) { return ioctl(destination, FICLONE, source); }
int pgw_open_unnamed(const char *directory) { return open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); }

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
int pgw_cachestat(int descriptor, uint64_t offset, uint64_t length, pgw_cache_state *out) {
  struct { uint64_t offset, length; } range = {offset, length};
  struct { uint64_t cached, dirty, writeback, evicted, recently_evicted; } found;
  memset(&found, 0, sizeof found);
  if (syscall(SYS_cachestat, descriptor, &range, &found, 0) != 0) return -1;
  *out = (pgw_cache_state){found.cached, found.dirty, found.writeback, found.evicted, found.recently_evicted};
  return 0;
}

int pgw_fadvise(int descriptor, int64_t offset, int64_t length, int advice) {
  static const int table[] = {POSIX_FADV_NORMAL, POSIX_FADV_SEQUENTIAL, POSIX_FADV_RANDOM, POSIX_FADV_WILLNEED,
                              POSIX_FADV_DONTNEED};
  if (advice < 0 || (size_t)advice >= sizeof table / sizeof *table) { errno = EINVAL; return -1; }
  int result = posix_fadvise(descriptor, offset, length, table[advice]);
  if (result == 0) return 0;
  errno = result;
  return -1;
}

int pgw_madvise(void *base, size_t length, int advice) {
  // Numbers of the kernel's ABI where an older libc header lacks the name.
  static const int table[] = {
      [PGW_MADV_NORMAL] = 0, [PGW_MADV_RANDOM] = 1, [PGW_MADV_SEQUENTIAL] = 2, [PGW_MADV_WILLNEED] = 3,
      [PGW_MADV_DONTNEED] = 4, [PGW_MADV_FREE] = 8, [PGW_MADV_REMOVE] = 9, [PGW_MADV_DONTFORK] = 10,
      [PGW_MADV_DOFORK] = 11, [PGW_MADV_HUGEPAGE] = 14, [PGW_MADV_NOHUGEPAGE] = 15, [PGW_MADV_DONTDUMP] = 16,
      [PGW_MADV_DODUMP] = 17, [PGW_MADV_WIPEONFORK] = 18, [PGW_MADV_COLD] = 20, [PGW_MADV_PAGEOUT] = 21,
      [PGW_MADV_POPULATE_READ] = 22, [PGW_MADV_POPULATE_WRITE] = 23, [PGW_MADV_COLLAPSE] = 25,
      [PGW_MADV_GUARD_INSTALL] = 102, [PGW_MADV_GUARD_REMOVE] = 103,
  };
  if (advice < 0 || (size_t)advice >= sizeof table / sizeof *table) { errno = EINVAL; return -1; }
  return madvise(base, length, table[advice]);
}

void *pgw_map(void *hint, size_t length, int protection, int flags, int descriptor, int64_t offset) {
  int kernel = 0;
  if (flags & PGW_MAP_SHARED) kernel |= MAP_SHARED;
  if (flags & PGW_MAP_PRIVATE) kernel |= MAP_PRIVATE;
  if (flags & PGW_MAP_ANONYMOUS) kernel |= MAP_ANONYMOUS;
  if (flags & PGW_MAP_POPULATE) kernel |= MAP_POPULATE;
  if (flags & PGW_MAP_NORESERVE) kernel |= MAP_NORESERVE;
  if (flags & PGW_MAP_FIXED) kernel |= MAP_FIXED;
  if (flags & PGW_MAP_FIXED_NOREPLACE) kernel |= 0x100000;
  if (flags & PGW_MAP_HUGETLB_2M) kernel |= MAP_HUGETLB | 21 << 26;
  if (flags & PGW_MAP_HUGETLB_1G) kernel |= MAP_HUGETLB | 30 << 26;
  void *base = mmap(hint, length, protection, kernel, descriptor, offset);
  return base == MAP_FAILED ? NULL : base;
}

void *pgw_congruent_hint(int64_t offset) {
  // Hints go round in an area below everything else. One whose place is taken costs the kernel a second look, nothing more.
  enum { FOLIO = 2 << 20, PLACES = 61, BELOW = 8 };
  static uintptr_t area;
  static uint32_t turn;
  uintptr_t first = __atomic_load_n(&area, __ATOMIC_RELAXED);
  if (first == 0) {
    void *probe = mmap(NULL, FOLIO, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (probe == MAP_FAILED) return NULL;
    munmap(probe, FOLIO);
    // Where addresses are scarce there is no such area.
    first = 1;
    uintptr_t distance = ((uintptr_t)BELOW << 30) + (uintptr_t)PLACES * FOLIO;
    if (sizeof(void *) == 8 && (uintptr_t)probe > 2 * distance) first = ((uintptr_t)probe - distance) & ~(uintptr_t)(FOLIO - 1);
    __atomic_store_n(&area, first, __ATOMIC_RELAXED);
  }
  if (first == 1) return NULL;
  uint32_t place = __atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED) % PLACES;
  return (void *)(first + (uintptr_t)place * FOLIO + ((uintptr_t)offset & (FOLIO - 1)));
}

int pgw_lock(const void *base, size_t length, bool on_fault) { return mlock2(base, length, on_fault ? 1u : 0u); }
int pgw_mincore(void *base, size_t length, unsigned char *vector) { return mincore(base, length, vector); }

int64_t pgw_mapped_pages(const void *base, size_t length) {
  int descriptor = open("/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return -1;
  size_t page = pgw_page_size();
  // PAGEMAP_SCAN (Linux 6.7): runs of present pages, a microsecond for thousands. Declared here for older headers.
  struct { uint64_t start, end, categories; } runs[32];
  struct {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, any_of, returned;
  } scan = {.size = sizeof scan, .start = (uintptr_t)base & ~(uintptr_t)(page - 1)};
  scan.end = ((uintptr_t)base + length + page - 1) & ~(uintptr_t)(page - 1);
  scan.vec = (uintptr_t)runs;
  scan.vec_len = sizeof runs / sizeof *runs;
  scan.mask = scan.returned = 1 << 3;  // PAGE_IS_PRESENT
  int64_t found = 0;
  while (scan.start < scan.end) {
    int got = ioctl(descriptor, _IOC(_IOC_READ | _IOC_WRITE, 'f', 16, sizeof scan), &scan);
    if (got < 0) break;
    for (int i = 0; i < got; i++) found += (int64_t)((runs[i].end - runs[i].start) / page);
    scan.start = scan.walk_end;
  }
  if (scan.start >= scan.end) { close(descriptor); return found; }
  // Plain pagemap: one 64-bit word a page, bit 63 present. Works unprivileged (frame numbers are hidden, bits are not).
  uint64_t first = (uintptr_t)base / page, count = (length + page - 1) / page;
  int64_t present = 0;
  uint64_t words[512];
  while (count > 0) {
    size_t want = count < 512 ? (size_t)count : 512;
    ssize_t got = pread(descriptor, words, want * 8, (off_t)(first * 8));
    if (got <= 0) { present = -1; break; }
    for (ssize_t i = 0; i < got / 8; i++) present += (int64_t)(words[i] >> 63);
    first += (uint64_t)got / 8;
    count -= (uint64_t)got / 8;
  }
  close(descriptor);
  return present;
}

bool pgw_is_at_mapping_limit(void) {
  // Plain reads into the stack: what allocates may want to map.
  char buffer[4096];
  long limit = 0, entries = 0;
  ssize_t got;
  int descriptor = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  got = read(descriptor, buffer, sizeof buffer - 1);
  close(descriptor);
  if (got <= 0) return false;
  buffer[got] = 0;
  limit = strtol(buffer, NULL, 10);
  descriptor = open("/proc/thread-self/maps", O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  while ((got = read(descriptor, buffer, sizeof buffer)) > 0)
    for (ssize_t i = 0; i < got; i++) entries += buffer[i] == '\n';
  close(descriptor);
  // A split needs two.
  return entries + 2 > limit;
}

int pgw_name_mapping(void *base, size_t length, const char *name) {
  return prctl(0x53564d41 /* PR_SET_VMA */, 0 /* ANON_NAME */, base, length, name);
}

ssize_t pgw_read_cached(int descriptor, void *buffer, size_t count, int64_t offset) {
  struct iovec part = {buffer, count};
  return preadv2(descriptor, &part, 1, offset, RWF_NOWAIT);
}

int pgw_allocate(int descriptor, int64_t offset, int64_t length) { return fallocate(descriptor, 0, offset, length); }

#elif defined(__APPLE__)
#include <sys/attr.h>
#include <sys/clonefile.h>
#include <sys/disk.h>
#include <sys/mount.h>
#include <sys/param.h>

int64_t pgw_block_device_size(int descriptor) {
  uint64_t count;
  uint32_t size;
  if (ioctl(descriptor, DKIOCGETBLOCKCOUNT, &count) != 0 || ioctl(descriptor, DKIOCGETBLOCKSIZE, &size) != 0) return -1;
  return (int64_t)(count * size);
}

int pgw_fstatfs(int descriptor, pgw_filesystem *out) {
  struct statfs found;
  if (fstatfs(descriptor, &found) != 0) return -1;
  memset(out, 0, sizeof *out);
  out->block_size = found.f_bsize;
  out->free_bytes = (uint64_t)found.f_bavail * found.f_bsize;
  out->total_bytes = (uint64_t)found.f_blocks * found.f_bsize;
  out->is_local_known = true;
  out->is_local = (found.f_flags & MNT_LOCAL) != 0;
  out->is_read_only = (found.f_flags & MNT_RDONLY) != 0;
  snprintf(out->name, sizeof out->name, "%s", found.f_fstypename);
  return 0;
}

int pgw_memfd_create(const char *name, unsigned flags) {
  (void)name, (void)flags;
  char path[32];
  for (int attempt = 0; attempt < 100; attempt++) {
    snprintf(path, sizeof path, "/pgw.%x.%x", (unsigned)getpid(), arc4random());
    int descriptor = shm_open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (descriptor >= 0) {
      shm_unlink(path);
      return descriptor;
    }
    if (errno != EEXIST) return -1;
  }
  return -1;
}
int pgw_add_seals(int descriptor, int seals) { (void)descriptor, (void)seals; return unsupported(); }
int pgw_get_seals(int descriptor) { (void)descriptor; return unsupported(); }
int pgw_lease_read(int descriptor, int notify_signal) { (void)descriptor, (void)notify_signal; return unsupported(); }
int pgw_lease_release(int descriptor) { (void)descriptor; return unsupported(); }
int pgw_lease_is_held(int descriptor) { (void)descriptor; return unsupported(); }
int pgw_clone(int destination, int source) { (void)destination, (void)source; return unsupported(); }
int pgw_open_unnamed(const char *directory) { (void)directory; return unsupported(); }
int pgw_cachestat(int descriptor, uint64_t offset, uint64_t length, pgw_cache_state *out) {
  (void)descriptor, (void)offset, (void)length, (void)out;
  return unsupported();
}

int pgw_fadvise(int descriptor, int64_t offset, int64_t length, int advice) {
  if (advice != PGW_FADV_WILLNEED) return unsupported();
  struct radvisory ahead = {offset, length > 0x7fffffff ? 0x7fffffff : (int)length};
  return fcntl(descriptor, F_RDADVISE, &ahead);
}

int pgw_madvise(void *base, size_t length, int advice) {
  switch (advice) {
  case PGW_MADV_NORMAL: return madvise(base, length, MADV_NORMAL);
  case PGW_MADV_SEQUENTIAL: return madvise(base, length, MADV_SEQUENTIAL);
  case PGW_MADV_RANDOM: return madvise(base, length, MADV_RANDOM);
  case PGW_MADV_WILLNEED: return madvise(base, length, MADV_WILLNEED);
  case PGW_MADV_DONTNEED: return madvise(base, length, MADV_DONTNEED);
  case PGW_MADV_FREE: return madvise(base, length, MADV_FREE);
  case PGW_MADV_DONTFORK: return minherit(base, length, VM_INHERIT_NONE);
  case PGW_MADV_DOFORK: return minherit(base, length, VM_INHERIT_COPY);
  default: return unsupported();
  }
}

void *pgw_map(void *hint, size_t length, int protection, int flags, int descriptor, int64_t offset) {
  int kernel = 0;
  if (flags & (PGW_MAP_HUGETLB_2M | PGW_MAP_HUGETLB_1G | PGW_MAP_FIXED_NOREPLACE)) { errno = ENOTSUP; return NULL; }
  if (flags & PGW_MAP_SHARED) kernel |= MAP_SHARED;
  if (flags & PGW_MAP_PRIVATE) kernel |= MAP_PRIVATE;
  if (flags & PGW_MAP_ANONYMOUS) kernel |= MAP_ANON;
  if (flags & PGW_MAP_NORESERVE) kernel |= MAP_NORESERVE;
  if (flags & PGW_MAP_FIXED) kernel |= MAP_FIXED;
  void *base = mmap(hint, length, protection, kernel, descriptor, offset);
  return base == MAP_FAILED ? NULL : base;
}

void *pgw_congruent_hint(int64_t offset) {
  (void)offset;
  return NULL;
}
int pgw_lock(const void *base, size_t length, bool on_fault) { return on_fault ? unsupported() : mlock(base, length); }
int pgw_mincore(void *base, size_t length, unsigned char *vector) { return mincore(base, length, (char *)vector); }
int64_t pgw_mapped_pages(const void *base, size_t length) { (void)base, (void)length; return unsupported(); }
bool pgw_is_at_mapping_limit(void) { return false; }
int pgw_name_mapping(void *base, size_t length, const char *name) {
  (void)base, (void)length, (void)name;
  return unsupported();
}
ssize_t pgw_read_cached(int descriptor, void *buffer, size_t count, int64_t offset) {
  (void)descriptor, (void)buffer, (void)count, (void)offset;
  return unsupported();
}
int pgw_allocate(int descriptor, int64_t offset, int64_t length) {
  fstore_t store = {F_ALLOCATEALL, F_PEOFPOSMODE, 0, offset + length, 0};
  return fcntl(descriptor, F_PREALLOCATE, &store);
}
#endif
