// SPDX-License-Identifier: Apache-2.0

import CBaselines
import PageCache
import SystemPackage

#if canImport(Glibc)
  @preconcurrency import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// One pass over a large file, from the device and from memory, beside a loop of `pread` and the programs that copy files.
func benchmarkStream(_ harness: Harness, _ place: borrowing StoragePlace, size wanted: Int) throws {
  let size = harness.isQuick ? 32 << 20 : wanted
  let path = "\(place.folder)/stream"
  try makeStreamFile(path, size: size)
  defer { unlink(path) }
  let gib = Double(size) / Double(1 << 30)
  harness.note("stream: a file of \(number(gib)) GiB, \(place.notes.first ?? "")")

  func ours(_ method: StreamedFile.Method, whole: Bool) throws -> UInt64 {
    var sum: UInt64 = 0
    let report = try StreamedFile(FilePath(path), method: method).forEachChunk { chunk, _ in
      sum &+= chunk.withUnsafeBytes { base_consume($0.baseAddress, $0.count, whole ? 1 : 0) }
      return .continue
    }
    if harness.isDetailed { harness.note("  \(describe(report))") }
    return sum
  }
  func run(_ arguments: [String]) -> UInt64 {
    var list = arguments.map { strdup($0) } + [nil]
    defer { for string in list { free(string) } }
    return base_run(&list)
  }

  /// Pairs in turn; before each side the file is out of memory, or all in it.
  func pair(
    _ name: String, isCold: Bool, goal: String = "", sameWork: Bool = true, ours: () throws -> UInt64,
    baseline: () throws -> UInt64
  ) throws {
    let rounds = harness.isQuick ? 2 : isCold ? 5 : 7
    var times: (ours: [Double], baseline: [Double]) = ([], [])
    for round in 0..<rounds {
      var work: [UInt64] = []
      for side in round % 2 == 0 ? [0, 1] : [1, 0] {
        if isCold { base_evict(path) } else { _ = base_pread_pass(path, 1 << 20, 0) }
        let result = side == 0 ? try timed(ours) : try timed(baseline)
        work.append(result.work)
        if side == 0 {
          times.ours.append(result.time / 1e6 / gib)
        } else {
          times.baseline.append(result.time / 1e6 / gib)
        }
      }
      if sameWork, work[0] != work[1] {
        harness.failures.append("stream/\(name): \(work[0]) and \(work[1])")
        return
      }
    }
    harness.add("stream", name, ours: times.ours, baseline: times.baseline, unit: "ms/GiB", goal: goal)
  }

  for isCold in [true, false] {
    let state = isCold ? "cold" : "cached"
    for whole in [false, true] {
      let work = whole ? "all bytes summed" : "a byte a page"
      try pair("\(state), measured, \(work) | pread 1 MiB", isCold: isCold, goal: "1.1") {
        try ours(.measured, whole: whole)
      } baseline: {
        base_pread_pass(path, 1 << 20, whole ? 1 : 0)
      }
    }
    for method in [StreamedFile.Method.map, .read, .dontCache, .direct]
    where isCold || method == .map || method == .read {
      try pair("\(state), \(method), a byte a page | pread 1 MiB", isCold: isCold) {
        try ours(method, whole: false)
      } baseline: {
        base_pread_pass(path, 1 << 20, 0)
      }
    }
    for program in [["dd", "bs=1M", "status=none", "of=/dev/null", "if=\(path)"], ["cat", path]] {
      try pair("\(state), measured, a byte a page | \(program[0])", isCold: isCold, sameWork: false) {
        try ours(.measured, whole: false)
      } baseline: {
        run(program)
      }
    }
  }
}

private func describe(_ report: StreamReport) -> String {
  let rates = report.methods.map { figures in
    "\(figures.method)\(figures.isCached ? " in memory" : "") \(number((figures.rate ?? 0) / 1e6)) MB/s x \(figures.windows)"
  }
  return "\(report.method): " + rates.joined(separator: ", ")
}

private func makeStreamFile(_ path: String, size: Int) throws {
  let file = try FileDescriptor.open(
    FilePath(path), .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
  defer { try? file.close() }
  var random = Xorshift(state: 77)
  let piece = (0..<(1 << 17)).map { _ in random.next() }
  var done = 0
  while done < size {
    done += try piece.withUnsafeBytes {
      try file.writeAll(UnsafeRawBufferPointer(rebasing: $0[..<min($0.count, size - done)]))
    }
  }
  guard fsync(file.rawValue) == 0 else { throw Errno(rawValue: errno) }
}
