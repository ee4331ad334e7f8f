// SPDX-License-Identifier: Apache-2.0

public import MemoryMapping

/// A way in which a program uses a file, as it is measured: one row of a report.
///
/// Each includes opening and closing the file, since that is part of what a program pays.
public struct Access: Sendable, Hashable {
  /// Which row it is.
  public enum Kind: String, Sendable, Hashable, CaseIterable {
    /// Every byte once, in whatever pieces.
    case wholeOnce = "whole_once"
    /// From the start to the end in records of 4 KiB.
    case sequential = "sequential"
    /// Few 4 KiB reads at random places.
    case randomPagesFew = "random_4k_few"
    /// Many 4 KiB reads at random places.
    case randomPagesMany = "random_4k_many"
    /// Few single bytes at random places.
    case randomBytesFew = "random_bytes_few"
    /// Many single bytes at random places.
    case randomBytesMany = "random_bytes_many"
    /// A small file opened, read and closed again and again: the time of one such turn.
    case openReadClose = "open_read_close"
  }

  public let kind: Kind
  /// Reads in one use; 1 for a pass.
  public let count: Int
  /// Bytes of one read; for a pass all that it covers.
  public let readSize: Int

  internal var isPass: Bool { kind == .wholeOnce || kind == .sequential || kind == .openReadClose }

  /// What a program tells ``FileBytes`` about it.
  public var pattern: FileBytes.AccessPattern {
    switch kind {
    case .wholeOnce, .openReadClose: .onceWhole
    case .sequential: .sequential
    case .randomPagesFew, .randomPagesMany: .random(readSize: readSize, count: count)
    case .randomBytesFew: .sparse(count: count)
    case .randomBytesMany: .random(readSize: 1, count: count)
    }
  }

  /// The pattern as Swift source, for advice.
  public var patternSource: String {
    switch pattern {
    case .onceWhole: ".onceWhole"
    case .sequential: ".sequential"
    case .random(let size, let count): ".random(readSize: \(size), count: \(count.map { "\($0)" } ?? "nil"))"
    case .sparse(let count): ".sparse(count: \(count))"
    }
  }

  internal static let recordSize = 4096
  /// Up to this size a file counts as small.
  internal static let smallFile: Int64 = 64 << 10
  internal static let few = 12
  /// Cold places of a row with many: fewer on devices that take long for each.
  internal static let mostCold = 500
  internal static let leastCold = 50

  /// The rows that make sense for a file of `size` bytes.
  ///
  /// - Parameter manyCold: places of a cold row with many.
  internal static func rows(size: Int64, isCold: Bool, manyCold: Int = mostCold) -> [Access] {
    guard size > 0 else { return [] }
    let all = Int(clamping: size)
    let record = Int(min(Int64(recordSize), size))
    // A cold read waits for the device each time: fewer of them tell the same.
    let manyPages = isCold ? manyCold : 10_000
    let manyBytes = isCold ? manyCold : 100_000
    var rows = [Access(kind: .wholeOnce, count: 1, readSize: all)]
    if size > Int64(recordSize) {
      rows.append(Access(kind: .sequential, count: 1, readSize: all))
      rows.append(Access(kind: .randomPagesFew, count: few, readSize: record))
      rows.append(Access(kind: .randomPagesMany, count: manyPages, readSize: record))
    }
    rows.append(Access(kind: .randomBytesFew, count: few, readSize: 1))
    rows.append(Access(kind: .randomBytesMany, count: manyBytes, readSize: 1))
    if size <= smallFile { rows.append(Access(kind: .openReadClose, count: 1, readSize: all)) }
    return rows
  }
}
