// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _TestSupport

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

@Suite struct WindowedFileTests {
  static let page = SystemPage.size

  static func part(_ file: borrowing WindowedFile, _ offset: Int64, _ count: Int) throws -> [UInt8] {
    try file.withWindow(containing: offset, minimum: count) { window, at in
      #expect(window.byteCount - at >= count)
      return unsafe window.extracting(at..<at + count).withUnsafeBytes { unsafe Array($0) }
    }
  }

  @Test func `any range up to half a window lies in one, any longer one gets its own`() throws {
    let folder = try TemporaryDirectory()
    let size = Int64(40 * Self.page + 123)
    let path = try folder.file("f", PatternFile.bytes(0..<size))
    let window = 8 * Self.page
    let file = try WindowedFile(path, windowSize: window, budget: 4 * window)
    #expect(file.count == size && file.windowSize == window)
    for offset in stride(from: 0, to: size, by: 997) {
      for length in [1, 100, window / 2, window / 2 + 1, window, 2 * window + 5] where offset + Int64(length) <= size {
        #expect(
          try Self.part(file, offset, length) == PatternFile.bytes(offset..<offset + Int64(length)),
          "\(offset) \(length)")
        #expect(file.statistics.mappedBytes <= file.budget)
      }
    }
    let all = file.statistics
    #expect(all.temporary > 0 && all.hits > 0 && all.reads == 0 && all.peakBytes <= file.budget)
    file.dropIdleWindows()
    #expect(file.statistics.mappedBytes == 0)
    // Half a window or less never needs a window of its own.
    let before = file.statistics.temporary
    for offset in stride(from: 0, to: size - Int64(window / 2), by: 1009) {
      _ = try Self.part(file, offset, window / 2)
    }
    #expect(file.statistics.temporary == before)
  }

  @Test func `the window that was idle longest goes first`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<Int64(64 * Self.page)))
    let window = 4 * Self.page
    let file = try WindowedFile(path, windowSize: window, budget: 3 * window)
    func touch(_ index: Int) throws { _ = try Self.part(file, Int64(index * window), 1) }
    for index in [0, 1, 2, 0] { try touch(index) }
    #expect(file.statistics.maps == 3 && file.statistics.hits == 1 && file.statistics.unmaps == 0)
    try touch(3)
    #expect(file.statistics.unmaps == 1)
    try touch(0)
    try touch(2)
    #expect(file.statistics.hits == 3, "0 and 2 stayed")
    try touch(1)
    #expect(file.statistics.maps == 5, "1 had gone")
  }

  @Test func `bounds outside the file and above the budget are errors`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<Int64(20 * Self.page)))
    let file = try WindowedFile(path, windowSize: 2 * Self.page, budget: 4 * Self.page)
    for (offset, count) in [
      (-1, 1), (0, -1), (Int64(20 * Self.page), 1), (.max, 1), (.max, .max), (5, .max), (0, .min),
    ] as [(Int64, Int)] {
      let error = #expect(throws: MappingError.self) {
        try file.withWindow(containing: offset, minimum: count) { _, _ in }
      }
      #expect(error?.code == .invalidRange, "\(offset) \(count)")
    }
    let error = #expect(throws: MappingError.self) {
      try file.withWindow(containing: 0, minimum: 5 * Self.page) { _, _ in }
    }
    #expect(error?.code == .limitExceeded)
    #expect(try file.withWindow(containing: Int64(20 * Self.page), minimum: 0) { window, _ in window.byteCount } == 0)
    #expect(throws: MappingError.self) { _ = try WindowedFile(path, budget: 1) }
    #expect(throws: MappingError.self) { _ = try WindowedFile(folder.path) }
    #expect(try WindowedFile(path, windowSize: .max, budget: 4 * Self.page).windowSize == 4 * Self.page)
    #expect(try WindowedFile(path, windowSize: -5).windowSize == 2 * Self.page)
    let empty = try WindowedFile(try folder.file("empty"))
    try empty.forEachWindow { _, _ in Issue.record("an empty file has no windows") }
  }

  @Test func `windows in use are not taken away, and who finds no room reads`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<Int64(64 * Self.page)))
    let window = 4 * Self.page
    let file = try WindowedFile(path, windowSize: window, budget: 2 * window)
    try file.withWindow(containing: 0) { first, _ in
      try file.withWindow(containing: Int64(4 * window)) { second, _ in
        let part = try Self.part(file, Int64(8 * window), 300)
        #expect(part == PatternFile.bytes(Int64(8 * window)..<Int64(8 * window) + 300))
        #expect(file.statistics.reads == 1 && file.statistics.unmaps == 0)
        #expect(second.byteCount == window)
      }
      #expect(first.byteCount == window)
    }
    _ = try Self.part(file, Int64(8 * window), 300)
    #expect(file.statistics.reads == 1, "mapped again once there is room")
  }

  @Test func `a pass sees every byte once and in order`() throws {
    let folder = try TemporaryDirectory()
    let size = Int64(33 * Self.page + 5)
    let path = try folder.file("f", PatternFile.bytes(0..<size))
    let file = try WindowedFile(path, windowSize: 4 * Self.page, budget: 8 * Self.page)
    var all: [UInt8] = []
    try file.forEachWindow { window, offset in
      #expect(offset == Int64(all.count))
      unsafe window.withUnsafeBytes { unsafe all.append(contentsOf: $0) }
    }
    #expect(all == PatternFile.bytes(0..<size))
    #expect(file.statistics.peakBytes <= 8 * Self.page)
  }

  @Test func `a cut file is an error, and its rest can still be read`() throws {
    let folder = try TemporaryDirectory()
    let size = Int64(64 * Self.page)
    let pattern = try PatternFile(folder.appending("f"), size: size)
    let file = try WindowedFile(pattern.path, windowSize: 4 * Self.page, budget: 16 * Self.page)
    let far = size - Int64(Self.page)
    _ = try Self.part(file, far, 10)
    try pattern.resize(Int64(32 * Self.page))
    let error = #expect(throws: MappingError.self) { try Self.part(file, far, 10) }
    #expect(error?.code == .truncated)
    let second = #expect(throws: MappingError.self) { try Self.part(file, far, 10) }
    #expect(second?.code == .truncated)
    #expect(try Self.part(file, 100, 10) == PatternFile.bytes(100..<110))
    try pattern.fill(size: size)
    #expect(try Self.part(file, far, 10) == PatternFile.bytes(far..<far + 10))
  }

  @Test func `many threads share the windows under the budget`() throws {
    final class Shared: Sendable {
      let file: WindowedFile
      init(_ file: consuming WindowedFile) { self.file = file }
    }
    let folder = try TemporaryDirectory()
    let size = Int64(256 * Self.page)
    let path = try folder.file("f", PatternFile.bytes(0..<size))
    let shared = Shared(try WindowedFile(path, windowSize: 4 * Self.page, budget: 24 * Self.page))
    withWatchdog("eight threads over windows", seconds: 120) {
      onThreads(8) { index in
        for _ in 0..<500 {
          let count = Int.random(in: 1...3 * Self.page)
          let offset = Int64.random(in: 0...size - Int64(count))
          do {
            let found = try Self.part(shared.file, offset, count)
            if found != PatternFile.bytes(offset..<offset + Int64(count)) {
              Issue.record("thread \(index) at \(offset)")
            }
          } catch { Issue.record(error) }
        }
      }
    }
    #expect(shared.file.statistics.peakBytes <= shared.file.budget)
    shared.file.dropIdleWindows()
    #expect(shared.file.statistics.mappedBytes == 0, "no window is left in use")
  }

  /// How a 32-bit program lives: a file a thousand times larger than the address space that is left.
  @Test func `a file far larger than the address space is read through it`() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      let size: Int64 = 64 << 30
      let places = stride(from: Int64(0), to: size, by: 3 << 30).map { $0..<$0 + 4096 }
      let pattern = try PatternFile(folder.appending("huge"), size: size, windows: places)
      try AddressLimit.set(leaving: 64 << 20)
      #expect(throws: MappingError.self) { _ = try MappedFile(pattern.path) }

      let usual = try WindowedFile(pattern.path)
      #expect(usual.budget <= 32 << 20)
      // A budget above what the kernel gives: it drops idle windows and goes on.
      let greedy = try WindowedFile(pattern.path, windowSize: 8 << 20, budget: 1 << 30)
      // A window that never fits: it reads.
      let hopeless = try WindowedFile(pattern.path, windowSize: 256 << 20, budget: 1 << 30)
      for place in places + places.reversed() {
        let expected = PatternFile.bytes(place)
        #expect(try WindowedFileTests.part(usual, place.lowerBound, 4096) == expected)
        #expect(try WindowedFileTests.part(greedy, place.lowerBound, 4096) == expected)
        usual.dropIdleWindows()
        #expect(try WindowedFileTests.part(hopeless, place.lowerBound, 4096) == expected)
      }
      #expect(usual.statistics.reads == 0)
      #expect(greedy.statistics.unmaps > 0 && greedy.statistics.maps > greedy.statistics.unmaps)
      #expect(greedy.statistics.mappedBytes < 64 << 20)
      #expect(hopeless.statistics.maps == 0 && hopeless.statistics.reads == 2 * places.count)
    }
  }
}
