// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
internal import PageCache
internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

extension FileDescription {
  /// Above this size the kernel's count of resident pages takes too long, and a sample stands in.
  internal static let exactResidencyLimit: Int64 = 32 << 30
  /// The search for holes ends after so many.
  internal static let maximumHoles = 10_000
  /// For the search through all processes, nanoseconds.
  internal static let writerSearchBudget: UInt64 = 150_000_000

  internal init(_ file: borrowing ObservedFile, stat: pgw_stat, facts: FileFacts) {
    let page = SystemPage.size
    let isSynthetic = facts.hasContentWithoutSize || facts.fileSystem?.nature == .synthetic
    self.facts = facts
    self.pageSize = page
    let pages = (facts.size + Int64(page) - 1) / Int64(page)
    self.pages = pages

    var state = pgw_cache_state()
    if isSynthetic {
      (residentPages, dirtyPages, isResidencyExact) = (nil, nil, false)
    } else if facts.size == 0 {
      (residentPages, dirtyPages, isResidencyExact) = (0, 0, true)
    } else if facts.size <= Self.exactResidencyLimit,
      unsafe pgw_cachestat(file.number, 0, UInt64(facts.size), &state) == 0
    {
      residentPages = min(pages, Int64(state.cached))
      dirtyPages = Int64(state.dirty + state.writeback)
      isResidencyExact = true
    } else {
      residentPages = facts.residentFraction.map { Int64($0 * Double(pages)) }
      (dirtyPages, isResidencyExact) = (nil, false)
    }
    self.writers = isSynthetic ? .unknown : Self.writers(file, stat)
    self.holes = isSynthetic || facts.size == 0 ? nil : Self.holes(file, stat)
    var now = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    let seconds = Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
    self.modifiedSecondsAgo = isSynthetic ? nil : seconds - Double(stat.modified_ns) / 1e9
    self.hazards = []
    self.hazards = findHazards(isSynthetic: isSynthetic)
  }

  private static func writers(_ file: borrowing ObservedFile, _ stat: pgw_stat) -> Writers {
    let lease = pgw_has_no_writer(file.number)
    if lease == 1 { return .none }
    var found = pgw_writer()
    if unsafe pgw_find_writer(stat.device, stat.inode, writerSearchBudget, &found) == 1 {
      let name = unsafe withUnsafeBytes(of: found.name) { bytes in
        // A process names itself as it likes; its name must not steer a terminal.
        String(
          unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self).unicodeScalars.map {
            Character($0.isShown ? $0 : "?")
          })
      }
      return .present(process: found.process, name: name)
    }
    // The lease was refused because somebody writes, whom this user may not see.
    return lease == 0 ? .present(process: nil, name: nil) : .unknown
  }

  private static func holes(_ file: borrowing ObservedFile, _ stat: pgw_stat) -> Holes? {
    if stat.allocated >= stat.size { return Holes(count: 0, bytes: 0, isComplete: true) }
    var count = 0
    var bytes: Int64 = 0
    var at: Int64 = 0
    while at < stat.size, count < maximumHoles {
      let hole = pgw_seek_hole(file.number, at)
      if hole < 0 { return nil }
      if hole >= stat.size { return Holes(count: count, bytes: bytes, isComplete: true) }
      let data = pgw_seek_data(file.number, hole)
      // No more data: the hole reaches to the end.
      let end = data < 0 ? stat.size : data
      count += 1
      bytes += end - hole
      at = end
    }
    return Holes(count: count, bytes: bytes, isComplete: at >= stat.size)
  }

  private func findHazards(isSynthetic: Bool) -> [Hazard] {
    var found: [Hazard] = []
    let name = facts.fileSystem?.name ?? "this file system"
    switch facts.fileSystem?.nature {
    case .remote:
      found.append(
        Hazard(
          code: .network,
          sentence:
            "\(name) is a network file system: faults are slow, and pages vanish when the other side cuts the file."))
    case .relayed:
      found.append(
        Hazard(
          code: .relayed, sentence: "\(name) asks another program for each page: mapping is slow there and can fail."))
    default: break
    }
    if isSynthetic {
      found.append(
        Hazard(
          code: .synthetic, sentence: "Its content is made while it is read: it has no true size and cannot be mapped.")
      )
    }
    if case .present(let process, let program) = writers {
      let who = process.map { "process \($0)" + (program.map { " (\($0))" } ?? "") } ?? "a process of another user"
      found.append(
        Hazard(
          code: .writers,
          sentence:
            "Open for writing by \(who): it may change or shrink while it is mapped. The guard makes that an error."))
    }
    if let holes, holes.count > 0 {
      found.append(
        Hazard(
          code: .sparse,
          sentence: "It has holes: reading them is safe; on a full disk a write into one through a mapping is lost."))
    }
    if let dirtyPages, dirtyPages > 0 {
      found.append(
        Hazard(
          code: .dirty,
          sentence: dirtyPages == 1
            ? "One of its pages waits for write-back: it cannot be evicted before."
            : "\(Access.grouped(Int(clamping: dirtyPages))) of its pages wait for write-back: they cannot be evicted before."
        )
      )
    }
    if !facts.isResidencyPermitted {
      found.append(
        Hazard(code: .hidden, sentence: "The kernel hides from this user what of it is in memory; the owner may ask."))
    }
    if let room = facts.memoryRoom, facts.size > room {
      found.append(
        Hazard(code: .memory, sentence: "It is larger than the free memory: a pass over it pushes other files out."))
    }
    return found
  }
}

extension Unicode.Scalar {
  /// Neither a control nor a mark that turns or hides text.
  fileprivate var isShown: Bool {
    switch properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .unassigned, .privateUse: false
    default: true
    }
  }
}
