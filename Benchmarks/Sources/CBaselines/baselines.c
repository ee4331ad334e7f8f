// SPDX-License-Identifier: Apache-2.0

#include "CBaselines.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#ifndef MAP_POPULATE
#define MAP_POPULATE 0
#endif

uint64_t base_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t base_sum8(const void *bytes, size_t count) {
  const uint8_t *at = bytes;
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i++) sum += at[i];
  return sum;
}

uint64_t base_sum64(const void *bytes, size_t count) {
  // A counted loop: with `i + 8 <= count`, which may wrap, the compiler does not use vectors.
  const char *at = bytes;
  uint64_t sum = 0;
  size_t words = count / 8;
  for (size_t i = 0; i < words; i++) {
    uint64_t word;
    memcpy(&word, at + i * 8, 8);
    sum += word;
  }
  for (size_t i = words * 8; i < count; i++) sum += (uint8_t)at[i];
  return sum;
}

uint64_t base_random64(const void *bytes, const uint32_t *offsets, size_t count) {
  const char *at = bytes;
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i++) {
    uint64_t word;
    memcpy(&word, at + offsets[i], 8);
    sum += word;
  }
  return sum;
}

void *base_map(const char *path, size_t *length) {
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  struct stat found;
  if (descriptor < 0 || fstat(descriptor, &found) != 0) return NULL;
  void *bytes = mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_SHARED, descriptor, 0);
  close(descriptor);
  *length = (size_t)found.st_size;
  return bytes == MAP_FAILED ? NULL : bytes;
}

void base_unmap(void *bytes, size_t length) { munmap(bytes, length); }

uint64_t base_open_map_close(const char *path, int touch, size_t times) {
  uint64_t sum = 0;
  for (size_t i = 0; i < times; i++) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    struct stat found;
    if (descriptor < 0 || fstat(descriptor, &found) != 0) return 0;
    const uint8_t *bytes = mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_SHARED, descriptor, 0);
    if (bytes == MAP_FAILED) return 0;
    sum += (uint64_t)found.st_size;
    if (touch) sum += *(const volatile uint8_t *)bytes;
    munmap((void *)bytes, (size_t)found.st_size);
    close(descriptor);
  }
  return sum;
}

uint64_t base_bare_access(const void *bytes, size_t places, size_t times) {
  const char *at = bytes;
  uint64_t sum = 0;
  size_t place = 0;
  for (size_t i = 0; i < times; i++) {
    uint64_t word;
    memcpy(&word, at + place * 64, 8);
    sum += word;
    if (++place == places) place = 0;
    __asm__ volatile("" : "+r"(sum));
  }
  return sum;
}

__attribute__((noinline)) static void copy64(void *to, const void *from) { memcpy(to, from, 64); }

uint64_t base_memcpy64(const void *bytes, size_t places, size_t times) {
  const char *at = bytes;
  char target[64];
  uint64_t sum = 0;
  size_t place = 0;
  for (size_t i = 0; i < times; i++) {
    copy64(target, at + place * 64);
    __asm__ volatile("" : : "r"(target) : "memory");
    sum += (uint8_t)target[63];
    if (++place == places) place = 0;
  }
  return sum;
}

uint64_t base_getline(const char *path) {
  FILE *file = fopen(path, "r");
  if (file == NULL) return 0;
  char *line = NULL;
  size_t room = 0;
  ssize_t got;
  uint64_t sum = 0;
  while ((got = getline(&line, &room, file)) >= 0) {
    if (got > 0 && line[got - 1] == '\n') got--;
    sum += 1 + (uint64_t)got;
  }
  free(line);
  fclose(file);
  return sum;
}

uint64_t base_memmem(const void *bytes, size_t count, const void *needle, size_t needle_count) {
  const char *found = memmem(bytes, count, needle, needle_count);
  return found ? (uint64_t)(found - (const char *)bytes) : UINT64_MAX;
}

uint64_t base_memchr(const void *bytes, size_t count, int byte) {
  const char *found = memchr(bytes, byte, count);
  return found ? (uint64_t)(found - (const char *)bytes) : UINT64_MAX;
}

uint64_t base_run(char *const arguments[]) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // Not /dev/null: grep sees that nobody looks and stops at the first match.
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/zero", O_WRONLY, 0);
  uint64_t from = base_now_ns();
  pid_t child;
  int status = -1;
  int failed = posix_spawnp(&child, arguments[0], &actions, NULL, arguments, environ);
  if (failed == 0) waitpid(child, &status, 0);
  uint64_t took = base_now_ns() - from;
  posix_spawn_file_actions_destroy(&actions);
  return failed == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? took : 0;
}

static void *map_whole(int descriptor, size_t size, int strategy) {
  int flags = MAP_SHARED | (strategy == BASE_MAP_POPULATE ? MAP_POPULATE : 0);
  void *bytes = mmap(NULL, size, PROT_READ, flags, descriptor, 0);
  return bytes == MAP_FAILED ? NULL : bytes;
}

uint64_t base_whole(const char *path, int strategy) {
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  struct stat found;
  if (descriptor < 0 || fstat(descriptor, &found) != 0) return 0;
  size_t size = (size_t)found.st_size;
  uint64_t sum = 0;
  if (strategy == BASE_MAP || strategy == BASE_MAP_POPULATE) {
    void *bytes = map_whole(descriptor, size, strategy);
    sum = base_sum64(bytes, size);
    munmap(bytes, size);
  } else if (strategy == BASE_READ) {
    char *buffer = malloc(size);
    size_t done = 0;
    while (done < size) {
      ssize_t got = read(descriptor, buffer + done, size - done);
      if (got <= 0) break;
      done += (size_t)got;
    }
    sum = base_sum64(buffer, done);
    free(buffer);
  } else {
    // 128 KiB stay in the second-level cache between the copy and the use.
    enum { PIECE = 128 << 10 };
    size_t room = size < PIECE ? size : PIECE;
    char *buffer = malloc(room);
    ssize_t got;
    for (size_t done = 0; done < size; done += (size_t)got) {
      got = read(descriptor, buffer, room);
      if (got <= 0) break;
      sum += base_sum64(buffer, (size_t)got);
    }
    free(buffer);
  }
  close(descriptor);
  return sum;
}

uint64_t base_scattered(const char *path, int strategy, const uint64_t *offsets, size_t count, size_t size) {
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  struct stat found;
  if (descriptor < 0 || fstat(descriptor, &found) != 0) return 0;
  size_t file = (size_t)found.st_size;
  uint64_t sum = 0;
  char piece[4096];
  if (strategy == BASE_MAP || strategy == BASE_MAP_POPULATE) {
    const char *bytes = map_whole(descriptor, file, strategy);
    for (size_t i = 0; i < count; i++) {
      if (size == 1) {
        sum += (uint8_t)bytes[offsets[i]];
      } else {
        memcpy(piece, bytes + offsets[i], size);
        __asm__ volatile("" : : "r"(piece) : "memory");
        sum += base_sum64(piece, 64);
      }
    }
    munmap((void *)bytes, file);
  } else if (strategy == BASE_READ) {
    for (size_t i = 0; i < count; i++) {
      if (pread(descriptor, piece, size, (off_t)offsets[i]) != (ssize_t)size) break;
      sum += size == 1 ? (uint8_t)piece[0] : base_sum64(piece, 64);
    }
  } else {
    // Into one buffer first, then from there.
    char *buffer = malloc(file);
    size_t done = 0;
    while (done < file) {
      ssize_t got = read(descriptor, buffer + done, file - done);
      if (got <= 0) break;
      done += (size_t)got;
    }
    for (size_t i = 0; i < count; i++) {
      if (size == 1) {
        sum += (uint8_t)buffer[offsets[i]];
      } else {
        memcpy(piece, buffer + offsets[i], size);
        __asm__ volatile("" : : "r"(piece) : "memory");
        sum += base_sum64(piece, 64);
      }
    }
    free(buffer);
  }
  close(descriptor);
  return sum;
}

uint64_t base_consume(const void *bytes, size_t count, int whole) {
  if (whole) return base_sum64(bytes, count);
  const uint8_t *at = bytes;
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i += 4096) sum += at[i];
  return sum;
}

uint64_t base_pread_pass(const char *path, size_t chunk, int whole) {
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return 0;
  void *buffer = NULL;
  uint64_t sum = 0;
  if (posix_memalign(&buffer, 4096, chunk) == 0) {
    off_t at = 0;
    ssize_t got;
    while ((got = pread(descriptor, buffer, chunk, at)) > 0) {
      sum += base_consume(buffer, (size_t)got, whole);
      at += got;
    }
  }
  free(buffer);
  close(descriptor);
  return sum;
}

void base_evict(const char *path) {
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
#if defined(__linux__)
  posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
#endif
  close(descriptor);
}

int64_t base_resident(const char *path) {
  size_t length;
  void *bytes = base_map(path, &length);
  if (bytes == NULL) return -1;
  size_t pages = (length + 4095) / 4096;
  unsigned char *vector = malloc(pages);
  int64_t resident = 0;
#if defined(__linux__)
  if (mincore(bytes, length, vector) != 0) resident = -1;
#else
  if (mincore(bytes, length, (char *)vector) != 0) resident = -1;
#endif
  for (size_t i = 0; resident >= 0 && i < pages; i++) resident += vector[i] & 1;
  free(vector);
  munmap(bytes, length);
  return resident;
}
