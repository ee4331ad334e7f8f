// SPDX-License-Identifier: Apache-2.0

import CBaselines
import MemoryMapping
import SystemPackage

#if canImport(Glibc)
  @preconcurrency import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// One call of ours and the one of C that does the same.
private enum FlushCall: CaseIterable {
  case queued, startWriteback, data, dataRange, device, barrier

  var name: String {
    switch self {
    case .queued: "flush(.queued) | sync_file_range"
    case .startWriteback: "startWriteback | sync_file_range"
    case .data: "flush(.data) | fdatasync"
    case .dataRange: "flush(.data, range) | msync"
    case .device: "flush(.device) | fsync"
    case .barrier: "flush(.barrier) | fdatasync"
    }
  }

  var way: base_flush_way {
    switch self {
    case .queued, .startWriteback: BASE_FLUSH_QUEUE
    case .data, .barrier: BASE_FLUSH_FDATASYNC
    case .dataRange: BASE_FLUSH_MSYNC
    case .device: BASE_FLUSH_FSYNC
    }
  }

  func run(_ file: borrowing MutableMappedFile) throws {
    switch self {
    case .queued: try file.flush(.queued)
    case .startWriteback: try file.startWriteback()
    case .data: try file.flush(.data)
    case .dataRange: try file.flush(.data, 0..<file.count)
    case .device: try file.flush(.device)
    case .barrier: try file.flush(.barrier)
    }
  }
}

private func microseconds(_ body: () throws -> Void) rethrows -> Double {
  let start = base_now_ns()
  try body()
  return Double(base_now_ns() - start) / 1000
}

/// Every level of `flush`, over a file in which some pages were stored to, beside the call of C. Only the flush is timed.
func benchmarkFlush(_ harness: Harness, _ place: borrowing StoragePlace) throws {
  let size = harness.isQuick ? 1 << 20 : 64 << 20
  harness.note("flush: a file of \(size >> 20) MiB, its page cache filled by one write; stores are not timed")
  harness.note("flush: times are from \(place.place)")
  let paths = ["\(place.folder)/flush-ours", "\(place.folder)/flush-plain"]
  defer { for path in paths { unlink(path) } }
  for path in paths where base_fill(path, size) != 0 { throw CallFailed(path: path) }
  var file = try MutableMappedFile(FilePath(paths[0]))
  guard let plain = base_committer_open(paths[1], Int32(BASE_COMMIT_MSYNC.rawValue)) else {
    throw CallFailed(path: paths[1])
  }
  var seed = 0
  for pages in [1, 100] {
    let cell = CommitCell(size: size, pages: pages, isWhole: false)
    for call in FlushCall.allCases {
      var ours: [Double] = []
      var theirs: [Double] = []
      var isThere = true
      for round in 0...(harness.isQuick ? 2 : 21) {
        seed += 1
        try cell.changes(round: seed) { changes in
          try file.withMutableBytes { bytes in bytes.withUnsafeMutableBytes { base_store($0.baseAddress, changes) } }
          _ = base_committer_store(plain, changes)
          for turn in 0..<2 {
            if (turn + round) % 2 == 0 {
              let took = try microseconds { try call.run(file) }
              if round > 0 { ours.append(took) }
            } else {
              let took = Double(base_flush(plain, Int32(call.way.rawValue))) / 1000
              if took == 0 { isThere = false }
              if round > 0 { theirs.append(took) }
            }
            // What was only begun would be in the way of the other side: done, and the pages made dirty again.
            if call.way == BASE_FLUSH_QUEUE {
              try file.flush(.data)
              _ = base_flush(plain, Int32(BASE_FLUSH_FDATASYNC.rawValue))
              _ = base_committer_store(plain, changes)
              try file.withMutableBytes { bytes in bytes.withUnsafeMutableBytes { base_store($0.baseAddress, changes) }
              }
            }
          }
        }
      }
      if isThere { harness.add("flush", "\(pages) dirty: \(call.name)", ours: ours, baseline: theirs, unit: "us") }
    }
  }
  base_committer_close(plain)
  try file.close()
  let digests = paths.map { base_digest($0) }
  if digests[0] != digests[1] { harness.failures.append("flush: the two files differ") }
}
