// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// A reader of standard output that went away: first what has to be put in order, then the end that a pipe's writer has.
enum BrokenPipe {
  /// Makes a failed write of the signal. True when the signal would have ended this program.
  static func watch() -> Bool {
    let before = signal(SIGPIPE, SIG_IGN)
    return unsafe unsafeBitCast(before, to: Int.self) != unsafeBitCast(SIG_IGN, to: Int.self)
  }

  /// Ends this program by the signal.
  static func end() {
    signal(SIGPIPE, SIG_DFL)
    raise(SIGPIPE)
  }
}
