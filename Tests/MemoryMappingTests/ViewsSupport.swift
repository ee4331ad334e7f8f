// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Bytes of an array as the span that the views work on.
@discardableResult
func withSpan<R>(_ bytes: [UInt8], _ body: (RawSpan) throws -> R) rethrows -> R {
  // Bytes of an array of UInt8 are all initialized.
  try unsafe body(bytes.span.bytes)
}

/// A check that a cursor over spans is at its end; `#expect` takes no values that cannot escape.
func expectEnd(_ next: consuming RawSpan?, sourceLocation: SourceLocation = #_sourceLocation) {
  if next != nil { Issue.record("a cursor goes on behind its end", sourceLocation: sourceLocation) }
}

func array(_ span: RawSpan) -> [UInt8] {
  unsafe span.withUnsafeBytes { unsafe Array($0) }
}

/// Bytes that lie between two pages that nobody may touch, so that a read of one byte too many ends
/// the process.
///
/// `atEnd` puts them against the page behind, else against the page in front.
func withFencedSpan<R>(
  _ bytes: [UInt8], atEnd: Bool, _ body: (RawSpan) throws -> R
) throws -> R {
  let page = SystemPage.size
  let room = max(page, (bytes.count + page - 1) / page * page)
  let base = unsafe mmap(nil, room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANON, -1, 0)
  guard let base = unsafe base, unsafe base != MAP_FAILED else { throw Errno.noMemory }
  defer { unsafe munmap(base, room + 2 * page) }
  guard unsafe mprotect(base + page, room, PROT_READ | PROT_WRITE) == 0 else {
    throw Errno.noMemory
  }
  let start = unsafe base + page + (atEnd ? room - bytes.count : 0)
  unsafe start.copyMemory(from: bytes, byteCount: bytes.count)
  return try unsafe body(RawSpan(_unsafeStart: start, byteCount: bytes.count))
}

/// A file with these bytes, gone at the end.
func withViewFile<R>(
  _ bytes: [UInt8], _ body: (FilePath, FileDescriptor) throws -> R
) throws -> R {
  let path = FilePath("/tmp/pgw-views-\(UInt64.random(in: 0...UInt64.max))")
  let file = try FileDescriptor.open(
    path, .readWrite, options: [.create, .exclusiveCreate], permissions: .ownerReadWrite)
  defer {
    try? file.close()
    _ = path.withPlatformString { unsafe unlink($0) }
  }
  try file.writeAll(bytes)
  return try body(path, file)
}

/// A small generator with a seed, so that a failure can be repeated.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  init(_ seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
