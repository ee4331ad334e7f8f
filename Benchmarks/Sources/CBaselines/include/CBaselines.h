// SPDX-License-Identifier: Apache-2.0
//
// The baselines: each does what one of our calls does, with system calls and plain loops.

#ifndef PGW_BASELINES_H
#define PGW_BASELINES_H

#include <stddef.h>
#include <stdint.h>

#include "base_device.h"
#include "base_ipc.h"
#include "base_storage.h"


// Loops over mapped bytes.
uint64_t base_sum8(const void *bytes, size_t count);
uint64_t base_sum64(const void *bytes, size_t count);
uint64_t base_random64(const void *bytes, const uint32_t *offsets, size_t count);
void *base_map(const char *path, size_t *length);
void base_unmap(void *bytes, size_t length);

// open, fstat, mmap, [touch], munmap, close; `times` over. Returns the sum of sizes and touched bytes.
uint64_t base_open_map_close(const char *path, int touch, size_t times);

// The bare access of a guarded scope, and memcpy of 64 bytes, `times` over different places.
uint64_t base_bare_access(const void *bytes, size_t places, size_t times);
uint64_t base_memcpy64(const void *bytes, size_t places, size_t times);

// Lines by getline(3): number of lines + total length without the newline.
uint64_t base_getline(const char *path);
uint64_t base_memmem(const void *bytes, size_t count, const void *needle, size_t needle_count);
uint64_t base_memchr(const void *bytes, size_t count, int byte);
// Runs a program with its output thrown away; returns its wall time in nanoseconds, 0 when it failed.
uint64_t base_run(char *const arguments[]);

// One file read by one fixed strategy, from open to close. Returns the checksum.
enum base_strategy { BASE_MAP, BASE_MAP_POPULATE, BASE_READ, BASE_STREAM };
uint64_t base_whole(const char *path, int strategy);
uint64_t base_scattered(const char *path, int strategy, const uint64_t *offsets, size_t count, size_t size);

// A pass with pread into one buffer of `chunk` bytes. Each byte summed, or one byte of each page.
uint64_t base_pread_pass(const char *path, size_t chunk, int whole);
// The same, dropping what lies 8 MiB behind from the page cache.
uint64_t base_pread_dropping_pass(const char *path, size_t chunk, int whole);
// What it does with a piece.
uint64_t base_consume(const void *bytes, size_t count, int whole);

void base_evict(const char *path);
// Resident pages by mincore (own files: truthful); -1 on error.
int64_t base_resident(const char *path);

#endif
