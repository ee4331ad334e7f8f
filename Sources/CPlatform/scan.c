// SPDX-License-Identifier: Apache-2.0
//
// Counting and finding bytes. See pgw_scan.h for the rule about reads at the edges.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE  // memmem
#endif

#include "pgw_scan.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define PGW_HAS_AVX2_PATH 1
#endif

uint64_t pgw_tail_mask(const void *block, size_t length, uint8_t byte) {
  const uint8_t *bytes = block;
  uint64_t mask = 0;
  for (size_t i = 0; i < length; i++) mask |= (uint64_t)(bytes[i] == byte) << i;
  return mask;
}

// MARK: Counting

size_t pgw_count_byte_baseline(const void *bytes, size_t length, uint8_t byte) {
  const uint8_t *at = bytes;
  size_t count = 0;
  while (length >= PGW_BLOCK_SIZE) {
    count += (size_t)__builtin_popcountll(pgw_block_mask(at, byte));
    at += PGW_BLOCK_SIZE;
    length -= PGW_BLOCK_SIZE;
  }
  return count + (size_t)__builtin_popcountll(pgw_tail_mask(at, length, byte));
}

#if PGW_HAS_AVX2_PATH
__attribute__((target("avx2"))) static size_t count_byte_avx2(const uint8_t *at, size_t length, uint8_t byte) {
  const __m256i wanted = _mm256_set1_epi8((char)byte);
  const __m256i zero = _mm256_setzero_si256();
  __m256i total = zero;  // four 64-bit sums
  while (length >= 128) {
    // A lane of `counts` gains at most 4 in a round, and must stay below 256: so 63 rounds, then it is added up.
    size_t rounds = length / 128 < 63 ? length / 128 : 63;
    length -= rounds * 128;
    __m256i counts = zero;
    for (; rounds > 0; rounds--, at += 128) {
      const __m256i *lanes = (const __m256i *)at;
      // A match is -1, so subtracting it counts.
      __m256i a = _mm256_cmpeq_epi8(_mm256_loadu_si256(lanes), wanted);
      __m256i b = _mm256_cmpeq_epi8(_mm256_loadu_si256(lanes + 1), wanted);
      __m256i c = _mm256_cmpeq_epi8(_mm256_loadu_si256(lanes + 2), wanted);
      __m256i d = _mm256_cmpeq_epi8(_mm256_loadu_si256(lanes + 3), wanted);
      counts = _mm256_sub_epi8(counts, _mm256_add_epi8(_mm256_add_epi8(a, b), _mm256_add_epi8(c, d)));
    }
    total = _mm256_add_epi64(total, _mm256_sad_epu8(counts, zero));
  }
  uint64_t sums[4];
  _mm256_storeu_si256((__m256i *)sums, total);
  return (size_t)(sums[0] + sums[1] + sums[2] + sums[3]) + pgw_count_byte_baseline(at, length, byte);
}
#endif

size_t pgw_count_byte(const void *bytes, size_t length, uint8_t byte) {
#if PGW_HAS_AVX2_PATH
  if (length >= 256 && __builtin_cpu_supports("avx2")) return count_byte_avx2(bytes, length, byte);
#endif
  return pgw_count_byte_baseline(bytes, length, byte);
}

// MARK: Finding

bool pgw_equal(const void *a, const void *b, size_t length) { return length == 0 || memcmp(a, b, length) == 0; }

size_t pgw_find_byte(const void *bytes, size_t length, uint8_t byte) {
  if (length == 0) return 0;
  const uint8_t *found = memchr(bytes, byte, length);
  return found ? (size_t)(found - (const uint8_t *)bytes) : length;
}

size_t pgw_find_baseline(const void *bytes, size_t length, const void *needle, size_t needle_length) {
  if (needle_length == 0) return 0;
  if (needle_length > length) return SIZE_MAX;
  const uint8_t *found = needle_length == 1 ? memchr(bytes, *(const uint8_t *)needle, length)
                                            : memmem(bytes, length, needle, needle_length);
  return found ? (size_t)(found - (const uint8_t *)bytes) : SIZE_MAX;
}

#if PGW_HAS_AVX2_PATH
/// Compares 32 places at a time by the needle's first and last byte, and looks closer where both stand.
///
/// Stops in front of the first place that it did not decide, and says in *decided how many it did: the rest is memmem's.
/// That is the end, where a vector would reach past the bytes, or a text that has the two bytes everywhere, where
/// looking closer each time would cost length x needle_length.
__attribute__((target("avx2,bmi"))) static size_t find_avx2(const uint8_t *bytes, size_t length, const uint8_t *needle,
                                                       size_t needle_length, size_t *decided) {
  const __m256i first = _mm256_set1_epi8((char)needle[0]);
  const __m256i last = _mm256_set1_epi8((char)needle[needle_length - 1]);
  const size_t reach = needle_length - 1 + 32;  // bytes from a place that its vectors read
  size_t at = 0;
  size_t compared = 0;  // bytes that false candidates made us compare, at most
  while (at + reach <= length) {
    __m256i heads = _mm256_loadu_si256((const __m256i *)(bytes + at));
    __m256i ends = _mm256_loadu_si256((const __m256i *)(bytes + at + needle_length - 1));
    __m256i both = _mm256_and_si256(_mm256_cmpeq_epi8(heads, first), _mm256_cmpeq_epi8(ends, last));
    uint32_t candidates = (uint32_t)_mm256_movemask_epi8(both);
    while (__builtin_expect(candidates != 0, false)) {
      size_t place = at + (size_t)__builtin_ctz(candidates);
      if (needle_length == 2 || memcmp(bytes + place + 1, needle + 1, needle_length - 2) == 0) return place;
      candidates &= candidates - 1;
      compared += needle_length + 8;
    }
    at += 32;
    // Four bytes of comparing for each byte of text are still cheaper than memmem's set-up; more are not.
    if (__builtin_expect(compared > 4 * at + 4096, false)) break;
  }
  *decided = at;
  return SIZE_MAX;
}
#endif

size_t pgw_find(const void *bytes, size_t length, const void *needle, size_t needle_length) {
#if PGW_HAS_AVX2_PATH
  if (needle_length >= 2 && needle_length <= length && __builtin_cpu_supports("avx2")) {
    size_t decided = 0;
    size_t found = find_avx2(bytes, length, needle, needle_length, &decided);
    if (found != SIZE_MAX) return found;
    found = pgw_find_baseline((const uint8_t *)bytes + decided, length - decided, needle, needle_length);
    return found == SIZE_MAX ? SIZE_MAX : found + decided;
  }
#endif
  return pgw_find_baseline(bytes, length, needle, needle_length);
}
