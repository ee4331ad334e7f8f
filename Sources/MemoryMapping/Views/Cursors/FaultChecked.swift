// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

/// The check of cursors over a mapping: each step asks whether a page was lost before it hands out
/// bytes.
///
/// A step costs two loads more. At the end the file's size is asked once (two system calls, about 0.6 µs),
/// which finds also a cut inside a page: that leaves zeros without a fault. Mappings without a
/// descriptor and snapshots are not asked.
///
/// What is promised: a loop that runs to the `nil` has met no lost page, and the file still reaches
/// to the end of the view. A cut inside a page that is grown again during the loop is not seen; put
/// the loop into a scope with ``FaultCheck/stamp`` where others may do that. A loop that is left
/// early has the promise about pages up to its last step; call ``MappedFile/checkFault()`` for what
/// was read since.
public struct FaultChecked: CursorCheck, ~Copyable, Sendable {
  @usableFromInline internal let flag: FaultFlag
  private let origin: FaultOrigin
  private let slack: Int
  private let count: Int
  private let fileOffset: Int64
  private let path: FilePath?
  private let provesSize: Bool

  /// Valid while the mapping is: held by cursors that borrow it.
  @usableFromInline
  internal init(_ map: borrowing MappedFile) {
    flag = map.range.flag
    origin = map.range.faultOrigin
    slack = map.slack
    count = map.count
    fileOffset = map.fileOffset
    path = map.path
    provesSize = map.options.stability != .snapshot && map.range.descriptor >= 0 && map.count > 0
  }

  public var stepFlag: FaultFlag? { flag }

  public func checkStep() throws(MappingError) {
    if flag.isRaised { throw error(.iterate) }
  }

  public func checkEnd() throws(MappingError) {
    try checkStep()
    guard provesSize else { return }
    OpenedFile.awaitCut(of: origin.descriptor)
    var now = pgw_stat()
    guard unsafe pgw_fstat(origin.descriptor, &now) == 0 else { throw .last(.iterate, path: path) }
    let end = fileOffset + Int64(count)
    guard OpenedFile.kind(of: now.mode) == .regular, now.size < end else { return }
    throw MappingError(
      .truncated, operation: .iterate, path: path, offset: now.size, length: end - now.size,
      detail: .fileSize(now.size))
  }

  /// The error that tells of the mapping's fault.
  @inline(never) @usableFromInline
  internal func error(_ operation: MappingError.Operation) -> MappingError {
    guard let fault = origin.fault(slack: slack, count: count) else {
      return MappingError(.faulted, operation: operation, path: path, offset: fileOffset)
    }
    var error = MappingError(
      fault.code, operation: operation, path: path, offset: fault.offset,
      length: Int64(fault.lostRange.count))
    if fault.kind == .truncated, origin.descriptor >= 0 {
      var now = pgw_stat()
      if unsafe pgw_fstat(origin.descriptor, &now) == 0 { error.detail = .fileSize(now.size) }
    }
    return error
  }
}
