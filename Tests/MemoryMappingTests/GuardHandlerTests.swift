// SPDX-License-Identifier: Apache-2.0

import CPlatform
import MemoryMapping
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Proofs for children of exit tests: a false one ends the child with a status that no test expects.
func prove(_ condition: Bool, _ line: Int = #line) {
  if !condition {
    print("not true: line \(line)")
    exit(99)
  }
}

/// A fault of our own: a cut memory file, read through a guarded scope, must throw.
func proveOwnFaultIsAnError(_ line: Int = #line) throws {
  let page = SystemPage.size
  let file = try MemoryFile(name: "own", byteCount: 2 * page)
  let map = try file.map()
  try file.resize(to: page)
  do throws(MappingError) {
    try map.withBytes { (span: RawSpan) -> Void in
      _ = span.withUnsafeBytes { pgt_touch($0.baseAddress! + page) }
    }
    prove(false, line)
  } catch { prove(error.code == .truncated && error.offset == Int64(page), line) }
}

/// A fault of somebody else: no registered range.
func faultForeign() throws {
  let other = try CutMapping(pages: 1, kept: 0)
  _ = other.touch(10)
}

/// Who was there before the guard.
@Suite struct GuardPredecessorTests {
  @Test func `a handler from before gets the faults that are not ours, and only those`() async {
    for style in [PGT_STYLE_THREE, PGT_STYLE_ONE] {
      await #expect(processExitsWith: .exitCode(42)) { [style = Int(style) as Int] in
        prove(pgt_install_handler(CInt(style), nil) == 0)
        try proveOwnFaultIsAnError()
        prove(pgt_handler_calls() == 0)
        prove(FaultGuard.status.isCurrent && FaultGuard.status.chainedCount == 0)
        try faultForeign()
        exit(1)
      }
    }
  }

  @Test func `another library's guard from before goes on to repair its own pages`() async {
    await #expect(processExitsWith: .success) {
      prove(pgt_install_handler(CInt(PGT_STYLE_REPAIR), nil) == 0)
      try proveOwnFaultIsAnError()
      let theirs = try CutMapping(pages: 3, kept: 0)
      prove(theirs.touch(SystemPage.size + 5) == 0x52)
      prove(pgt_handler_calls() == 1)
      // The very arguments of the kernel came through.
      prove(pgt_handler_address() == UInt(bitPattern: theirs.base) + UInt(SystemPage.size + 5))
      prove(!pgt_handler_saw_user())
      try proveOwnFaultIsAnError()
      prove(pgt_handler_calls() == 1 && FaultGuard.status.chainedCount == 1 && FaultGuard.status.isCurrent)
    }
  }

  @Test func `a one-shot handler from before has one call, then the default action follows`() async {
    await #expect(processExitsWith: .signal(SIGBUS)) {
      prove(pgt_install_handler(CInt(PGT_STYLE_RESET), nil) == 0)
      try proveOwnFaultIsAnError()
      // It returns without a repair: the instruction faults again.
      try faultForeign()
      exit(1)
    }
  }

  @Test func `with no handler, an ignoring one or flags on the default one, a fault that is not ours still kills`()
    async
  {
    await #expect(processExitsWith: .signal(SIGBUS)) {
      try proveOwnFaultIsAnError()
      try faultForeign()
      exit(1)
    }
    for style in [PGT_STYLE_IGNORE, PGT_STYLE_DEFAULT_FLAGGED] {
      await #expect(processExitsWith: .signal(SIGBUS)) { [style = Int(style) as Int] in
        prove(pgt_install_handler(CInt(style), nil) == 0)
        try proveOwnFaultIsAnError()
        try faultForeign()
        exit(1)
      }
    }
  }

  @Test func `a SIGBUS that somebody sent acts as it did before`() async {
    await #expect(processExitsWith: .signal(SIGBUS)) {
      try proveOwnFaultIsAnError()
      pgt_raise_sigbus()
      // The kernel may choose another thread, and a crash reporter takes its time on a busy machine.
      pgt_sleep_us(60_000_000)
      exit(1)
    }
    await #expect(processExitsWith: .success) {
      prove(pgt_install_handler(CInt(PGT_STYLE_IGNORE), nil) == 0)
      try proveOwnFaultIsAnError()
      pgt_raise_sigbus()
      pgt_sleep_us(20_000)
      prove(FaultGuard.status.isCurrent && FaultGuard.status.chainedCount == 1)
      try proveOwnFaultIsAnError()
    }
  }

  @Test func `an access behind the last mapped byte of a range of ours is not ours`() async {
    await #expect(processExitsWith: .signal(SIGBUS)) {
      let file = try CutMapping(pages: 4, kept: 0)
      // The first two pages are guarded, the others are somebody else's.
      let part = try FaultGuard.adopt(UnsafeRawBufferPointer(rebasing: file.bytes[..<(2 * SystemPage.size)]))
      prove(file.touch(2 * SystemPage.size - 1) == 0)
      prove(part.faultCount == 1)
      _ = file.touch(2 * SystemPage.size)
      exit(1)
    }
  }

  @Test func `Swift's own backtrace is printed for a fault that is not ours`() throws {
    // In a process of its own: the runtime reads the variable when it starts, and a change of this process's environment
    // would reach the children of other tests.
    func faulting(_ kind: String) throws -> Child {
      try Child.run(
        ["/proc/\(getpid())/exe", "--testing-library", "swift-testing", "--filter", "GuardBacktraceScene"],
        environment: [
          "SWIFT_BACKTRACE": "enable=yes,color=no,threads=crashed,limit=20,interactive=no", "PAGEWISE_SCENE": kind,
        ], seconds: 120)
    }
    // Whether this installation can print one at all.
    guard try faulting("plain").output.contains("faultForeign") else {
      Skips.note("the backtrace of a foreign fault", install: "a toolchain with swift-backtrace")
      return
    }
    let guarded = try faulting("guarded")
    #expect(guarded.status == 256 + Int(SIGBUS))
    #expect(guarded.output.contains("faultForeign"), "\(guarded.output)")
    #expect(guarded.output.contains("Bus error") || guarded.output.contains("SIGBUS"), "\(guarded.output)")
  }
}

/// Not a test but a program: it dies of a foreign fault when the test above starts it.
@Suite(.enabled(if: getenv("PAGEWISE_SCENE") != nil, "started by another test")) struct GuardBacktraceScene {
  @Test func `a foreign fault`() throws {
    if getenv("PAGEWISE_SCENE").map({ String(cString: $0) }) == "guarded" { try proveOwnFaultIsAnError() }
    try faultForeign()
  }
}

/// Who comes after the guard.
@Suite struct GuardSuccessorTests {
  @Test func `a later handler that asks resolve lets the guard work, and keeps the rest`() async {
    await #expect(processExitsWith: .exitCode(43)) {
      try FaultGuard.install()
      prove(pgt_install_handler(CInt(PGT_STYLE_RESOLVE), pgw_guard_resolve) == 0)
      prove(!FaultGuard.status.isCurrent && !FaultGuard.status.protectsThisThread)
      try proveOwnFaultIsAnError()
      prove(pgt_handler_calls() == 0)
      try faultForeign()
      exit(1)
    }
  }

  @Test func `resolve answers for a checked copy too and refuses what is no fault`() async {
    await #expect(processExitsWith: .success) {
      try FaultGuard.install()
      prove(pgt_install_handler(CInt(PGT_STYLE_RESOLVE), pgw_guard_resolve) == 0)
      let cut = try CutMapping(pages: 2, kept: 1)
      var bytes = [UInt8](repeating: 0, count: 64)
      prove(pgw_copy_checked(&bytes, cut.base + SystemPage.size - 32, 64) == 32)
      prove(pgw_copy_portable(&bytes, cut.base + SystemPage.size - 32, 64) == 32)
      prove(FaultGuard.status.copyFaultCount == 2 && FaultGuard.status.faultCount == 0)
      prove(!FaultGuard.resolve(signal: SIGBUS, info: nil, context: nil))
      var info = siginfo_t()
      info.si_code = 2
      prove(!FaultGuard.resolve(signal: SIGSEGV, info: &info, context: nil))
      prove(!FaultGuard.resolve(signal: SIGBUS, info: &info, context: nil))
    }
  }

  @Test func `a later handler that calls the one it replaced lets the guard work`() async {
    await #expect(processExitsWith: .success) {
      try FaultGuard.install()
      prove(pgt_install_handler(CInt(PGT_STYLE_SAVED), nil) == 0)
      try proveOwnFaultIsAnError()
      prove(pgt_handler_calls() == 1)
    }
    await #expect(processExitsWith: .signal(SIGBUS)) {
      try FaultGuard.install()
      prove(pgt_install_handler(CInt(PGT_STYLE_SAVED), nil) == 0)
      try faultForeign()
      exit(1)
    }
  }

  @Test func `the status names who replaced the guard, and reinstall takes the place back`() async {
    await #expect(processExitsWith: .success) {
      prove(!FaultGuard.status.isInstalled && FaultGuard.status.replacedBy == nil)
      try FaultGuard.install()
      prove(FaultGuard.status.protectsThisThread && FaultGuard.status.replacedBy == nil)
      // A handler in this very program.
      prove(pgt_install_handler(CInt(PGT_STYLE_THREE), nil) == 0)
      prove(FaultGuard.status.isInstalled && !FaultGuard.status.isCurrent)
      prove(FaultGuard.status.replacedBy?.contains("pagewise") == true)
      // Install is idempotent and does not fight; reinstall does.
      try FaultGuard.install()
      prove(!FaultGuard.status.isCurrent)
      try FaultGuard.reinstall()
      prove(FaultGuard.status.protectsThisThread && FaultGuard.status.replacedBy == nil)
      try proveOwnFaultIsAnError()
      prove(pgt_handler_calls() == 0)
      // The default action in our place.
      prove(pgt_default_sigbus() == 0)
      prove(FaultGuard.status.replacedBy?.contains("default") == true)
      try FaultGuard.reinstall()
      try FaultGuard.reinstall()
      try proveOwnFaultIsAnError()
    }
  }

  @Test func `replaced and not reinstalled, a fault of ours goes to the other handler`() async {
    await #expect(processExitsWith: .exitCode(42)) {
      try FaultGuard.install()
      prove(pgt_install_handler(CInt(PGT_STYLE_THREE), nil) == 0)
      try proveOwnFaultIsAnError()
      exit(1)
    }
  }

  @Test func `after a reinstall over a handler that calls us there is no ring`() async {
    await #expect(processExitsWith: .signal(SIGBUS)) {
      try FaultGuard.install()
      prove(pgt_install_handler(CInt(PGT_STYLE_SAVED), nil) == 0)
      try FaultGuard.reinstall()
      try proveOwnFaultIsAnError()
      prove(pgt_handler_calls() == 0)
      try withWatchdog("a foreign fault after a reinstall", seconds: 20) { try faultForeign() }
      exit(1)
    }
  }

  @Test func `a thread that blocks SIGBUS is told so, is killed by a fault, and lives once it unblocks`() async {
    await #expect(processExitsWith: .success) {
      try FaultGuard.install()
      prove(pgt_block_sigbus(true) == 0)
      prove(FaultGuard.status.isBlockedOnThisThread && !FaultGuard.status.protectsThisThread)
      prove(FaultGuard.status.isCurrent)
      // The mask belongs to the thread; threads inherit it from their maker.
      onThreads(1) { _ in
        prove(FaultGuard.status.isBlockedOnThisThread)
        prove(pgt_block_sigbus(false) == 0)
        prove(FaultGuard.status.protectsThisThread)
        try! proveOwnFaultIsAnError()
      }
      prove(FaultGuard.status.isBlockedOnThisThread)
      prove(pgt_block_sigbus(false) == 0)
      prove(FaultGuard.status.protectsThisThread)
      try proveOwnFaultIsAnError()
    }
    await #expect(processExitsWith: .signal(SIGBUS)) {
      try FaultGuard.install()
      prove(pgt_block_sigbus(true) == 0)
      try proveOwnFaultIsAnError()
      exit(1)
    }
  }
}
