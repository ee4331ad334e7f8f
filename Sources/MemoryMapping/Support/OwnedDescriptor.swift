// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

/// A file descriptor with one owner, closed at the end of its life.
internal struct OwnedDescriptor: ~Copyable, Sendable {
  internal let number: CInt
  /// The lock belongs to the open file, which a child may hold for a moment after a fork: it is given back by name.
  internal let holdsLock: Bool

  internal init(number: CInt, holdsLock: Bool = false) {
    self.number = number
    self.holdsLock = holdsLock
  }

  deinit {
    if holdsLock { pgw_storage_unlock(number) }
    _ = pgw_close(number)
  }

  /// Closes now and tells whether the kernel agreed.
  internal consuming func close() -> Errno? {
    if holdsLock { pgw_storage_unlock(number) }
    let closed = pgw_close(number)
    discard self
    return closed == 0 ? nil : .current
  }
}
