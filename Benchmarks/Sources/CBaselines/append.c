// SPDX-License-Identifier: Apache-2.0

#include "CBaselines.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__APPLE__)
#define fdatasync fsync
#endif

/// The records, in turn from the source.
typedef struct records {
  const char *source;
  size_t source_size, record, count, sync_every, at;
} records;

static inline const char *next_record(records *all) {
  const char *bytes = all->source + all->at;
  all->at += all->record;
  if (all->at + all->record > all->source_size) all->at = 0;
  return bytes;
}

static inline int is_sync_due(const records *all, size_t i) {
  return all->sync_every != 0 && (i + 1) % all->sync_every == 0;
}

static int by_write(int descriptor, records all) {
  for (size_t i = 0; i < all.count; i++) {
    if (write(descriptor, next_record(&all), all.record) != (ssize_t)all.record) return -1;
    if (is_sync_due(&all, i) && fdatasync(descriptor) != 0) return -1;
  }
  return 0;
}

static int by_fwrite(int descriptor, records all, size_t buffer) {
  FILE *file = fdopen(dup(descriptor), "w");
  if (file == NULL) return -1;
  if (buffer > 0) setvbuf(file, NULL, _IOFBF, buffer);
  int result = 0;
  for (size_t i = 0; i < all.count && result == 0; i++) {
    if (fwrite(next_record(&all), all.record, 1, file) != 1) result = -1;
    if (is_sync_due(&all, i) && (fflush(file) != 0 || fdatasync(descriptor) != 0)) result = -1;
  }
  return fclose(file) == 0 ? result : -1;
}

#if defined(__linux__)
/// The naive growing map: a hole behind the end, whose every page is a fault in which the file system reserves a block.
static int by_map(int descriptor, records all, int doubles) {
  size_t size = BASE_PAGE, used = 0;
  if (ftruncate(descriptor, (off_t)size) != 0) return -1;
  char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (bytes == MAP_FAILED) return -1;
  for (size_t i = 0; i < all.count; i++) {
    while (used + all.record > size) {
      size_t wanted = doubles ? size * 2 : size + BASE_PAGE;
      if (ftruncate(descriptor, (off_t)wanted) != 0) return -1;
      bytes = mremap(bytes, size, wanted, MREMAP_MAYMOVE);
      if (bytes == MAP_FAILED) return -1;
      size = wanted;
    }
    memcpy(bytes + used, next_record(&all), all.record);
    used += all.record;
    if (is_sync_due(&all, i) && fdatasync(descriptor) != 0) return -1;
  }
  int result = ftruncate(descriptor, (off_t)used);
  munmap(bytes, size);
  return result;
}
#else
static int by_map(int descriptor, records all, int doubles) { return (void)descriptor, (void)all, (void)doubles, -1; }
#endif

uint64_t base_append(
    const char *path, int way, const void *source, size_t source_size, size_t record, size_t count, size_t sync_every) {
  int descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (descriptor < 0) return 0;
  records all = {source, source_size, record, count, sync_every, 0};
  int result = -1;
  uint64_t from = base_now_ns();
  switch (way) {
    case BASE_APPEND_WRITE: result = by_write(descriptor, all); break;
    case BASE_APPEND_FWRITE: result = by_fwrite(descriptor, all, 0); break;
    case BASE_APPEND_FWRITE_1M: result = by_fwrite(descriptor, all, 1 << 20); break;
    case BASE_APPEND_MAP_PAGE: result = by_map(descriptor, all, 0); break;
    case BASE_APPEND_MAP_DOUBLE: result = by_map(descriptor, all, 1); break;
  }
  uint64_t took = base_now_ns() - from;
  close(descriptor);
  return result == 0 ? took : 0;
}

int base_repeats(const char *path, size_t offset, size_t length, const void *source, size_t source_size) {
  size_t size = 0;
  const char *bytes = base_map(path, &size);
  if (bytes == NULL) return 0;
  int result = size >= offset + length;
  for (size_t done = 0; result && done < length;) {
    size_t step = length - done < source_size ? length - done : source_size;
    if (memcmp(bytes + offset + done, source, step) != 0) result = 0;
    done += step;
  }
  for (size_t i = offset + length; result && i < size; i++) result = bytes[i] == 0;
  base_unmap((void *)bytes, size);
  return result;
}
