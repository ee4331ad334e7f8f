// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
internal import SystemPackage

/// Bytes of one file, or of many, that are in memory and not yet on the device, whoever stored them.
///
/// Counted in whole folios, as the kernel marks them: one byte stored into a large folio counts, and will be written, as up to
/// 2 MiB; and the last page of a file counts whole. A file that the kernel says nothing about is counted apart: it may have any
/// number of such bytes. C: `cachestat` (Linux 6.5).
public struct DirtyBytes: Sendable, Hashable {
  /// Bytes that wait for their write-back, of the files that are known. A lower bound unless ``isComplete``.
  public private(set) var waiting: Int64 = 0
  /// Bytes that are being written back now. A lower bound unless ``isComplete``.
  public private(set) var inWriteBack: Int64 = 0
  /// Files that the kernel told of.
  public private(set) var knownFiles = 0
  /// Files that it hides from this user, who neither owns nor may write them.
  public private(set) var hiddenFiles = 0
  /// Files that it cannot tell of: before Linux 6.5, on Darwin, and in huge page file systems.
  public private(set) var unknownFiles = 0

  /// True when every file is known.
  public var isComplete: Bool { hiddenFiles == 0 && unknownFiles == 0 }
  /// Both kinds together.
  public var total: Int64 { waiting + inWriteBack }

  /// None of no file.
  public init() {}

  /// Adds those of other files.
  ///
  /// - Parameter other: of files that are not in this one yet.
  public mutating func add(_ other: DirtyBytes) {
    waiting += other.waiting
    inWriteBack += other.inWriteBack
    knownFiles += other.knownFiles
    hiddenFiles += other.hiddenFiles
    unknownFiles += other.unknownFiles
  }

  /// Asks for all of an open file.
  internal init(descriptor: CInt) {
    var state = pgw_cache_state()
    // A length of 0 reaches to the end, and to pages behind it.
    guard unsafe pgw_cachestat(descriptor, 0, 0, &state) == 0 else {
      let reason = MappingError.currentErrno
      let isHidden = reason == .notPermitted || reason == .permissionDenied
      hiddenFiles = isHidden ? 1 : 0
      unknownFiles = isHidden ? 0 : 1
      return
    }
    let page = Int64(pgw_page_size())
    waiting = Int64(clamping: state.dirty) * page
    inWriteBack = Int64(clamping: state.writeback) * page
    knownFiles = 1
  }
}
