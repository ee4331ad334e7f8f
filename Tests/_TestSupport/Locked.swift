// SPDX-License-Identifier: Apache-2.0

internal import _CTestSupport

/// A value that several threads change. Swift's own `Mutex` waits in code that ThreadSanitizer cannot see on Linux, so that
/// each use of it would be reported as a race.
public final class Locked<Value>: @unchecked Sendable {
  private let lock: UnsafeMutableRawPointer
  private let value: UnsafeMutablePointer<Value>

  public init(_ value: Value) {
    lock = pgt_lock_make()
    self.value = .allocate(capacity: 1)
    self.value.initialize(to: value)
  }

  deinit {
    value.deinitialize(count: 1)
    value.deallocate()
    pgt_lock_free(lock)
  }

  public func withLock<R>(_ body: (inout Value) throws -> R) rethrows -> R {
    pgt_lock(lock)
    defer { pgt_unlock(lock) }
    return try body(&value.pointee)
  }
}
