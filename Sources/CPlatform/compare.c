// SPDX-License-Identifier: Apache-2.0

#include "pgw_compare.h"

#include <string.h>

static uint64_t word_at(const unsigned char *bytes, size_t offset) {
  uint64_t word;
  memcpy(&word, bytes + offset, 8);
  return word;
}

/// Not 0 when the 64 bytes differ. One pass without branches, so that the compiler uses vectors.
static uint64_t differs_64(const unsigned char *before, const unsigned char *now) {
  uint64_t any = 0;
  if (before == NULL) {
    for (size_t i = 0; i < 64; i += 8) any |= word_at(now, i);
  } else {
    for (size_t i = 0; i < 64; i += 8) any |= word_at(now, i) ^ word_at(before, i);
  }
  return any;
}

/// Whether the 8 bytes at `at`, or what is left of them, differ.
static int differs_8(const unsigned char *before, const unsigned char *now, size_t at, size_t length) {
  static const unsigned char zeros[8];
  size_t count = length - at;
  if (count >= 8) return word_at(now, at) != (before == NULL ? 0 : word_at(before, at));
  return memcmp(now + at, before == NULL ? zeros : before + at, count) != 0;
}

size_t pgw_find_changes(const void *before_bytes, const void *now_bytes, size_t length, size_t gap, pgw_byte_run *out,
                        size_t capacity, size_t *next) {
  const unsigned char *before = before_bytes, *now = now_bytes;
  size_t used = 0, at = *next;
  while (at < length) {
    if (length - at >= 64 && differs_64(before == NULL ? NULL : before + at, now + at) == 0) {
      at += 64;
      continue;
    }
    size_t step = length - at < 64 ? length - at : 64, word = at;
    for (; word < at + step; word += 8) {
      if (!differs_8(before, now, word, length)) continue;
      // Where every word differs, as in pages that were written anew, nothing but the end of the run moves.
      size_t first = word;
      while (length - word > 8 && differs_8(before, now, word + 8, length)) word += 8;
      size_t end = length - word > 8 ? word + 8 : length;
      if (used > 0 && first - (size_t)(out[used - 1].offset + out[used - 1].length) < gap) {
        out[used - 1].length = end - out[used - 1].offset;
      } else if (used == capacity) {
        *next = first;
        return used;
      } else {
        out[used++] = (pgw_byte_run){first, end - first};
      }
    }
    at = word;
  }
  *next = length;
  return used;
}
