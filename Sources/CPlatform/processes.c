// SPDX-License-Identifier: Apache-2.0

#include "pgw_processes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

ssize_t pgw_read(int descriptor, void *buffer, size_t count) {
  ssize_t got;
  do got = read(descriptor, buffer, count);
  while (got < 0 && errno == EINTR);
  return got;
}

int pgw_process_exists(int64_t process) {
  if (process <= 0 || process > INT32_MAX) return 0;
  if (kill((pid_t)process, 0) == 0 || errno == EPERM) return 1;
  return errno == ESRCH ? 0 : -1;
}

#if defined(__linux__)
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/sysmacros.h>

struct pgw_descriptors {
  DIR *stream;
};

uint64_t pgw_device_number(uint32_t major_number, uint32_t minor_number) {
  return (uint64_t)makedev(major_number, minor_number);
}

static int unsynced(int folder, const char *path, struct statx *found) {
  // Not through an automount: that would mount it.
  return statx(folder, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, found);
}

int pgw_stat_unsynced(const char *path, pgw_stat *out) {
  struct statx found;
  if (unsynced(AT_FDCWD, path, &found) != 0) return errno == ENOSYS ? pgw_stat_path(path, true, out) : -1;
  *out = (pgw_stat){
      .device = pgw_device_number(found.stx_dev_major, found.stx_dev_minor),
      .inode = found.stx_ino,
      .size = (int64_t)found.stx_size,
      .allocated = (int64_t)found.stx_blocks * 512,
      .modified_ns = (int64_t)found.stx_mtime.tv_sec * 1000000000 + found.stx_mtime.tv_nsec,
      .changed_ns = (int64_t)found.stx_ctime.tv_sec * 1000000000 + found.stx_ctime.tv_nsec,
      .mode = found.stx_mode,
      .owner = found.stx_uid,
      .group = found.stx_gid,
      .links = found.stx_nlink,
      .block_size = found.stx_blksize,
  };
  return 0;
}

int pgw_open_place(const char *path) { return pgw_open(path, O_PATH, 0); }

int pgw_reopen_place(int place) {
  char path[64];
  snprintf(path, sizeof path, "/proc/thread-self/fd/%d", place);
  return pgw_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
}

pgw_descriptors *pgw_descriptors_open(const char *path) {
  DIR *stream = opendir(path);
  if (stream == NULL) return NULL;
  pgw_descriptors *list = malloc(sizeof *list);
  if (list == NULL) {
    closedir(stream);
    errno = ENOMEM;
    return NULL;
  }
  list->stream = stream;
  return list;
}

bool pgw_descriptors_next(pgw_descriptors *list, int *number, uint64_t *device, uint64_t *inode) {
  struct dirent *entry;
  while ((entry = readdir(list->stream)) != NULL) {
    struct statx found;
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
    // Closed since it was listed is no failure.
    if (unsynced(dirfd(list->stream), entry->d_name, &found) == 0) {
      *device = pgw_device_number(found.stx_dev_major, found.stx_dev_minor);
      *inode = found.stx_ino;
    } else {
      struct stat plain;
      if (errno != ENOSYS || fstatat(dirfd(list->stream), entry->d_name, &plain, 0) != 0) continue;
      *device = (uint64_t)plain.st_dev;
      *inode = (uint64_t)plain.st_ino;
    }
    *number = (int)strtol(entry->d_name, NULL, 10);
    return true;
  }
  return false;
}

void pgw_descriptors_close(pgw_descriptors *list) {
  closedir(list->stream);
  free(list);
}

int64_t pgw_bytes_without_blocks(int descriptor, int64_t offset, int64_t length) {
  enum { EXTENTS = 64, MOST_CALLS = 10000 };
  union {
    struct fiemap map;
    char room[sizeof(struct fiemap) + EXTENTS * sizeof(struct fiemap_extent)];
  } asked;
  int64_t end, covered = 0;
  if (offset < 0 || length < 0 || __builtin_add_overflow(offset, length, &end)) { errno = EINVAL; return -1; }
  for (int calls = 0; offset < end; calls++) {
    // A file in a million pieces: too long to count.
    if (calls == MOST_CALLS) { errno = E2BIG; return -1; }
    memset(&asked, 0, sizeof asked);
    asked.map.fm_start = (uint64_t)offset;
    asked.map.fm_length = (uint64_t)(end - offset);
    asked.map.fm_extent_count = EXTENTS;
    if (ioctl(descriptor, FS_IOC_FIEMAP, &asked.map) != 0) return -1;
    if (asked.map.fm_mapped_extents == 0) break;
    int64_t next = offset;
    bool is_last = false;
    for (unsigned i = 0; i < asked.map.fm_mapped_extents && i < EXTENTS; i++) {
      const struct fiemap_extent *extent = &asked.map.fm_extents[i];
      int64_t lower = (int64_t)extent->fe_logical, upper;
      if (lower < 0 || __builtin_add_overflow(lower, (int64_t)extent->fe_length, &upper)) upper = end;
      if (lower < next) lower = next;
      if (upper > end) upper = end;
      if (upper > lower) covered += upper - lower;
      if (upper > next) next = upper;
      if (extent->fe_flags & FIEMAP_EXTENT_LAST) is_last = true;
    }
    if (is_last || next <= offset) break;
    offset = next;
  }
  return length - covered;
}
#else
static int unsupported(void) {
  errno = ENOTSUP;
  return -1;
}
uint64_t pgw_device_number(uint32_t major_number, uint32_t minor_number) {
  return (uint64_t)major_number << 24 | minor_number;
}
int pgw_stat_unsynced(const char *path, pgw_stat *out) { return pgw_stat_path(path, true, out); }
int pgw_open_place(const char *path) { return pgw_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0); }
int pgw_reopen_place(int place) { return dup(place); }
pgw_descriptors *pgw_descriptors_open(const char *path) {
  (void)path;
  errno = ENOTSUP;
  return NULL;
}
bool pgw_descriptors_next(pgw_descriptors *list, int *number, uint64_t *device, uint64_t *inode) {
  (void)list, (void)number, (void)device, (void)inode;
  return false;
}
void pgw_descriptors_close(pgw_descriptors *list) { (void)list; }
int64_t pgw_bytes_without_blocks(int descriptor, int64_t offset, int64_t length) {
  (void)descriptor, (void)offset, (void)length;
  return unsupported();
}
#endif
