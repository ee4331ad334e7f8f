// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping
internal import SystemPackage

/// A hazard before it is known whose it is: the rules, and the sentences.
internal struct Finding {
  let kind: Hazard.Kind
  let severity: Hazard.Severity
  var file: FilePath? = nil
  var addresses: [Range<UInt64>] = []
  var amount: Int64? = nil
  var limit: Int64? = nil
  let what: String
  let consequence: String
  let remedy: String

  func hazard(_ process: ProcessIdentity) -> Hazard {
    Hazard(
      kind: kind, severity: severity, process: process, file: file, addresses: addresses, amount: amount, limit: limit,
      what: what, consequence: consequence, remedy: remedy)
  }

  /// All about the mappings of one file in one process.
  static func all(_ state: MappedFileState, _ group: [ProcessMapping], in folder: ProcessFolder) -> [Finding] {
    guard state.isRegular, let first = group.first else { return [] }
    var found: [Finding] = []
    found += pastEnd(size: state.size, capacity: first.isMemoryFile ? nil : state.capacity, group)
    guard !first.isMemoryFile else { return found }
    switch state.naming {
    case .deleted: found.append(deleted(links: state.links, group))
    case .replaced: found.append(replaced(group))
    case .present, .unknown: break
    }
    if let finding = sparse(state, group, in: folder) { found.append(finding) }
    if let kind = state.fileSystem, kind.nature == .remote || kind.nature == .relayed {
      found.append(remote(kind, group))
    }
    return found
  }

  /// The part of a mapping whose every page lies wholly past the end of a file of `size` bytes; nil when there is none.
  static func partPastEnd(size: Int64, _ mapping: ProcessMapping) -> Range<UInt64>? {
    let page = UInt64(SystemPage.size)
    // A file that cannot end in an address has its end past every mapping.
    let (sum, overflow) = UInt64(max(0, size)).addingReportingOverflow(page - 1)
    guard !overflow else { return nil }
    let end = sum / page * page
    guard end > mapping.offset else { return mapping.addresses }
    let shown = end - mapping.offset
    guard shown < mapping.length else { return nil }
    return mapping.addresses.lowerBound + shown..<mapping.addresses.upperBound
  }

  static func pastEnd(size: Int64, capacity: Int64?, _ group: [ProcessMapping]) -> [Finding] {
    var cut: [Range<UInt64>] = []
    var room: [Range<UInt64>] = []
    for mapping in group where !mapping.permissions.isEmpty {
      guard let part = partPastEnd(size: size, mapping) else { continue }
      if isGrowthRoom(size: size, capacity: capacity, mapping, part) { room.append(part) } else { cut.append(part) }
    }
    var found: [Finding] = []
    if !cut.isEmpty {
      let bytes = sum(cut)
      found.append(
        Finding(
          kind: .pastEnd, severity: .danger, file: group.first?.path, addresses: cut, amount: Int64(clamping: bytes),
          what: "\(bytes) mapped bytes lie past the end of the file, which has \(size)",
          consequence: "Touching one of them is a SIGBUS, which kills a process that has no handler for it.",
          remedy: "Let writers replace files by rename instead of cutting them, and map no more than the file has."))
    }
    if !room.isEmpty {
      let bytes = sum(room)
      found.append(
        Finding(
          kind: .growthRoom, severity: .notice, file: group.first?.path, addresses: room,
          amount: Int64(clamping: bytes),
          what:
            "\(bytes) mapped bytes lie past the end of the file, which has \(size): it looks like room to grow into",
          consequence: "Touching one of them before the file has grown is a SIGBUS.",
          remedy:
            "If the program does not keep such room on purpose, its file was cut: let writers replace files by rename.")
      )
    }
    return found
  }

  private static func sum(_ parts: [Range<UInt64>]) -> UInt64 {
    parts.reduce(0) { $0.addingReportingOverflow($1.upperBound - $1.lowerBound).partialValue }
  }

  /// See ``Hazard/Kind/growthRoom``.
  static func isGrowthRoom(
    size: Int64, capacity: Int64?, _ mapping: ProcessMapping, _ part: Range<UInt64>
  ) -> Bool {
    let (end, overflow) = mapping.offset.addingReportingOverflow(mapping.length)
    guard !overflow else { return false }
    if let capacity, capacity > 0, end > UInt64(capacity) { return true }
    let past = part.upperBound - part.lowerBound
    return past >= 256 << 20 && end & ((1 << 20) - 1) == 0 && past / 8 >= UInt64(max(0, size))
  }

  static func deleted(links: UInt32, _ group: [ProcessMapping]) -> Finding {
    let other = links > 0 ? "; it has another name elsewhere" : ""
    return Finding(
      kind: .deleted, severity: .notice, file: group.first?.path, addresses: group.map(\.addresses),
      what: "the mapped file was deleted from its folder\(other)",
      consequence: links > 0
        ? "The process goes on with a file that is no longer found by this name."
        : "Its space stays in use until the last process lets go of it, and what is stored into it is gone with that.",
      remedy:
        "If it was not meant as a temporary file, copy it from /proc/PID/map_files while the process runs; restart the process "
        + "to give the space back.")
  }

  /// Deleted or replaced: which of them cannot be seen.
  static func nameless(_ group: [ProcessMapping], in folder: ProcessFolder) -> Finding {
    guard let first = group.first, let path = first.path,
      MappedFileState(at: MappedFileState.place(path, in: folder)) != nil
    else { return deleted(links: 0, group) }
    return replaced(group)
  }

  static func replaced(_ group: [ProcessMapping]) -> Finding {
    let isCode = group.contains { $0.permissions.contains(.execute) }
    return Finding(
      kind: .replaced, severity: .warning, file: group.first?.path, addresses: group.map(\.addresses),
      what: "another file has taken the name of the mapped one",
      consequence: isCode
        ? "The process runs the old code, with its faults, until it is restarted."
        : "The process sees the old content, and what it stores goes into a file that no one can open any more.",
      remedy: isCode ? "Restart the process." : "Let the process open the file again: restart it, or tell it to reload."
    )
  }

  static func sparse(_ state: MappedFileState, _ group: [ProcessMapping], in folder: ProcessFolder) -> Finding? {
    let writable = group.filter { $0.isShared == true && $0.permissions.contains(.write) }
    guard !writable.isEmpty, state.allocated < state.size else { return nil }
    var missing: Int64 = 0
    for mapping in writable {
      let lower = Int64(clamping: mapping.offset)
      let upper = Int64(clamping: mapping.offset.addingReportingOverflow(mapping.length).partialValue)
      guard lower < upper, let bytes = state.unbacked(lower..<upper, mapping, in: folder) else { continue }
      // Two mappings of one part need the space once.
      missing = max(missing, bytes)
    }
    guard missing > 0 else { return nil }
    return sparse(missing: missing, free: state.free, writable)
  }

  static func sparse(missing: Int64, free: Int64?, _ group: [ProcessMapping]) -> Finding {
    let severity: Hazard.Severity
    let room: String
    if let free {
      severity = free < missing ? .danger : missing > free / 2 ? .warning : .notice
      room = ", and its file system has \(free) left"
    } else {
      severity = .warning
      room = ""
    }
    return Finding(
      kind: .sparse, severity: severity, file: group.first?.path, addresses: group.map(\.addresses), amount: missing,
      limit: free, what: "\(missing) bytes that are mapped for writing have no storage yet\(room)",
      consequence: "A store to one of them needs space; on a full file system it is a SIGBUS.",
      remedy: "Allocate the file before it is mapped (fallocate; reserve of MutableMappedFile), and keep space free.")
  }

  static func remote(_ kind: FileSystemKind, _ group: [ProcessMapping]) -> Finding {
    let writes = group.contains { $0.isShared == true && $0.permissions.contains(.write) }
    let place = kind.nature == .remote ? "on another machine" : "behind a program that answers each request"
    return Finding(
      kind: .remote, severity: writes ? .warning : .notice, file: group.first?.path, addresses: group.map(\.addresses),
      what: "the file lies \(place) (\(kind.name))",
      consequence:
        "An access waits for the other side, without an end if that is gone; when it cuts the file, or fails, the access is "
        + "a SIGBUS\(writes ? ", and stores of two machines are not seen by each other" : "").",
      remedy: "Read the file instead of mapping it, or map a local copy.")
  }

  /// Near is 80 of 100, and 95 is one step away.
  static func mappingLimit(_ count: Int, _ limit: Int64?) -> Finding? {
    guard let limit, limit > 0, let share = percent(Int64(count), limit), share >= 80 else { return nil }
    return Finding(
      kind: .mappingLimit, severity: share >= 95 ? .danger : .warning, amount: Int64(count), limit: limit,
      what: "it has \(count) mappings of the \(limit) that vm.max_map_count allows",
      consequence:
        "At the limit mmap, mprotect and munmap fail with ENOMEM, and with them memory allocation and new threads.",
      remedy:
        "Map fewer and larger ranges, or raise it: sysctl vm.max_map_count=\(limit.multipliedReportingOverflow(by: 2).partialValue)."
    )
  }

  static func lockLimit(_ locked: Int64, limits: String) -> Finding? {
    guard let limit = softLimit("Max locked memory", limits), locked > 0 else { return nil }
    let page = Int64(SystemPage.size)
    let isReached = locked.addingClamped(page) > limit
    guard isReached || (percent(locked, limit) ?? 100) >= 80 else { return nil }
    return Finding(
      kind: .lockLimit, severity: .warning, amount: locked, limit: limit,
      what: "it has locked \(locked) of the \(limit) bytes that RLIMIT_MEMLOCK allows",
      consequence: isReached
        ? "Every further mlock fails, and with mlockall(MCL_FUTURE) every mmap."
        : "A further mlock can fail, and with mlockall(MCL_FUTURE) every mmap.",
      remedy: "Raise the limit (ulimit -l, LimitMEMLOCK of systemd), or lock less.")
  }

  private static func percent(_ part: Int64, _ whole: Int64) -> Int64? {
    guard whole > 0, part >= 0 else { return nil }
    let (product, overflow) = part.multipliedReportingOverflow(by: 100)
    return overflow ? part / max(1, whole / 100) : product / whole
  }

  /// The first number of a line of /proc/PID/limits; nil for `unlimited`.
  static func softLimit(_ name: String, _ limits: String) -> Int64? {
    for line in limits.split(separator: "\n") where line.hasPrefix(name) {
      return line.dropFirst(name.count).split(separator: " ").first.flatMap { Int64($0) }
    }
    return nil
  }

  /// From the line `CapEff:\t000001ffffffffff`.
  static func hasCapability(_ number: Int, status: String) -> Bool {
    for line in status.split(separator: "\n") where line.hasPrefix("CapEff:") {
      let bits = UInt64(line.dropFirst(7).drop { $0 == "\t" || $0 == " " }, radix: 16) ?? 0
      return bits >> UInt64(number) & 1 == 1
    }
    return false
  }
}
