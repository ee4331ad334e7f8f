// SPDX-License-Identifier: Apache-2.0
//
// Which pages of a mapping are not the file's any more, and which blocks of a file are not its own.

#include "pgw_storage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pgw_system.h"

#if defined(__linux__)
#include <linux/fiemap.h>
#include <linux/fs.h>

// Declared here for older headers: PAGEMAP_SCAN, Linux 6.7 (include/uapi/linux/fs.h).
typedef struct scan_run {
  uint64_t start, end, categories;
} scan_run;
typedef struct scan_arguments {
  uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, any_of, returned;
} scan_arguments;
enum { IS_FILE = 1 << 2, IS_PRESENT = 1 << 3, IS_SWAPPED = 1 << 4, IS_ZERO = 1 << 5 };

static int open_pagemap(void) { return open("/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC); }

int pgw_changed_pages(const void *base, size_t length, pgw_page_run *out, int capacity, size_t *next) {
  int pagemap = open_pagemap();
  if (pagemap < 0) return -1;
  scan_run runs[64];
  if (capacity > 64) capacity = 64;
  scan_arguments scan = {
      .size = sizeof scan,
      .start = (uintptr_t)base + *next,
      .end = (uintptr_t)base + length,
      .vec = (uintptr_t)runs,
      .vec_len = (uint64_t)capacity,
      .inverted = IS_FILE | IS_ZERO,
      .mask = IS_FILE | IS_ZERO,
      .any_of = IS_PRESENT | IS_SWAPPED,
      .returned = 0,
  };
  // A page that this process changed is anonymous: there, or swapped out, and neither the file's nor the zero page.
  scan.returned = IS_PRESENT | IS_SWAPPED;
  int found = ioctl(pagemap, _IOC(_IOC_READ | _IOC_WRITE, 'f', 16, sizeof scan), &scan);
  close(pagemap);
  if (found < 0) return pgw_changed_pages_portable(base, length, out, capacity, next);
  // Present and swapped neighbours come as runs of their own.
  int used = 0;
  for (int i = 0; i < found; i++) {
    size_t start = (size_t)(runs[i].start - (uintptr_t)base), end = (size_t)(runs[i].end - (uintptr_t)base);
    if (used > 0 && out[used - 1].end == start) out[used - 1].end = end;
    else out[used++] = (pgw_page_run){start, end};
  }
  *next = (size_t)(scan.walk_end - (uintptr_t)base);
  if (*next > length) *next = length;
  return used;
}

int pgw_changed_pages_portable(const void *base, size_t length, pgw_page_run *out, int capacity, size_t *next) {
  int pagemap = open_pagemap();
  if (pagemap < 0) return -1;
  size_t page = pgw_page_size(), at = *next;
  int used = 0;
  uint64_t words[512];
  while (at < length) {
    size_t pages = (length - at) / page, count = pages < 512 ? pages : 512;
    ssize_t got = pread(pagemap, words, count * 8, (off_t)(((uintptr_t)base + at) / page * 8));
    if (got <= 0) {
      close(pagemap);
      return -1;
    }
    for (ssize_t i = 0; i < got / 8; i++, at += page) {
      // Bit 63 present, 62 swapped, 61 a file's page.
      if (words[i] >> 62 == 0 || (words[i] >> 61 & 1) != 0) continue;
      if (used > 0 && out[used - 1].end == at) {
        out[used - 1].end = at + page;
      } else if (used == capacity) {
        *next = at;
        close(pagemap);
        return used;
      } else {
        out[used++] = (pgw_page_run){at, at + page};
      }
    }
  }
  close(pagemap);
  *next = length;
  return used;
}

int pgw_replaced_pages(const void *base, size_t length, uint64_t inode, pgw_page_run *out, int capacity) {
  FILE *maps = fopen("/proc/thread-self/maps", "re");
  if (maps == NULL) return -1;
  uintptr_t low = (uintptr_t)base, high = low + length;
  int used = 0;
  char *line = NULL;
  size_t room = 0;
  while (getline(&line, &room, maps) > 0) {
    unsigned long start, end, number;
    char rights[8];
    if (sscanf(line, "%lx-%lx %7s %*s %*s %lu", &start, &end, rights, &number) != 4) continue;
    if (end <= low || start >= high) continue;
    // What the guard puts there is private: anonymous, or its own memory file, whose number can be any file's by chance. A
    // shared part is the file's, whatever its number: union file systems show another one here than to stat.
    if (rights[3] == 's' || (number == inode && strstr(line, "/memfd:pagewise-fill") == NULL)) continue;
    size_t from = start < low ? 0 : start - low, to = (end > high ? high : end) - low;
    if (used > 0 && out[used - 1].end == from) out[used - 1].end = to;
    else if (used < capacity) out[used++] = (pgw_page_run){from, to};
  }
  free(line);
  fclose(maps);
  return used;
}

int pgw_has_room_beside(int descriptor, int64_t bytes) {
  char link[40], path[4096];
  snprintf(link, sizeof link, "/proc/thread-self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0 || path[0] != '/') return -1;
  path[length] = 0;
  char *slash = strrchr(path, '/');
  slash[slash == path ? 1 : 0] = 0;
  int unnamed = pgw_open_unnamed(path);
  if (unnamed < 0) return errno == ENOSPC || errno == EDQUOT ? 0 : -1;
  int result = pgw_allocate(unnamed, 0, bytes) == 0 ? 1 : errno == ENOSPC || errno == EDQUOT ? 0 : -1;
  close(unnamed);
  return result;
}

int pgw_has_shared_blocks(int descriptor, int64_t offset, int64_t length) {
  enum { EXTENTS = 64 };
  union {
    struct fiemap map;
    char room[sizeof(struct fiemap) + EXTENTS * sizeof(struct fiemap_extent)];
  } asked;
  uint64_t at = (uint64_t)offset, end = at + (uint64_t)length;
  while (at < end) {
    memset(&asked, 0, sizeof asked);
    asked.map.fm_start = at;
    asked.map.fm_length = end - at;
    asked.map.fm_extent_count = EXTENTS;
    if (ioctl(descriptor, FS_IOC_FIEMAP, &asked.map) != 0) return -1;
    if (asked.map.fm_mapped_extents == 0) return 0;
    for (uint32_t i = 0; i < asked.map.fm_mapped_extents; i++) {
      const struct fiemap_extent *extent = &asked.map.fm_extents[i];
      if (extent->fe_flags & FIEMAP_EXTENT_SHARED) return 1;
      if (extent->fe_flags & FIEMAP_EXTENT_LAST) return 0;
      at = extent->fe_logical + extent->fe_length;
    }
  }
  return 0;
}

#else
int pgw_changed_pages(const void *base, size_t length, pgw_page_run *out, int capacity, size_t *next) {
  return pgw_changed_pages_portable(base, length, out, capacity, next);
}
int pgw_changed_pages_portable(const void *base, size_t length, pgw_page_run *out, int capacity, size_t *next) {
  (void)base, (void)length, (void)out, (void)capacity, (void)next;
  errno = ENOTSUP;
  return -1;
}
int pgw_replaced_pages(const void *base, size_t length, uint64_t inode, pgw_page_run *out, int capacity) {
  (void)base, (void)length, (void)inode, (void)out, (void)capacity;
  errno = ENOTSUP;
  return -1;
}
int pgw_has_room_beside(int descriptor, int64_t bytes) {
  (void)descriptor, (void)bytes;
  return -1;
}
int pgw_has_shared_blocks(int descriptor, int64_t offset, int64_t length) {
  (void)descriptor, (void)offset, (void)length;
  return -1;
}
#endif
