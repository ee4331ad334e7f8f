// SPDX-License-Identifier: Apache-2.0

internal import _CTestSupport

/// Ends the test program with a message when `body` takes longer than `seconds`. A hang becomes a failure with a name.
public func withWatchdog<R>(_ what: String, seconds: Int = 60, _ body: () throws -> R) rethrows -> R {
  let ticket = pgt_watchdog_ticket()
  pgt_watchdog_start(ticket, UInt32(seconds), what)
  defer { pgt_watchdog_stop(ticket) }
  return try body()
}

/// The same for the rest of a scope: `defer { watchdog.stop() }`. For bodies that hold what no closure can.
public struct Watchdog: Sendable {
  private let ticket: CInt

  public init(_ what: String, seconds: Int) {
    ticket = pgt_watchdog_ticket()
    pgt_watchdog_start(ticket, UInt32(seconds), what)
  }

  public func stop() { pgt_watchdog_stop(ticket) }
}

/// Runs `body` on `count` threads of its own and waits for all of them. What the threads share is the test's affair.
public func onThreads(_ count: Int, _ body: (Int) -> Void) {
  final class Box {
    let body: (Int) -> Void
    init(_ body: @escaping (Int) -> Void) { self.body = body }
  }
  withoutActuallyEscaping(body) { body in
    let box = Unmanaged.passRetained(Box(body))
    defer { box.release() }
    let result = pgt_threads(
      CInt(count), { index, context in Unmanaged<Box>.fromOpaque(context!).takeUnretainedValue().body(Int(index)) },
      box.toOpaque())
    precondition(result == 0, "cannot start \(count) threads")
  }
}
