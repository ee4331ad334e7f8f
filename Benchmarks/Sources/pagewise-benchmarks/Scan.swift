// SPDX-License-Identifier: Apache-2.0

import CBaselines
import MemoryMapping
import SystemPackage

@inline(never) func sumBytes(_ bytes: RawSpan) -> UInt64 {
  var sum: UInt64 = 0
  for offset in 0..<bytes.byteCount { sum &+= UInt64(bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)) }
  return sum
}

@inline(never) func sumBytesChecked(_ bytes: RawSpan) -> UInt64 {
  var sum: UInt64 = 0
  for offset in 0..<bytes.byteCount { sum &+= UInt64(bytes[offset, as: UInt8.self]) }
  return sum
}

@inline(never) func sumWords(_ bytes: RawSpan) -> UInt64 {
  var sum: UInt64 = 0
  let words = bytes.byteCount / 8
  for index in 0..<words { sum &+= bytes.unsafeLoadUnaligned(fromByteOffset: index &* 8, as: UInt64.self) }
  for offset in words * 8..<bytes.byteCount { sum &+= UInt64(bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)) }
  return sum
}

@inline(never) func sumWordsChecked(_ bytes: RawSpan) -> UInt64 {
  var sum: UInt64 = 0
  for index in 0..<bytes.byteCount / 8 { sum &+= bytes[index &* 8, as: UInt64.self] }
  return sum
}

@inline(never) func sumRandom(_ bytes: RawSpan, _ offsets: UnsafeBufferPointer<UInt32>) -> UInt64 {
  var sum: UInt64 = 0
  for offset in offsets { sum &+= bytes[Int(offset), as: UInt64.self] }
  return sum
}

@inline(never) func sumRandomUnchecked(_ bytes: RawSpan, _ offsets: UnsafeBufferPointer<UInt32>) -> UInt64 {
  var sum: UInt64 = 0
  for offset in offsets { sum &+= bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: Int(offset), as: UInt64.self) }
  return sum
}

@inline(never) func sumLoads(
  _ map: borrowing MappedFile, _ offsets: UnsafeBufferPointer<UInt32>, _ check: FaultCheck
) throws -> UInt64 {
  var sum: UInt64 = 0
  for offset in offsets { sum &+= try map.load(at: Int(offset), as: UInt64.self, check: check) }
  return sum
}

// A function of its own: the compiler (6.3.1) fails on a span taken from a captured owner inside a closure.
@inline(never) func sumBare(_ map: borrowing MappedFile) -> UInt64 { sumWords(unsafe map.bytes) }

@inline(never) func sumRecords(_ map: borrowing MappedFile) throws -> UInt64 {
  var sum: UInt64 = 0
  var records = try map.records(of: UInt64.self)
  while let record = try records.next() { sum &+= record }
  return sum
}

/// Scan and random loads through our views, beside the same loop in C over its own mapping of the same file.
func benchmarkScan(_ harness: Harness, _ place: borrowing Workplace) throws {
  let size = harness.isQuick ? 1 << 20 : 256 << 20
  let path = try place.file("scan", size: size) { UInt8(truncatingIfNeeded: $0 % 251 + 1) }
  var length = 0
  guard let bytes = base_map(path, &length) else { return }
  defer { base_unmap(bytes, length) }
  let map = try MappedFile(FilePath(path))
  var random = Xorshift(state: 88_172_645_463_325_252)
  let offsets = (0..<(harness.isQuick ? 10_000 : 2_000_000)).map { _ in UInt32(random.next() % UInt64(size - 8)) }
  let mib = Double(size) / 1_048_576

  try harness.pair("scan", "sum of UInt8, unsafeLoad in withBytes", units: mib, unit: "ns/MiB", goal: "1.05") {
    try map.withBytes { sumBytes($0) }
  } baseline: {
    base_sum8(bytes, size)
  }
  try harness.pair("scan", "sum of UInt8, checked subscript", units: mib, unit: "ns/MiB", goal: "1.05") {
    try map.withBytes { sumBytesChecked($0) }
  } baseline: {
    base_sum8(bytes, size)
  }
  try harness.pair("scan", "sum of UInt64, unsafeLoad in withBytes", units: mib, unit: "ns/MiB", goal: "1.05") {
    try map.withBytes { sumWords($0) }
  } baseline: {
    base_sum64(bytes, size)
  }
  try harness.pair("scan", "sum of UInt64, checked subscript", units: mib, unit: "ns/MiB", goal: "1.05") {
    try map.withBytes { sumWordsChecked($0) }
  } baseline: {
    base_sum64(bytes, size)
  }
  harness.pair("scan", "sum of UInt64, the bare bytes", units: mib, unit: "ns/MiB", goal: "1.05") {
    sumBare(map)
  } baseline: {
    base_sum64(bytes, size)
  }
  try harness.pair("scan", "records(of: UInt64.self)", units: mib, unit: "ns/MiB", goal: "1.05") {
    try sumRecords(map)
  } baseline: {
    base_sum64(bytes, size)
  }
  try offsets.withUnsafeBufferPointer { offsets in
    let count = Double(offsets.count)
    try harness.pair("scan", "random UInt64, unchecked load in withBytes", units: count, goal: "1.05") {
      try map.withBytes { sumRandomUnchecked($0, offsets) }
    } baseline: {
      base_random64(bytes, offsets.baseAddress, offsets.count)
    }
    try harness.pair("scan", "random UInt64, checked subscript in withBytes", units: count, goal: "1.05") {
      try map.withBytes { sumRandom($0, offsets) }
    } baseline: {
      base_random64(bytes, offsets.baseAddress, offsets.count)
    }
    try harness.pair("scan", "random UInt64, load(at:as:) checked copy", units: count, goal: "1.05") {
      try sumLoads(map, offsets, .size)
    } baseline: {
      base_random64(bytes, offsets.baseAddress, offsets.count)
    }
    try harness.pair("scan", "random UInt64, load(check: .pages)", units: count, goal: "1.05") {
      try sumLoads(map, offsets, .pages)
    } baseline: {
      base_random64(bytes, offsets.baseAddress, offsets.count)
    }
  }
}
