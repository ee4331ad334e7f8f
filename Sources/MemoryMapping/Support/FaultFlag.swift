// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import Synchronization

/// The sticky mark of one mapping: raised before its first lost page is replaced, until the mapping recovers.
///
/// A cursor holds a copy and asks it after each step. The flag points into the guard's table, which is never freed, so
/// asking is always safe; but it tells about the mapping it came from only while that mapping lives.
@safe
public struct FaultFlag: @unchecked Sendable, BitwiseCopyable {
  @usableFromInline internal let word: UnsafePointer<Atomic<UInt32>>

  @inlinable internal init(word: UnsafePointer<Atomic<UInt32>>) { unsafe self.word = unsafe word }

  /// `slot.state` is the slot's first word; the layout is asserted in C.
  internal init(slot: UnsafeMutablePointer<pgw_slot>?) {
    if let slot = unsafe slot {
      unsafe self.word = UnsafeRawPointer(slot).assumingMemoryBound(to: Atomic<UInt32>.self)
    } else {
      self = .never
    }
  }

  /// A flag that nobody raises: for memory that cannot be lost.
  public static let never: FaultFlag = {
    let word = UnsafeMutablePointer<Atomic<UInt32>>.allocate(capacity: 1)
    unsafe word.initialize(to: Atomic(0))
    return unsafe FaultFlag(word: UnsafePointer(word))
  }()

  /// True when a page of the mapping was lost before now.
  ///
  /// Loads of mapped bytes that stand before this call in the program happen before it: the fence pairs with the guard's
  /// store of the state, which precedes the replacement of the page. So "not raised" proves that what was read is real.
  /// Costs two plain loads on x86-64.
  @inlinable @inline(__always)
  public var isRaised: Bool {
    atomicMemoryFence(ordering: .acquiring)
    return unsafe word.pointee.load(ordering: .relaxed) != 0
  }
}
