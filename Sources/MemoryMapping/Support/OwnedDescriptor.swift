// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

/// A file descriptor with one owner, closed at the end of its life.
internal struct OwnedDescriptor: ~Copyable, Sendable {
  internal let number: CInt

  deinit { _ = pgw_close(number) }

  /// Closes now and tells whether the kernel agreed.
  internal consuming func close() -> Errno? {
    let closed = pgw_close(number)
    discard self
    return closed == 0 ? nil : .current
  }
}
