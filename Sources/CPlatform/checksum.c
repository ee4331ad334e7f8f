// SPDX-License-Identifier: Apache-2.0
//
// CRC32C by the processor's instruction, or by tables. See pgw_checksum.h for the definition.
//
// Everything here rests on one fact: the register after n zero bytes is a linear function of the register before, over
// bits and exclusive or. Such a function is known by what it makes of the 32 single bits, and splits into one table of
// 256 words for each byte of the register. So all tables are constants, made by the preprocessor from eight words each:
// nothing is made at run time, and no thread waits for another.

#include "pgw_checksum.h"

#include <string.h>

// ---------------------------------------------------------------------------------- tables

// The sums of all subsets of eight words: entry i has those whose bit is set in i.
#define SUMS1(x, a) (x), (x) ^ (a)
#define SUMS2(x, a, b) SUMS1(x, a), SUMS1((x) ^ (b), a)
#define SUMS3(x, a, b, c) SUMS2(x, a, b), SUMS2((x) ^ (c), a, b)
#define SUMS4(x, a, b, c, d) SUMS3(x, a, b, c), SUMS3((x) ^ (d), a, b, c)
#define SUMS5(x, a, b, c, d, e) SUMS4(x, a, b, c, d), SUMS4((x) ^ (e), a, b, c, d)
#define SUMS6(x, a, b, c, d, e, f) SUMS5(x, a, b, c, d, e), SUMS5((x) ^ (f), a, b, c, d, e)
#define SUMS7(x, a, b, c, d, e, f, g) SUMS6(x, a, b, c, d, e, f), SUMS6((x) ^ (g), a, b, c, d, e, f)
#define SUMS(a, b, c, d, e, f, g, h) {SUMS7(0u, a, b, c, d, e, f, g), SUMS7(h, a, b, c, d, e, f, g)}

/// slices[k][v]: the register that was v, after a zero byte and k more. slices[0] is the classic table of one byte.
static const uint32_t slices[8][256] = {
    SUMS(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78),
    SUMS(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9),
    SUMS(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743),
    SUMS(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f),
    SUMS(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c),
    SUMS(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6),
    SUMS(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4),
    SUMS(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664),
};

/// One row for each byte of the register. The words are what is left of the bits 1 << 0 to 1 << 31 after that many zero
/// bytes, each byte being eight times: v = v >> 1 ^ (v & 1 ? 0x82f63b78 : 0).
typedef uint32_t Shift[4][256];

// ---------------------------------------------------------------------------------- with tables

static inline uint64_t load64(const uint8_t *at) {
  uint64_t word;
  memcpy(&word, at, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  word = __builtin_bswap64(word);
#endif
  return word;
}

uint32_t pgw_crc32c_portable(uint32_t crc, const void *bytes, size_t length) {
  const uint8_t *at = bytes;
  uint32_t sum = ~crc;
  for (; length >= 8; length -= 8, at += 8) {
    // The first byte has seven more behind it, the last has none.
    uint64_t word = load64(at) ^ sum;
    sum = slices[7][word & 0xff] ^ slices[6][word >> 8 & 0xff] ^ slices[5][word >> 16 & 0xff] ^
          slices[4][word >> 24 & 0xff] ^ slices[3][word >> 32 & 0xff] ^ slices[2][word >> 40 & 0xff] ^
          slices[1][word >> 48 & 0xff] ^ slices[0][word >> 56];
  }
  for (; length > 0; length--, at++) sum = slices[0][(sum ^ *at) & 0xff] ^ sum >> 8;
  return ~sum;
}

// ---------------------------------------------------------------------------------- with the instruction

#if defined(__x86_64__)
#include <nmmintrin.h>
#define PGW_HAS_CRC_PATH 1
#define PGW_CRC_TARGET __attribute__((target("sse4.2")))
#define PGW_CRC_IS_THERE __builtin_cpu_supports("sse4.2")
// The instruction works on 64 bits and leaves 32: kept wide, so that the compiler adds no move between two of them.
#define ADD64(sum, word) _mm_crc32_u64(sum, word)
#define ADD32(sum, word) _mm_crc32_u32((uint32_t)(sum), word)
#define ADD8(sum, byte) _mm_crc32_u8((uint32_t)(sum), byte)
#elif defined(__ARM_FEATURE_CRC32) && defined(__AARCH64EL__)
#include <arm_acle.h>
#define PGW_HAS_CRC_PATH 1
#define PGW_CRC_TARGET
#define PGW_CRC_IS_THERE 1
#define ADD64(sum, word) __crc32cd((uint32_t)(sum), word)
#define ADD32(sum, word) __crc32cw((uint32_t)(sum), word)
#define ADD8(sum, byte) __crc32cb((uint32_t)(sum), byte)
#endif

#if PGW_HAS_CRC_PATH
// Three long parts are 4080 bytes, which fits a page; three short ones are 1008, which pays as soon as they fit.
enum { LONG_PART = 1360, SHORT_PART = 336 };

static const Shift long_shift = {
    SUMS(0x79113270, 0xf22264e0, 0xe1a8bf31, 0xc6bd0893, 0x889667d7, 0x14c0b95f, 0x298172be, 0x5302e57c),
    SUMS(0xa605caf8, 0x49e7e301, 0x93cfc602, 0x2273faf5, 0x44e7f5ea, 0x89cfebd4, 0x1673a159, 0x2ce742b2),
    SUMS(0x59ce8564, 0xb39d0ac8, 0x62d66361, 0xc5acc6c2, 0x8eb5fb75, 0x1887801b, 0x310f0036, 0x621e006c),
    SUMS(0xc43c00d8, 0x8d947741, 0x1ec49873, 0x3d8930e6, 0x7b1261cc, 0xf624c398, 0xe9a5f1c1, 0xd6a79573),
};

static const Shift short_shift = {
    SUMS(0x8f158014, 0x1bc776d9, 0x378eedb2, 0x6f1ddb64, 0xde3bb6c8, 0xb99b1b61, 0x76da4033, 0xedb48066),
    SUMS(0xde85763d, 0xb8e69a8b, 0x742143e7, 0xe84287ce, 0xd569796d, 0xaf3e842b, 0x5b917ea7, 0xb722fd4e),
    SUMS(0x6ba98c6d, 0xd75318da, 0xab4a4745, 0x5378f87b, 0xa6f1f0f6, 0x480f971d, 0x901f2e3a, 0x25d22a85),
    SUMS(0x4ba4550a, 0x9748aa14, 0x2b7d22d9, 0x56fa45b2, 0xadf48b64, 0x5e056039, 0xbc0ac072, 0x7df9f615),
};

/// The register after as many zero bytes as the tables stand for.
static inline uint64_t shifted(const Shift by, uint64_t sum) {
  return by[0][sum & 0xff] ^ by[1][sum >> 8 & 0xff] ^ by[2][sum >> 16 & 0xff] ^ by[3][sum >> 24 & 0xff];
}

/// Sums three parts that lie one after the other, `part` bytes each: the first goes on from `sum`, the others begin at
/// zero, and linearity lets the parts be put together when all three are done.
PGW_CRC_TARGET static inline uint64_t add_three(uint64_t sum, const uint8_t *at, size_t part, const Shift by) {
  uint64_t second = 0;
  uint64_t third = 0;
  for (const uint8_t *end = at + part; at < end; at += 8) {
    sum = ADD64(sum, load64(at));
    second = ADD64(second, load64(at + part));
    third = ADD64(third, load64(at + 2 * part));
  }
  return shifted(by, shifted(by, sum) ^ second) ^ third;
}

PGW_CRC_TARGET static uint32_t crc32c_instruction(uint32_t crc, const uint8_t *at, size_t length) {
  uint64_t sum = (uint32_t)~crc;
  // A cache line or less is common, and should meet nothing of the code for long inputs.
  if (__builtin_expect(length >= 3 * SHORT_PART, 0)) {
    for (; length >= 3 * LONG_PART; length -= 3 * LONG_PART, at += 3 * LONG_PART) {
      sum = add_three(sum, at, LONG_PART, long_shift);
    }
    for (; length >= 3 * SHORT_PART; length -= 3 * SHORT_PART, at += 3 * SHORT_PART) {
      sum = add_three(sum, at, SHORT_PART, short_shift);
    }
  }
  for (; length >= 64; length -= 64, at += 64) {
    sum = ADD64(sum, load64(at));
    sum = ADD64(sum, load64(at + 8));
    sum = ADD64(sum, load64(at + 16));
    sum = ADD64(sum, load64(at + 24));
    sum = ADD64(sum, load64(at + 32));
    sum = ADD64(sum, load64(at + 40));
    sum = ADD64(sum, load64(at + 48));
    sum = ADD64(sum, load64(at + 56));
  }
  if (length == 0) return ~(uint32_t)sum;
  for (; length >= 8; length -= 8, at += 8) sum = ADD64(sum, load64(at));
  if (length >= 4) {
    uint32_t word;
    memcpy(&word, at, sizeof word);
    sum = ADD32(sum, word);
    length -= 4;
    at += 4;
  }
  for (; length > 0; length--, at++) sum = ADD8(sum, *at);
  return ~(uint32_t)sum;
}
#endif

uint32_t pgw_crc32c(uint32_t crc, const void *bytes, size_t length) {
#if PGW_HAS_CRC_PATH
  if (PGW_CRC_IS_THERE) return crc32c_instruction(crc, bytes, length);
#endif
  return pgw_crc32c_portable(crc, bytes, length);
}
