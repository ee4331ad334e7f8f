// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

/// A file descriptor with one owner, closed at the end of its life.
internal struct OwnedDescriptor: ~Copyable, Sendable {
  internal let rawValue: CInt

  internal init(_ rawValue: CInt) { self.rawValue = rawValue }

  deinit { _ = pgw_close(rawValue) }

  /// Closes now and tells whether the kernel agreed.
  internal consuming func close() -> Errno? {
    let closed = pgw_close(rawValue)
    discard self
    return closed == 0 ? nil : .current
  }
}
