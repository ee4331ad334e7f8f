// SPDX-License-Identifier: Apache-2.0

extension FileBytes {
  /// What a program is going to do with a file. The choice between mapping and reading rests on it.
  ///
  /// It is a hint, not a contract: every call works under every pattern, only the cost differs.
  public enum AccessPattern: Sendable, Hashable {
    /// All bytes at once, one time: parse a configuration, hash a file.
    case onceWhole
    /// From the start to the end, in pieces.
    case sequential
    /// Single reads of `readSize` bytes all over the file. `count` is how many will be made; nil when nobody knows: then
    /// reading begins, and the file is mapped once that has been shown to pay.
    case random(readSize: Int, count: Int?)
    /// A few bytes here and there, `count` times.
    case sparse(count: Int)
  }

  /// A way to get at the bytes of a file.
  public enum Strategy: String, Sendable, Hashable, CaseIterable {
    /// Map it, and load pages at their first touch.
    case map
    /// Map it, and load all pages at once. C: `MADV_POPULATE_READ`.
    case mapPopulate
    /// Read it: in one call into a buffer of its size, or, for scattered access to a large file, each piece by itself.
    case read
    /// Read it piece by piece through one buffer that is used again.
    case stream
  }
}

extension FileBytes.AccessPattern: CustomStringConvertible {
  /// The pattern in words, as it stands in sentences and reports.
  public var description: String {
    switch self {
    case .onceWhole: "whole once"
    case .sequential: "sequential"
    case .random(let size, let count?): "random \(size) B x \(count)"
    case .random(let size, nil): "random \(size) B, count unknown"
    case .sparse(let count): "sparse x \(count)"
    }
  }

  /// Single reads: size of one, and how many when that is known. Nil for the patterns that see every byte once.
  internal var scattered: (size: Int, count: Int?)? {
    switch self {
    case .onceWhole, .sequential: nil
    // Public input never traps: sizes and counts below the sensible are raised to it.
    case .random(let size, let count): (max(1, size), count.map { max(0, $0) })
    case .sparse(let count): (64, max(0, count))
    }
  }
}
