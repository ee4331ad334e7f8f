// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

/// A file that is cut under a mapping, at every level of reading.
///
/// The promise of a cell, as documented:
///
/// | cut | a page of what is read is lost | `.pages` | `.size`, probe, a cursor at its end | `.stamp` |
/// |---|---|---|---|---|
/// | at a page edge, inside a page, to zero | yes | error | error | error |
/// | inside the last page that is read | no | zeros behind the cut | error | error |
/// | cut and regrown before the read | no | the file's bytes | the file's bytes | the file's bytes |
/// | cut and regrown during the read | no | the file's bytes | the file's bytes | `changed` |
///
/// The file holds no zero byte, so a made-up byte is seen.
@Suite(.serialized) struct FaultMatrixTests {
  enum Cut: String, CaseIterable { case pageEdge, insidePage, insideLastPage, toZero, reextended }
  enum Actor: String, CaseIterable { case thisProcess, anotherProcess }
  enum Size: String, CaseIterable {
    case page, threePagesAndFive, mebibyte, sparseGibibyte
    var bytes: Int {
      switch self {
      case .page: SystemPage.size
      case .threePagesAndFive: 3 * SystemPage.size + 5
      case .mebibyte: 1 << 20
      case .sparseGibibyte: 1 << 30
      }
    }
  }

  /// One played scene.
  struct Scene {
    let size: Size
    let cut: Cut
    let position: Int
    /// What is read of the view.
    let range: Range<Int>
    /// A whole page of `range` lies behind the end.
    let losesPage: Bool
    /// The end lies before the end of `range`.
    let losesBytes: Bool

    init(_ size: Size, _ cut: Cut) {
      let page = SystemPage.size
      let bytes = size.bytes
      self.size = size
      self.cut = cut
      let lastPage = (bytes - 1) / page * page
      position =
        switch cut {
        case .pageEdge: bytes / 2 / page * page
        case .insidePage, .reextended: min(bytes / 2 / page * page + 100, bytes - 1)
        case .insideLastPage: lastPage + (bytes - lastPage) / 2
        case .toZero: 0
        }
      // All of a small file; of a large one the surroundings of the cut, which reach far behind it.
      range = bytes <= 1 << 20 ? 0..<bytes : max(0, position - 3 * page)..<min(bytes, position + 20 * page)
      let end = cut == .reextended ? bytes : position
      losesBytes = end < range.upperBound
      losesPage = (end + page - 1) / page * page < range.upperBound
    }

    var windows: [Range<Int64>]? {
      size == .sparseGibibyte ? [Int64(range.lowerBound)..<Int64(range.upperBound)] : nil
    }
  }

  static let cells = Locked((cells: 0, reads: 0))

  /// Another process, one for all: to start a program for each cut takes minutes under ThreadSanitizer.
  static let cutter = Locked(pgt_fork_cutter())

  /// Cuts the file as `actor`.
  static func perform(_ scene: Scene, _ actor: Actor, _ file: borrowing PatternFile) {
    let steps = scene.cut == .reextended ? [scene.position, scene.size.bytes] : [scene.position]
    for step in steps {
      switch actor {
      case .thisProcess: check((try? file.resize(Int64(step))) != nil, "cannot cut")
      case .anotherProcess:
        let reason = cutter.withLock { pgt_cut($0, file.path.string, Int64(step)) }
        check(reason == 0, "the other process cannot cut: \(reason)")
      }
    }
  }

  /// Compares what a level gave with what it promises.
  static func judge(
    _ result: Result<[UInt8], MappingError>, _ level: ReadingLevel, _ scene: Scene, during: Bool, file path: FilePath
  ) {
    let range = Int64(scene.range.lowerBound)..<Int64(scene.range.upperBound)
    switch result {
    case .failure(let error):
      if scene.cut == .reextended {
        check(during && level.check == .stamp && error.code == .changed, "unpromised error: \(error)")
      } else {
        let sees = scene.losesPage || (scene.losesBytes && level.check != .pages)
        check(sees, "unpromised error: \(error)")
        check(error.code == .truncated || error.code == .changed, "wrong code: \(error)")
        check(error.path == path || error.code == .changed, "the error does not name the file: \(error)")
      }
    case .success(let bytes):
      if scene.cut == .reextended {
        check(!(during && level.check == .stamp), "a cut and regrow went unseen")
      } else {
        check(!scene.losesPage, "a lost page went unseen")
        check(!scene.losesBytes || level.check == .pages, "a cut inside a page went unseen")
      }
      var truth = (try? PatternFile.read(path, range)) ?? []
      // The one documented exception: zeros behind a cut inside a page that stays mapped.
      truth += [UInt8](repeating: 0, count: range.count - truth.count)
      check(bytes == truth, "invented bytes")
    }
  }

  @Test(arguments: Actor.allCases, [1, 8])
  func `a cut before the read`(actor: Actor, threads: Int) throws {
    let folder = try TemporaryDirectory()
    withWatchdog("a cut before the read", seconds: 120) {
      withEvery("size", in: Size.allCases) { size in
        withEvery("cut", in: Cut.allCases) { cut in
          withEvery("level", in: ReadingLevel.allCases) { level in
            let scene = Scene(size, cut)
            if !Self.isPlayable(level, scene) { return }
            let file = try PatternFile(folder.appending("file"), size: Int64(size.bytes), windows: scene.windows)
            let map = try MappedFile(file.path)
            // Mapped pages and pages that were never touched must behave alike: touch every second one.
            try map.touchEverySecondPage(scene.range)
            Self.perform(scene, actor, file)
            let results = Results()
            Self.run(threads, map, level, scene.range, results)
            for result in results.all {
              Self.judge(result, level, scene, during: false, file: file.path)
            }
            if scene.losesPage, !level.isCopy, level != .probe {
              check(map.fault?.kind == .truncated, "the fault's kind is \(String(describing: map.fault?.kind))")
              // The whole tail at once. Threads may meet the cut together.
              check((1...threads).contains(map.fault?.count ?? 0), "\(map.fault?.count ?? 0) faults")
            }
            Self.cells.withLock {
              $0.cells += 1
              $0.reads += threads
            }
          }
        }
      }
    }
    Self.cells.withLock { print("fault matrix so far: \($0.cells) cells, \($0.reads) reads, 0 deaths") }
  }

  @Test(arguments: Actor.allCases)
  func `a cut during a scope`(actor: Actor) throws {
    let folder = try TemporaryDirectory()
    withWatchdog("a cut during a scope", seconds: 120) {
      withEvery("size", in: Size.allCases) { size in
        withEvery("cut", in: Cut.allCases) { cut in
          withEvery("level", in: ReadingLevel.allCases.filter { !$0.isCopy }) { level in
            let scene = Scene(size, cut)
            if !Self.isPlayable(level, scene) { return }
            let file = try PatternFile(folder.appending("file"), size: Int64(size.bytes), windows: scene.windows)
            let map = try MappedFile(file.path)
            try map.touchEverySecondPage(scene.range)
            let result: Result<[UInt8], MappingError>
            do throws(MappingError) {
              result = .success(
                try map.read(scene.range, at: level, meanwhile: { Self.perform(scene, actor, file) }))
            } catch {
              result = .failure(error)
            }
            Self.judge(result, level, scene, during: true, file: file.path)
            Self.cells.withLock {
              $0.cells += 1
              $0.reads += 1
            }
          }
        }
      }
    }
  }

  /// Cursors walk the whole file: not over a gibibyte of holes.
  static func isPlayable(_ level: ReadingLevel, _ scene: Scene) -> Bool {
    guard scene.size == .sparseGibibyte else { return level != .records || scene.size != .mebibyte }
    return ![.lines, .chunks, .records, .search].contains(level)
  }

  /// Reads the range on every thread, each as often as the others.
  static func run(
    _ threads: Int, _ map: borrowing MappedFile, _ level: ReadingLevel, _ range: Range<Int>, _ results: Results
  ) {
    if threads == 1 { return results.add { () throws(MappingError) in try map.read(range, at: level) } }
    onThreads(threads) { _ in results.add { () throws(MappingError) in try map.read(range, at: level) } }
  }
}

/// What several threads got.
final class Results: Sendable {
  private let list = Locked([Result<[UInt8], MappingError>]())

  var all: [Result<[UInt8], MappingError>] { list.withLock { $0 } }

  func add(_ body: () throws(MappingError) -> [UInt8]) {
    let result: Result<[UInt8], MappingError>
    do throws(MappingError) { result = .success(try body()) } catch { result = .failure(error) }
    list.withLock { $0.append(result) }
  }
}

extension MappedFile {
  /// Maps every second page of `range` into this process.
  borrowing func touchEverySecondPage(_ range: Range<Int>) throws {
    try withBytes(range) { (span: RawSpan) -> Void in
      var at = 0
      while at < span.byteCount {
        _ = span.withUnsafeBytes { pgt_touch($0.baseAddress! + at) }
        at += 2 * SystemPage.size
      }
    }
  }
}
