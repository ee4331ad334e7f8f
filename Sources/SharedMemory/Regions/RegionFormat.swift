// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a region. Numbers are in the order of the machine, which never changes while the region lives; a mark tells a file that
// came from elsewhere. The header is written once, before anybody else can see the region, and never changes.
//
//   offset  size
//        0     8  magic "PGWREGN\n"
//        8     2  major version, 1: another one is refused
//       10     2  minor version, 0: a later one may have added parts and fields that we pass over
//       12     4  0x01020304, in the order of the machine
//       16     4  bytes of the header, 65,536: where the peer table begins
//       20     4  parts
//       24     8  bytes of the region
//       32    16  identifier, random
//       48     4  places for peers
//       52     4  bytes of each place, 128
//       56     8  when it was made, nanoseconds since 1970
//       64     4  checksum (CRC-32C) of the bytes 0..<64 and 128..<128 + 128 * parts
//      128   128  part 0, and so on
//
// Part
//        0    48  name, UTF-8, filled up with NUL
//       48     4  kind
//       52     4  0
//       56     8  offset from the start of the region, a multiple of 128
//       64     8  bytes
//       72     8  bytes of each element, 0 where there are none
//       80     8  layout hash
//       88    40  0
//
// The peer table follows the header (see PeerTable), then the parts.
//
// Whoever opens a region reads the header once into memory of its own and believes nothing of it unchecked: every part lies behind the
// peer table, inside the file, and over no other part.

internal import CPlatform
internal import MemoryMapping
internal import SystemPackage

internal enum RegionFormat {
  internal static let magic = Array("PGWREGN\n".utf8)
  internal static let version: (major: UInt16, minor: UInt16) = (1, 0)
  internal static let orderMark: UInt32 = 0x0102_0304
  internal static let headerSize = 65_536
  internal static let checksummedHead = 64
  internal static let partsOffset = 128
  internal static let partStride = 128

  internal struct PlacedPart: Sendable, Hashable {
    internal var part: RegionLayout.Part
    internal var offset: Int
  }

  internal struct Header: Sendable, Hashable {
    internal var identifier: RegionIdentifier
    internal var byteCount: Int
    internal var peerCapacity: Int
    internal var createdNanoseconds: UInt64
    internal var parts: [PlacedPart]

    internal func part(_ name: String) -> PlacedPart? { parts.first { $0.part.name == name } }
  }

  internal static func checksum(_ bytes: [UInt8], parts: Int) -> UInt32 {
    unsafe bytes.withUnsafeBytes { bytes in
      let head = unsafe pgw_crc32c(0, bytes.baseAddress, checksummedHead)
      return unsafe pgw_crc32c(head, bytes.baseAddress! + partsOffset, parts * partStride)
    }
  }

  /// The header's bytes, `headerSize` of them.
  internal static func encode(_ header: Header) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: headerSize)
    bytes.replaceSubrange(0..<magic.count, with: magic)
    bytes.store(version.major, at: 8)
    bytes.store(version.minor, at: 10)
    bytes.store(orderMark, at: 12)
    bytes.store(UInt32(headerSize), at: 16)
    bytes.store(UInt32(header.parts.count), at: 20)
    bytes.store(UInt64(header.byteCount), at: 24)
    bytes.store(header.identifier.high, at: 32)
    bytes.store(header.identifier.low, at: 40)
    bytes.store(UInt32(header.peerCapacity), at: 48)
    bytes.store(UInt32(PeerTable.stride), at: 52)
    bytes.store(header.createdNanoseconds, at: 56)
    for (index, placed) in header.parts.enumerated() {
      let at = partsOffset + index * partStride
      let name = Array(placed.part.name.utf8)
      bytes.replaceSubrange(at..<at + name.count, with: name)
      bytes.store(placed.part.kind.rawValue, at: at + 48)
      bytes.store(UInt64(placed.offset), at: at + 56)
      bytes.store(UInt64(placed.part.byteCount), at: at + 64)
      bytes.store(UInt64(placed.part.elementSize), at: at + 72)
      bytes.store(placed.part.layoutHash, at: at + 80)
    }
    bytes.store(checksum(bytes, parts: header.parts.count), at: 64)
    return bytes
  }

  /// Reads a header that anybody may have written.
  ///
  /// - Parameters:
  ///   - bytes: the first `headerSize` bytes of the file, in memory of our own.
  ///   - fileSize: bytes of the file.
  internal static func decode(
    _ bytes: [UInt8], fileSize: Int64, region: String?
  ) throws(SharedMemoryError) -> Header {
    func refuse(_ code: SharedMemoryError.Code, _ note: String) -> SharedMemoryError {
      SharedMemoryError(code, "open", region: region, note: note)
    }
    guard bytes.count == headerSize, bytes.starts(with: magic) else {
      throw refuse(.notARegion, "the file does not begin as one, or is too short")
    }
    let order: UInt32 = bytes.load(at: 12)
    guard order == orderMark else {
      throw refuse(.versionUnsupported, "it was made on a machine of the other byte order")
    }
    let major: UInt16 = bytes.load(at: 8)
    let minor: UInt16 = bytes.load(at: 10)
    guard major == version.major else {
      throw refuse(.versionUnsupported, "version \(major).\(minor), here \(version.major).\(version.minor)")
    }
    let size: UInt32 = bytes.load(at: 16)
    let peerStride: UInt32 = bytes.load(at: 52)
    guard size == headerSize, peerStride == PeerTable.stride else {
      throw refuse(.damaged, "its header has another size")
    }
    let count: UInt32 = bytes.load(at: 20)
    guard count <= RegionLayout.partLimit else { throw refuse(.damaged, "it says that it has \(count) parts") }
    let wanted: UInt32 = bytes.load(at: 64)
    guard checksum(bytes, parts: Int(count)) == wanted else { throw refuse(.damaged, "the header's checksum is wrong") }
    let total: UInt64 = bytes.load(at: 24)
    guard total <= UInt64(RegionLayout.sizeLimit), Int64(total) == fileSize else {
      throw refuse(.damaged, "it says that it has \(total) bytes, the file has \(fileSize)")
    }
    let peers: UInt32 = bytes.load(at: 48)
    guard 1...UInt32(RegionLayout.peerLimit) ~= peers else {
      throw refuse(.damaged, "it says that it has places for \(peers) peers")
    }
    var free = headerSize + Int(peers) * PeerTable.stride
    var parts: [PlacedPart] = []
    var names: Set<String> = []
    for index in 0..<Int(count) {
      let at = partsOffset + index * partStride
      let raw = bytes[at..<at + RegionLayout.nameLimit]
      let text = raw.prefix { $0 != 0 }
      guard let name = String(validating: text, as: UTF8.self), !name.isEmpty, names.insert(name).inserted else {
        throw refuse(.damaged, "the name of part \(index) is not valid")
      }
      let offset: UInt64 = bytes.load(at: at + 56)
      let length: UInt64 = bytes.load(at: at + 64)
      let element: UInt64 = bytes.load(at: at + 72)
      // Each number is bounded before it is added to another.
      guard offset >= UInt64(free), offset <= total, offset % UInt64(RegionLayout.alignment) == 0, length >= 1,
        length <= total - offset, element <= UInt64(RegionLayout.sizeLimit)
      else { throw refuse(.damaged, "part '\(name)' does not lie inside the region") }
      let part = RegionLayout.Part(
        name, kind: RegionLayout.Kind(rawValue: bytes.load(at: at + 48)), byteCount: Int(length),
        elementSize: Int(element),
        layoutHash: bytes.load(at: at + 80))
      parts.append(PlacedPart(part: part, offset: Int(offset)))
      free = Int(offset + length)
    }
    return Header(
      identifier: RegionIdentifier(high: bytes.load(at: 32), low: bytes.load(at: 40)), byteCount: Int(total),
      peerCapacity: Int(peers), createdNanoseconds: bytes.load(at: 56), parts: parts)
  }
}

/// 128 random bits that name a region as long as it lives. Two regions never share one, whatever their names.
public struct RegionIdentifier: Sendable, Hashable, CustomStringConvertible {
  internal let high: UInt64
  internal let low: UInt64

  /// 32 hexadecimal digits.
  public var description: String {
    func digits(_ word: UInt64) -> String {
      let text = String(word, radix: 16)
      return String(repeating: "0", count: 16 - text.count) + text
    }
    return digits(high) + digits(low)
  }

  internal init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  internal static func random() throws(SharedMemoryError) -> RegionIdentifier {
    var words: (UInt64, UInt64) = (0, 0)
    guard unsafe pgw_random(&words, 16) == 0 else { throw .last("create") }
    return RegionIdentifier(high: words.0, low: words.1)
  }
}
