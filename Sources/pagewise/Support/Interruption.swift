// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Ctrl-C: the first ends the measuring and prints what there is; the second ends the program.
enum Interruption {
  private static let requested = Atomic<Bool>(false)

  static var isRequested: Bool { requested.load(ordering: .relaxed) }

  /// Waits, or until an interruption.
  static func sleep(seconds: Double) {
    let end = Standard.now + seconds
    while !isRequested {
      let left = end - Standard.now
      guard left > 0 else { return }
      // A signal ends the call early; one that comes just before it is seen after a twentieth of a second.
      usleep(useconds_t(min(left, 0.05) * 1e6))
    }
  }

  static func watch() {
    // Touched here, so that the handler finds it made.
    requested.store(false, ordering: .relaxed)
    for number in [SIGINT, SIGTERM] {
      // Whoever started us with the signal ignored (nohup, a background job) means it.
      let before = signal(number) { number in
        Interruption.requested.store(true, ordering: .relaxed)
        signal(number, SIG_DFL)
      }
      if unsafe unsafeBitCast(before, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self) { signal(number, SIG_IGN) }
    }
  }
}
