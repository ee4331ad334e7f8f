// SPDX-License-Identifier: Apache-2.0

internal import CPlatform

/// What a program tells the kernel about its use of a range. None of these changes what is read.
///
/// Advice belongs to a phase of access, not to a file: set it when the phase begins.
public struct Advice: Sendable, Hashable, CustomStringConvertible {
  internal let value: CInt
  public let description: String

  /// No special treatment. C: `MADV_NORMAL`.
  public static let normal = Advice(value: CInt(PGW_MADV_NORMAL), description: "normal")
  /// Ascending order, once: read far ahead. C: `MADV_SEQUENTIAL`.
  public static let sequential = Advice(value: CInt(PGW_MADV_SEQUENTIAL), description: "sequential")
  /// No order: do not read ahead. Makes a later scan up to 40 times slower. C: `MADV_RANDOM`.
  public static let random = Advice(value: CInt(PGW_MADV_RANDOM), description: "random")
  /// Start to read now, do not wait. C: `MADV_WILLNEED`.
  public static let willNeed = Advice(value: CInt(PGW_MADV_WILLNEED), description: "willNeed")
  /// First to go when memory is short. C: `MADV_COLD`.
  public static let cold = Advice(value: CInt(PGW_MADV_COLD), description: "cold")
  /// Give the memory back now where no other mapping holds the page. C: `MADV_PAGEOUT`.
  public static let pageOut = Advice(value: CInt(PGW_MADV_PAGEOUT), description: "pageOut")
  /// Huge pages wanted. C: `MADV_HUGEPAGE`.
  public static let hugePages = Advice(value: CInt(PGW_MADV_HUGEPAGE), description: "hugePages")
  /// Huge pages not wanted. C: `MADV_NOHUGEPAGE`.
  public static let noHugePages = Advice(value: CInt(PGW_MADV_NOHUGEPAGE), description: "noHugePages")
  /// Collapse into huge pages now. Refused by most file systems. C: `MADV_COLLAPSE`.
  public static let collapse = Advice(value: CInt(PGW_MADV_COLLAPSE), description: "collapse")
}

/// Advice that throws content away. Kept apart, so that none is given by accident.
public struct DestructiveAdvice: Sendable, Hashable, CustomStringConvertible {
  internal let value: CInt
  public let description: String

  /// Drop this process's pages: file pages are read anew at the next touch, private changes are lost, anonymous pages read
  /// as zeros. C: `MADV_DONTNEED`.
  public static let dontNeed = DestructiveAdvice(value: CInt(PGW_MADV_DONTNEED), description: "dontNeed")
  /// Anonymous pages may be dropped at any later time until they are written again. C: `MADV_FREE`.
  public static let free = DestructiveAdvice(value: CInt(PGW_MADV_FREE), description: "free")
  /// Punch a hole into the file underneath, for everybody. C: `MADV_REMOVE`.
  public static let remove = DestructiveAdvice(value: CInt(PGW_MADV_REMOVE), description: "remove")
}
