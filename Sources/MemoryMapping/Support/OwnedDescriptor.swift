// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

/// A file descriptor with one owner, closed at the end of its life.
package struct OwnedDescriptor: ~Copyable, Sendable {
  package let number: CInt

  /// A negative number is none.
  package init(number: CInt) { self.number = number }

  deinit {
    if number >= 0 { _ = pgw_close(number) }
  }

  /// Gives the number on: the receiver closes it.
  package consuming func release() -> CInt {
    let number = number
    discard self
    return number
  }

  /// Closes now and tells whether the kernel agreed.
  internal consuming func close() -> Errno? {
    let closed = pgw_close(number)
    discard self
    return closed == 0 ? nil : .current
  }
}
