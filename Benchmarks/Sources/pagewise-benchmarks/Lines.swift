// SPDX-License-Identifier: Apache-2.0

import CBaselines
import MemoryMapping
import SystemPackage

#if canImport(Glibc)
  @preconcurrency import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

@inline(never) func cursorLines(_ path: FilePath) throws -> UInt64 {
  let map = try MappedFile(path)
  var lines = map.lines()
  var sum: UInt64 = 0
  while let line = try lines.next() { sum &+= 1 &+ UInt64(line.byteCount) }
  return sum
}

@inline(never) func countLines(_ path: FilePath) throws -> UInt64 {
  let map = try MappedFile(path)
  return UInt64(try map.count(of: UInt8(ascii: "\n")))
}

/// Lines of text: our cursor beside getline(3), our count beside the programs that count.
func benchmarkLines(_ harness: Harness, _ place: borrowing Workplace) throws {
  let size = harness.isQuick ? 4 << 20 : 1 << 30
  var random = Xorshift(state: 42)
  var toNext = 40
  // Lines of 1 to 120 bytes, 60 on average.
  let path = try place.file("text", size: size) { _ in
    toNext -= 1
    if toNext > 0 { return UInt8(0x61 + random.next() % 26) }
    toNext = Int(random.next() % 120) + 1
    return 0x0A
  }
  let ours = FilePath(path)
  let mib = Double(size) / 1_048_576
  let rounds = harness.isQuick ? 2 : 7
  try harness.pair("lines", "LineCursor against getline(3)", units: mib, unit: "ns/MiB", rounds: rounds) {
    try cursorLines(ours)
  } baseline: {
    base_getline(path)
  }

  func process(_ arguments: [String]) -> UInt64 {
    var list = arguments.map { strdup($0) } + [nil]
    defer { for string in list { free(string) } }
    return base_run(&list)
  }
  for program in [["wc", "-l", path], ["grep", "-c", "", path]] {
    harness.pair(
      "lines", "count(of:) against \(program[0]) \(program[1])", units: mib, unit: "ns/MiB", rounds: rounds,
      sameWork: false
    ) {
      (try? countLines(ours)) ?? 0
    } baseline: {
      process(program)
    }
  }
  var length = 0
  guard let bytes = base_map(path, &length) else { return }
  defer { base_unmap(bytes, length) }
  let map = try MappedFile(ours)
  for needle in ["ABSENT", "zqzqzqzqzqzqzqzqzqzqz"] {
    let data = Array(needle.utf8)
    try harness.pair("lines", "find(\"\(needle)\") against memmem", units: mib, unit: "ns/MiB", rounds: rounds) {
      try map.find(data).map(UInt64.init) ?? UInt64.max
    } baseline: {
      base_memmem(bytes, length, data, data.count)
    }
  }
  try harness.pair("lines", "find(one absent byte) against memchr", units: mib, unit: "ns/MiB", rounds: rounds) {
    try map.find(UInt8(ascii: "~")).map(UInt64.init) ?? UInt64.max
  } baseline: {
    base_memchr(bytes, length, Int32(UInt8(ascii: "~")))
  }
}
