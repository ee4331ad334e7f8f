// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// One state that a power cut could have left.
public struct CrashState {
  /// The folder: names and contents.
  public let files: [String: [UInt8]]
  /// The marks before the cut.
  public let marks: [Int]
  /// For messages: when the cut came, and what of the unsynced writes is there.
  public let description: String
}

extension CrashLog {
  /// Calls `body` with states of every point in time: nothing unsynced is there, all of it, all but one write, one write alone, and
  /// `random` states where each write is there, not there, or torn. Returns how many there were.
  @discardableResult
  public func forEachCrashState(random: Int, seed: UInt64, _ body: (CrashState) throws -> Void) rethrows -> Int {
    var count = 0
    var generator = Random(seed: seed)
    for cut in 0...events.count {
      // A mark changes nothing on disk, but what is promised from here on.
      let point = Point(self, upTo: cut)
      var choices: [[Kept]] = [point.pending.map { _ in .none }]
      if !point.pending.isEmpty { choices.append(point.pending.map { _ in .whole }) }
      if point.pending.count > 1 {
        for index in point.pending.indices {
          var one = point.pending.map { _ in Kept.none }
          var but = point.pending.map { _ in Kept.whole }
          one[index] = .whole
          but[index] = .none
          choices += [one, but]
        }
      }
      if !point.pending.isEmpty {
        for _ in 0..<random {
          choices.append(
            point.pending.map { _ in
              switch generator.next() % 4 {
              case 0: .none
              case 1: .whole
              case 2: .sectors(512, generator.next())
              default: .sectors(4096, generator.next())
              }
            })
        }
      }
      for (number, kept) in choices.enumerated() {
        // Every prefix of the names in turn; the whole of them most of the time.
        let named =
          number % 3 == 1 && point.pendingNames > 0
          ? Int(generator.next() % UInt64(point.pendingNames + 1)) : point.pendingNames
        try body(
          point.state(
            kept, names: number == 0 ? 0 : named, what: "cut after event \(cut) of \(events.count), state \(number)"))
        count += 1
      }
    }
    return count
  }

  /// What of a write is there.
  enum Kept {
    case none, whole
    /// Some of its sectors, by a seed.
    case sectors(Int, UInt64)
  }

  /// What is durable at a point, and what is not.
  struct Point {
    var durable: [[UInt8]]
    var pending: [Event] = []
    var durableNames: [String: Int]
    var nameEvents: [Event] = []
    var marks: [Int] = []
    var pendingNames: Int { nameEvents.count }

    init(_ log: CrashLog, upTo cut: Int) {
      durable = log.contents
      durableNames = log.names
      for event in log.events[..<cut] {
        switch event {
        case .write, .size: pending.append(event)
        case .sync(let file):
          for event in pending where Point.file(event) == file { Point.apply(event, .whole, &durable) }
          pending.removeAll { Point.file($0) == file }
        case .name, .rename, .remove: nameEvents.append(event)
        case .syncFolder:
          for event in nameEvents { CrashLog.apply(event, to: &durableNames) }
          nameEvents = []
        case .mark(let number): marks.append(number)
        }
      }
    }

    static func file(_ event: Event) -> Int? {
      switch event {
      case .write(let file, _, _), .size(let file, _): file
      default: nil
      }
    }

    static func apply(_ event: Event, _ kept: Kept, _ contents: inout [[UInt8]]) {
      switch event {
      case .size(let file, let size):
        if case .none = kept { return }
        let have = contents[file].count
        if size < have {
          contents[file].removeLast(have - size)
        } else {
          contents[file] += [UInt8](repeating: 0, count: size - have)
        }
      case .write(let file, let offset, let bytes):
        let unit: Int
        let seed: UInt64
        switch kept {
        case .none: return
        case .whole: (unit, seed) = (max(bytes.count, 1), 0)
        case .sectors(let size, let given): (unit, seed) = (size, given)
        }
        var random = Random(seed: seed)
        // Sectors of the file, not of the write.
        var at = offset
        while at < offset + bytes.count {
          let next =
            unit >= bytes.count && seed == 0 ? offset + bytes.count : min((at / unit + 1) * unit, offset + bytes.count)
          if seed == 0 || random.next() % 2 == 0 {
            if contents[file].count < next {
              contents[file] += [UInt8](repeating: 0, count: next - contents[file].count)
            }
            contents[file].replaceSubrange(at..<next, with: bytes[at - offset..<next - offset])
          }
          at = next
        }
      default: break
      }
    }

    func state(_ kept: [Kept], names count: Int, what: String) -> CrashState {
      var contents = durable
      for (event, kept) in zip(pending, kept) { Point.apply(event, kept, &contents) }
      var names = durableNames
      for event in nameEvents.prefix(count) { CrashLog.apply(event, to: &names) }
      return CrashState(
        files: names.mapValues { contents[$0] }, marks: marks, description: "\(what), kept \(kept)")
    }
  }
}

extension CrashState {
  /// Puts the state into a folder. Files that are there keep their inode: their content is replaced.
  public func materialize(in folder: String) throws {
    for name in try CrashLog.list(folder) where files[name] == nil { unlink(folder + "/" + name) }
    for (name, bytes) in files {
      let descriptor = try FileDescriptor.open(
        FilePath(folder + "/" + name), .readWrite, options: [.create], permissions: [.ownerReadWrite])
      defer { try? descriptor.close() }
      try descriptor.resize(to: Int64(bytes.count))
      try descriptor.writeAll(toAbsoluteOffset: 0, bytes)
    }
  }
}
