// SPDX-License-Identifier: Apache-2.0

import CBaselines
import MemoryMapping
import SystemPackage

@inline(never) func scopes(_ map: borrowing MappedFile, places: Int, times: Int, check: FaultCheck) throws -> UInt64 {
  var sum: UInt64 = 0
  var place = 0
  for _ in 0..<times {
    let at = place &* 64
    sum &+= try map.withBytes(at..<at &+ 8, check: check) { $0.unsafeLoadUnaligned(as: UInt64.self) }
    place &+= 1
    if place == places { place = 0 }
  }
  return sum
}

@inline(never) func copies(_ map: borrowing MappedFile, places: Int, times: Int, check: FaultCheck) throws -> UInt64 {
  var sum: UInt64 = 0
  var place = 0
  var target: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
  try withUnsafeMutableBytes(of: &target) { target in
    for _ in 0..<times {
      let at = place &* 64
      try map.copy(at..<at &+ 64, into: target, check: check)
      sum &+= UInt64(target[63])
      place &+= 1
      if place == places { place = 0 }
    }
  }
  return sum
}

/// What the guard costs on the healthy path, and what a fault costs.
func benchmarkGuard(_ harness: Harness, _ place: borrowing Workplace) throws {
  let times = harness.isQuick ? 1000 : 1_000_000
  let places = 64
  let text = try place.file("text", size: 4096) { UInt8(0x20 + $0 % 90) }
  let zeros = try place.file("zeros", size: 4096) { $0 % 64 == 63 ? 0 : 9 }
  var length = 0
  guard let bytes = base_map(text, &length), let zeroBytes = base_map(zeros, &length) else { return }
  let map = try MappedFile(FilePath(text))
  let zeroMap = try MappedFile(FilePath(zeros))
  let slow = harness.isQuick ? 100 : 20_000

  try harness.pair("guard", "guarded scope around a load", units: Double(times), goal: "<= 10 ns beyond") {
    try scopes(map, places: places, times: times, check: .pages)
  } baseline: {
    base_bare_access(bytes, places, times)
  }
  try harness.pair("guard", "guarded scope, check: .size", units: Double(slow)) {
    try scopes(map, places: places, times: slow, check: .size)
  } baseline: {
    base_bare_access(bytes, places, slow)
  }
  try harness.pair("guard", "guarded scope, check: .stamp", units: Double(slow)) {
    try scopes(map, places: places, times: slow, check: .stamp)
  } baseline: {
    base_bare_access(bytes, places, slow)
  }
  try harness.pair("guard", "checked copy of 64 B, .pages", units: Double(times), goal: "<= 8 ns beyond") {
    try copies(map, places: places, times: times, check: .pages)
  } baseline: {
    base_memcpy64(bytes, places, times)
  }
  try harness.pair("guard", "checked copy of 64 B, .size, text", units: Double(times), goal: "<= 8 ns beyond") {
    try copies(map, places: places, times: times, check: .size)
  } baseline: {
    base_memcpy64(bytes, places, times)
  }
  try harness.pair("guard", "checked copy of 64 B, .size, with a zero byte", units: Double(slow)) {
    try copies(zeroMap, places: places, times: slow, check: .size)
  } baseline: {
    base_memcpy64(zeroBytes, places, slow)
  }
  try harness.pair("guard", "checked copy of 64 B, .stamp", units: Double(slow)) {
    try copies(map, places: places, times: slow, check: .stamp)
  } baseline: {
    base_memcpy64(bytes, places, slow)
  }
  base_unmap(bytes, length)
  base_unmap(zeroBytes, length)
  try benchmarkFaults(harness, place)
}

/// Touches every page of a file that was cut to nothing; returns the number of pages and the time.
func faults(_ path: String, pages: Int, keepsDescriptor: Bool) throws -> (faults: Int, time: Double) {
  let size = pages * SystemPage.size
  let file = try FileDescriptor.open(FilePath(path), .readWrite, options: .create, permissions: .ownerReadWrite)
  defer { try? file.close() }
  try file.resize(to: Int64(size))
  var options = MappedFile.Options()
  options.keepsDescriptor = keepsDescriptor
  let map = try MappedFile(FilePath(path), options: options)
  try file.resize(to: 0)
  let before = FaultGuard.status.faultCount
  let from = base_now_ns()
  _ = try? map.withBytes { bytes in
    var sum: UInt64 = 0
    for page in 0..<pages { sum &+= UInt64(bytes.unsafeLoad(fromByteOffset: page * SystemPage.size, as: UInt8.self)) }
    return sum
  }
  let time = Double(base_now_ns() - from)
  return (FaultGuard.status.faultCount - before, time)
}

func benchmarkFaults(_ harness: Harness, _ place: borrowing Workplace) throws {
  let path = "\(place.path)/cut"
  let pages = 4096
  let rounds = harness.isQuick ? 3 : 31
  var single: [Double] = []
  var tail: [Double] = []
  for _ in 0..<rounds {
    let one = try faults(path, pages: pages, keepsDescriptor: false)
    guard one.faults == pages else {
      harness.failures.append("guard/faults: \(one.faults) faults for \(pages) pages")
      return
    }
    single.append(one.time / Double(pages))
    let whole = try faults(path, pages: pages, keepsDescriptor: true)
    guard whole.faults == 1 else {
      harness.failures.append("guard/faults: \(whole.faults) faults for one tail")
      return
    }
    tail.append(whole.time / Double(pages))
  }
  func row(_ name: String, _ values: [Double], _ goal: String) {
    let sorted = values.sorted()
    harness.add(
      Row(
        group: "guard", name: name, ours: median(values), baseline: 0, ratio: 0, low: sorted[sorted.count / 10],
        high: sorted[sorted.count * 9 / 10], unit: "ns/page", goal: goal))
  }
  row("a fault answered page by page (low–high are ns)", single, "<= 25000 ns")
  row("a lost tail answered at once, per page", tail, "")

  let wanted = harness.isQuick ? 8192 : 1_000_000
  var done = 0
  let from = base_now_ns()
  while done < wanted { done += try faults(path, pages: pages, keepsDescriptor: false).faults }
  let time = Double(base_now_ns() - from)
  harness.add(
    Row(
      group: "guard", name: "\(done) faults in one process, with cut and map", ours: time / 1e9, baseline: 0, ratio: 0,
      low: 0, high: 0, unit: "s", goal: ""))
}
