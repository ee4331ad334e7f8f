// SPDX-License-Identifier: Apache-2.0

/// How much memory a mapping has in use. Bytes. C: /proc/PID/smaps.
public struct MappingMemory: Sendable, Hashable {
  /// In memory and mapped by this process (`Rss`).
  public package(set) var resident: Int64 = 0
  /// The same, each page divided by the number of mappings that it has (`Pss`).
  public package(set) var proportional: Int64 = 0
  /// Of ``resident``: mapped once, and changed since it was last written to the device, by whomever (`Private_Dirty`).
  public package(set) var privateDirty: Int64 = 0
  /// The same of what is mapped more than once (`Shared_Dirty`).
  public package(set) var sharedDirty: Int64 = 0
  /// Locked into memory (`Locked`), as a share: a page that two processes lock counts half for each.
  public package(set) var locked: Int64 = 0
  /// True when the whole mapping is locked (`VmFlags: lo`): then also pages count that come later.
  public package(set) var isLocked = false

  /// Both kinds. What is dirty in the file and not mapped here is not in it: see ``DirtyScanner``.
  public var dirty: Int64 { privateDirty.addingClamped(sharedDirty) }

  /// None.
  public init() {}

  /// Adds that of another mapping. Shares add up; a page that two mappings of one process show counts twice in ``resident``.
  public mutating func add(_ other: MappingMemory) {
    resident = resident.addingClamped(other.resident)
    proportional = proportional.addingClamped(other.proportional)
    privateDirty = privateDirty.addingClamped(other.privateDirty)
    sharedDirty = sharedDirty.addingClamped(other.sharedDirty)
    locked = locked.addingClamped(other.locked)
    isLocked = isLocked || other.isLocked
  }

  /// The memory of some mappings, from a text of /proc/PID/smaps.
  ///
  /// - Parameter wanted: by where each begins.
  package static func find(_ bytes: [UInt8], wanted: Set<UInt64>) -> [UInt64: MappingMemory] {
    let text = bytes.span
    var found: [UInt64: MappingMemory] = [:]
    var current: UInt64? = nil
    var memory = MappingMemory()
    var lines = TextLines()
    while let line = lines.next(text) {
      // Fields begin with a capital; addresses have small digits.
      guard let first = line.isEmpty ? nil : text[line.lowerBound] else { continue }
      if first < UInt8(ascii: "A") || first > UInt8(ascii: "Z") {
        guard let head = MapsLine(text, line) else { continue }
        if let current { found[current] = memory }
        current = wanted.contains(head.start) ? head.start : nil
        memory = MappingMemory()
      } else if current != nil {
        memory.take(text, line)
      }
    }
    if let current { found[current] = memory }
    return found
  }

  private mutating func take(_ text: Span<UInt8>, _ line: Range<Int>) {
    func field(_ name: StaticString) -> Range<Int>? {
      let count = name.utf8CodeUnitCount
      guard line.count > count else { return nil }
      for index in 0..<count where unsafe text[line.lowerBound + index] != name.utf8Start[index] { return nil }
      return line.lowerBound + count..<line.upperBound
    }
    func kibibytes(_ rest: Range<Int>) -> Int64 {
      var value: Int64 = 0
      for index in rest {
        let byte = text[index]
        if byte == UInt8(ascii: " ") {
          if value > 0 { break }
          continue
        }
        guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9"), value < 1 << 46 else { break }
        value = value * 10 + Int64(byte - UInt8(ascii: "0"))
      }
      return value * 1024
    }
    switch text[line.lowerBound] {
    case UInt8(ascii: "R"): if let rest = field("Rss:") { resident = kibibytes(rest) }
    case UInt8(ascii: "P"):
      if let rest = field("Pss:") { proportional = kibibytes(rest) }
      if let rest = field("Private_Dirty:") { privateDirty = kibibytes(rest) }
    case UInt8(ascii: "S"): if let rest = field("Shared_Dirty:") { sharedDirty = kibibytes(rest) }
    case UInt8(ascii: "L"): if let rest = field("Locked:") { locked = kibibytes(rest) }
    case UInt8(ascii: "V"):
      guard let rest = field("VmFlags:") else { return }
      // Two letters each, ended by a space.
      var at = rest.lowerBound
      while at + 2 < rest.upperBound {
        if text[at] == UInt8(ascii: " "), text[at + 1] == UInt8(ascii: "l"), text[at + 2] == UInt8(ascii: "o") {
          isLocked = true
        }
        at += 1
      }
    default: break
    }
  }
}

extension Int64 {
  /// The sum, or the largest number: what /proc says is not ours to trust.
  package func addingClamped(_ other: Int64) -> Int64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? (other < 0 ? .min : .max) : sum
  }
}
