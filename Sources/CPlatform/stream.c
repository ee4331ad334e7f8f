// SPDX-License-Identifier: Apache-2.0

#include "pgw_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pgw_system.h"

ssize_t pgw_read_next(int descriptor, void *buffer, size_t count) {
  ssize_t got;
  do got = read(descriptor, buffer, count);
  while (got < 0 && errno == EINTR);
  return got;
}

int pgw_wait_readable(int descriptor, int milliseconds) {
  struct pollfd request = {.fd = descriptor, .events = POLLIN};
  int found = poll(&request, 1, milliseconds);
  if (found < 0) return errno == EINTR ? 0 : -1;
  return found > 0;
}

int pgw_resident_pages(int descriptor, int64_t offset, size_t length, unsigned char *vector) {
  void *base = mmap(NULL, length, PROT_READ, MAP_SHARED, descriptor, offset);
  if (base == MAP_FAILED) return -1;
  int result = pgw_mincore(base, length, vector);
  int reason = errno;
  munmap(base, length);
  errno = reason;
  return result;
}

#if defined(__linux__)
#include <sys/syscall.h>

int pgw_reopen(int descriptor, bool direct) {
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
  int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | (direct ? O_DIRECT : 0);
  int quiet = pgw_open(path, flags | O_NOATIME, 0);
  if (quiet >= 0 || errno != EPERM) return quiet;
  return pgw_open(path, flags, 0);
}

int pgw_get_direct_alignment(int descriptor, pgw_direct_alignment *out) {
  // Numbers of the kernel's ABI: older headers lack the mask and the fields.
  enum { DIOALIGN = 0x2000, EMPTY_PATH = 0x1000 };
  union {
    struct {
      uint32_t mask;
    } head;
    struct {
      unsigned char before[0x98];
      uint32_t memory, offset;
    } alignment;
    uint64_t whole[32];
  } found = {.whole = {0}};
  if (syscall(SYS_statx, descriptor, "", EMPTY_PATH, DIOALIGN, &found) != 0) return -1;
  if (!(found.head.mask & DIOALIGN)) {
    errno = ENOTSUP;
    return -1;
  }
  *out = (pgw_direct_alignment){found.alignment.memory, found.alignment.offset};
  return 0;
}

ssize_t pgw_pread_dontcache(int descriptor, void *buffer, size_t count, int64_t offset) {
  enum { DONTCACHE = 0x80 };
  struct iovec part = {buffer, count};
  ssize_t got;
  do got = preadv2(descriptor, &part, 1, offset, DONTCACHE);
  while (got < 0 && errno == EINTR);
  return got;
}

#else

int pgw_reopen(int descriptor, bool direct) {
  (void)descriptor, (void)direct;
  errno = ENOTSUP;
  return -1;
}
int pgw_get_direct_alignment(int descriptor, pgw_direct_alignment *out) {
  (void)descriptor, (void)out;
  errno = ENOTSUP;
  return -1;
}
ssize_t pgw_pread_dontcache(int descriptor, void *buffer, size_t count, int64_t offset) {
  (void)descriptor, (void)buffer, (void)count, (void)offset;
  errno = ENOTSUP;
  return -1;
}

#endif
