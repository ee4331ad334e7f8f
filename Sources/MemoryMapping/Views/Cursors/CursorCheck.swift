// SPDX-License-Identifier: Apache-2.0

/// How a cursor learns that the bytes under it were lost.
///
/// Cursors are generic over it, so that one over plain memory does not throw and pays nothing, and
/// one over a mapping throws as it goes. ``ScopeChecked`` and ``FaultChecked`` are the two there
/// are. A check need not be copyable: one that holds a reference would else be retained and
/// released at every step.
public protocol CursorCheck: ~Copyable {
  /// What a step can throw: `Never` where nothing can be lost.
  associatedtype Failure: Error

  /// The mark that each step looks at, after it has read its bytes and before it hands them out; nil where nothing can be
  /// lost. Asked once, so that a step costs a load and no call.
  var stepFlag: FaultFlag? { get }

  /// Called when the mark is raised. Throws.
  func checkStep() throws(Failure)

  /// Called once, when nothing is left.
  func checkEnd() throws(Failure)
}

/// The check of cursors over a bare `RawSpan`: none.
///
/// Either the bytes cannot be lost, or somebody else checks: inside
/// `MappedFile.withBytes(_:check:_:)` the scope throws at its end.
public struct ScopeChecked: CursorCheck, BitwiseCopyable, Sendable {
  @inlinable internal init() {}

  @inlinable @inline(__always)
  public var stepFlag: FaultFlag? { nil }

  @inlinable @inline(__always)
  public func checkStep() {}

  @inlinable @inline(__always)
  public func checkEnd() {}
}

/// A cursor's check together with whether the cursor is over, so that the end is checked once and
/// an error thrown once.
@usableFromInline
internal struct StepCheck<Check: CursorCheck & ~Copyable>: ~Copyable {
  @usableFromInline internal let check: Check
  @usableFromInline internal let flag: FaultFlag?
  @usableFromInline internal var isOver = false

  @inlinable
  internal init(_ check: consuming Check) {
    flag = check.stepFlag
    self.check = check
  }

  /// For a step that found something. After an error the cursor must go to its end.
  @inlinable @inline(__always)
  internal mutating func step() throws(Check.Failure) {
    if let flag, flag.isRaised { try fail() }
  }

  @inline(never) @usableFromInline
  internal mutating func fail() throws(Check.Failure) {
    do throws(Check.Failure) { try check.checkStep() } catch {
      isOver = true
      throw error
    }
  }

  /// For a step that found nothing left. The second and later times do nothing.
  @inlinable @inline(__always)
  internal mutating func end() throws(Check.Failure) {
    if isOver { return }
    isOver = true
    try check.checkEnd()
  }
}
