// SPDX-License-Identifier: Apache-2.0
//
// CRC32C, the checksum of iSCSI (RFC 3720, appendix B.4), ext4, Btrfs and many log formats.
//
// The polynomial is Castagnoli's, 0x1EDC6F41, or 0x82F63B78 with its bits reflected. The register starts with all bits
// set and is inverted at the end. Both happen inside, so that a checksum of parts is made by handing on the result:
//
//   pgw_crc32c(pgw_crc32c(0, a, na), b, nb)  ==  pgw_crc32c(0, ab, na + nb)
//
// No byte outside [bytes, bytes + length) is read. Null is allowed for a length of 0.

#ifndef PGW_CHECKSUM_H
#define PGW_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The checksum of what `crc` is the checksum of, followed by `length` bytes. Begin with a `crc` of 0.
///
/// Takes the processor's own instruction where it has one: SSE4.2 on x86-64, found out at run time, and the CRC32
/// extension on ARM where the build may count on it. Three parts of a long input are then summed at once, because the
/// instruction can be started each cycle but takes three to finish.
uint32_t pgw_crc32c(uint32_t crc, const void *bytes, size_t length);

/// The way of pgw_crc32c with tables, so that a test on a newer processor reaches it.
uint32_t pgw_crc32c_portable(uint32_t crc, const void *bytes, size_t length);

#ifdef __cplusplus
}
#endif

#endif
