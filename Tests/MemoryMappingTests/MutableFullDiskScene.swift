// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import _CTestSupport
import _TestSupport

/// Stores in every way into a file whose file system has no room, and what became of each byte.
struct FullDiskScene {
  private let path: FilePath
  private let page = SystemPage.size
  /// The view begins inside a page, so that view and file have different page ends.
  private let start = 13
  /// What the file holds, as far as the stores were acknowledged.
  private var expected: [UInt8]
  private(set) var complaints: [String] = []

  /// - Parameter path: of a file that holds no byte above 251.
  init(_ path: FilePath) throws {
    self.path = path
    expected = try fileContent(path)
  }

  private mutating func require(_ condition: Bool, _ what: @autoclosure () -> String) {
    if !condition { complaints.append(what()) }
  }

  /// Plays it all; `freeUp` makes room again.
  mutating func play(freeUp: () throws -> Void) throws -> [String] {
    var map = try MutableMappedFile(path, offset: Int64(start))
    storeValues(&map)
    copyBytes(&map)
    try require(fileContent(path) == expected, "the file does not hold what was acknowledged, or more")
    require(map.fault == nil && map.lostRanges() == [], "checked stores lost a page")
    try storeInScope(&map)
    try freeUp()
    try comeBack(&map)
    try map.close()
    // From the disk.
    let file = try FileDescriptor.open(path, .readWrite)
    try file.closeAfter { _ = pgt_drop_caches(file.rawValue) }
    try require(fileContent(path) == expected, "other bytes on the disk")
    return complaints
  }

  private mutating func storeValues(_ map: inout MutableMappedFile) {
    var refused = 0
    for at in stride(from: 100, to: expected.count, by: page) {
      guard let error = failure({ try map.store(UInt8(0xFC), at: at - start) }) else {
        expected[at] = 0xFC
        continue
      }
      refused += 1
      require(
        error.code == .noSpace && error.path == path && error.offset == Int64(at) && error.operation == .write,
        "\(error)")
    }
    require(refused > 0, "the disk was not full")
  }

  private mutating func copyBytes(_ map: inout MutableMappedFile) {
    var refused = 0
    for (number, at) in stride(from: 200, to: expected.count - 2 * page, by: 3 * page).enumerated() {
      // Short ones go by vectors, long ones by a string move; each ends behind the page's end.
      let from = number % 2 == 0 ? at : (at / page + 1) * page - 1 - number % 70
      let bytes = [UInt8](repeating: 0xFD, count: number % 2 == 0 ? 2 * page : 100)
      guard let error = failure({ try map.copy(bytes, to: from - start) }) else {
        expected.replaceSubrange(from..<from + bytes.count, with: bytes)
        continue
      }
      refused += 1
      let end = Int(error.offset ?? 0)
      require(error.code == .noSpace && error.path == path, "\(error)")
      require(
        end == from || (end > from && end % page == 0), "a copy to \(from) stopped at \(end), which begins no page")
      require(error.length == Int64(from + bytes.count - end), "\(error)")
      expected.replaceSubrange(from..<end, with: bytes[..<(end - from)])
    }
    require(refused > 0, "no copy met the full disk")
  }

  /// The bytes that are stored in the scope: the ends of each page.
  private var places: [Int] {
    stride(from: 0, to: expected.count, by: page).flatMap { [$0, $0 + 500, $0 + page - 1] }.filter { $0 >= start }
  }

  private mutating func storeInScope(_ map: inout MutableMappedFile) throws {
    let (places, start) = (places, start)
    let error = failure {
      try map.withMutableBytes { (span: inout MutableRawSpan) -> Void in
        span.withUnsafeMutableBytes { for at in places { pgt_store($0.baseAddress! + (at - start), 0xFF) } }
      }
    }
    let lost = map.lostRanges()
    let found = map.fault
    guard let error, let fault = found, let first = lost.first else {
      complaints.append("no loss: \(String(describing: error))")
      return
    }
    require(error.code == .noSpace && error.path == path && error.operation == .write, "\(error)")
    require(fault.kind == .noSpace && fault.includesStore && error.offset == fault.offset, "\(fault)")
    require(lost.contains { $0.lowerBound + start == Int(fault.offset) || $0.lowerBound == 0 }, "\(error) and \(lost)")
    require(
      zip(lost, lost.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound } && first.lowerBound >= 0, "\(lost)")
    // Exactly: what was stored outside is in the file, and what was stored inside is not.
    for at in places where !lost.contains(where: { $0.contains(at - start) }) { expected[at] = 0xFF }
    let content = try fileContent(path)
    if let wrong = zip(content, expected).enumerated().first(where: { $1.0 != $1.1 }) {
      complaints.append("byte \(wrong.offset): file \(wrong.element.0), should be \(wrong.element.1); lost \(lost)")
    }
    for level in FlushLevel.allCases {
      let refusal = failure { try map.flush(level) }
      require(
        refusal?.code == .noSpace && refusal?.operation == .flush, "flush \(level): \(String(describing: refusal))")
    }
    require(failure { try map.startWriteback() }?.code == .noSpace, "startWriteback")
    require(failure { try map.reserve() }?.code == .noSpace, "reserve")
    require(failure { try map.resize(to: map.count + 1) }?.code == .noSpace, "resize")
    require(failure { try map.withMutableBytes { (_: inout MutableRawSpan) -> Void in } }?.code == .noSpace, "a scope")
    require(map.isPoisoned == false, "a lost page is no failed sync")
  }

  private mutating func comeBack(_ map: inout MutableMappedFile) throws {
    let (places, start) = (places, start)
    withWatchdog("space after a removal", seconds: 60) {
      // Some file systems give space back later.
      while true {
        if map.fault != nil { try? map.recover() }
        if map.fault == nil, failure({ for at in places { try map.store(UInt8(0xFF), at: at - start) } }) == nil {
          break
        }
        pgt_sleep_us(10_000)
      }
    }
    require(map.lostRanges() == [], "lost after recover")
    for at in places { expected[at] = 0xFF }
    try map.flush(.data)
  }
}
