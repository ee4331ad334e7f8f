// SPDX-License-Identifier: Apache-2.0
//
// Byte search: the block mask that line cursors walk, counting, and finding.
//
// One rule holds for every function here: no byte outside [bytes, bytes + length) is read, not even by a vector load
// whose surplus is thrown away. The byte behind a mapping may be a page that is not there.

#ifndef PGW_SCAN_H
#define PGW_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/// Bytes that one block mask covers: one bit each.
enum { PGW_BLOCK_SIZE = 64 };

/// Bit i of the result tells whether block[i] equals `byte`. Reads exactly 64 bytes, at any alignment.
///
/// Inline because a line cursor asks this once per 64 bytes: a call would cost more than the work. Only instructions of
/// the architecture's baseline are used, so there is no dispatch; a page cache cannot deliver bytes faster than this.
static inline uint64_t pgw_block_mask(const void *block, uint8_t byte) {
#if defined(__SSE2__)
  const __m128i *lanes = (const __m128i *)block;
  const __m128i wanted = _mm_set1_epi8((char)byte);
  uint64_t a = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(lanes), wanted));
  uint64_t b = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(lanes + 1), wanted));
  uint64_t c = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(lanes + 2), wanted));
  uint64_t d = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(lanes + 3), wanted));
  return a | b << 16 | c << 32 | d << 48;
#elif defined(__ARM_NEON) && defined(__aarch64__)
  // NEON has no move-mask. Each lane keeps the bit of its place in a group of eight; three pairwise additions then
  // bring the four vectors down to 64 bits in order.
  const uint8_t *lanes = (const uint8_t *)block;
  const uint8x16_t wanted = vdupq_n_u8(byte);
  const uint8x16_t place = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  uint8x16_t a = vandq_u8(vceqq_u8(vld1q_u8(lanes), wanted), place);
  uint8x16_t b = vandq_u8(vceqq_u8(vld1q_u8(lanes + 16), wanted), place);
  uint8x16_t c = vandq_u8(vceqq_u8(vld1q_u8(lanes + 32), wanted), place);
  uint8x16_t d = vandq_u8(vceqq_u8(vld1q_u8(lanes + 48), wanted), place);
  uint8x16_t sums = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
  return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(sums, sums)), 0);
#else
  const uint8_t *lanes = (const uint8_t *)block;
  uint64_t mask = 0;
  for (unsigned i = 0; i < 64; i++) mask |= (uint64_t)(lanes[i] == byte) << i;
  return mask;
#endif
}

/// The same for the last, incomplete block: `length` is 0 to 63, and the bits from `length` on are 0.
uint64_t pgw_tail_mask(const void *block, size_t length, uint8_t byte);

/// How many bytes equal `byte`. AVX2 where the processor has it, else the baseline.
size_t pgw_count_byte(const void *bytes, size_t length, uint8_t byte);

/// The baseline way of pgw_count_byte, so that a test on a newer processor reaches it.
size_t pgw_count_byte_baseline(const void *bytes, size_t length, uint8_t byte);

/// Whether the bytes at both places are the same. Null is allowed for a length of 0. memcmp(3).
bool pgw_equal(const void *a, const void *b, size_t length);

/// Offset of the first byte that equals `byte`, or `length`. memchr(3).
size_t pgw_find_byte(const void *bytes, size_t length, uint8_t byte);

/// Offset of the first place where the needle stands, or SIZE_MAX. An empty needle stands at 0. memmem(3).
///
/// Time is linear in `length` for every needle: a scan by vectors that meets too many false candidates hands over to
/// memmem, which is linear.
size_t pgw_find(const void *bytes, size_t length, const void *needle, size_t needle_length);

/// The way of pgw_find without vectors, so that a test on a newer processor reaches it.
size_t pgw_find_baseline(const void *bytes, size_t length, const void *needle,
                         size_t needle_length);

#ifdef __cplusplus
}
#endif

#endif
