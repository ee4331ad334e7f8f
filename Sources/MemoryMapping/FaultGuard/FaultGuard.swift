// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

/// The process's answer to SIGBUS: one handler that turns a lost page of a registered mapping into a mark on that mapping.
///
/// It is installed when the first file is mapped; call ``install()`` early where the order of handlers matters. A fault
/// outside the registered ranges goes to the handler that was there before, so crash reporters keep working. What the
/// guard cannot help with, and ``status`` tells: a thread that blocks SIGBUS is ended by the kernel at the fault, and a
/// library that installs its own handler later without calling ours takes the faults away.
public enum FaultGuard {
  /// Installs the handler now. Idempotent; any thread.
  ///
  /// - Throws: ``MappingError`` when sigaction fails.
  public static func install() throws(MappingError) {
    let failure = pgw_guard_install()
    guard failure == 0 else { throw MappingError(Errno(rawValue: failure), .guardInstall) }
  }

  /// Installs the handler again on top of one that was installed after ours. Faults that are not ours still go to the
  /// handler from before the first installation, never to the one replaced now: that one may call ours in turn.
  public static func reinstall() throws(MappingError) {
    let failure = pgw_guard_reinstall()
    guard failure == 0 else { throw MappingError(Errno(rawValue: failure), .guardInstall) }
  }

  /// For a signal handler of another library that replaced ours: lets the guard answer a SIGBUS.
  ///
  /// Call it with the three arguments that the kernel gave the handler (`SA_SIGINFO`). True means that the lost page was
  /// replaced or the checked copy was ended, and the handler must return at once. Async-signal-safe. C:
  /// `pgw_guard_resolve`.
  @unsafe public static func resolve(
    signal: CInt, info: UnsafeMutableRawPointer?, context: UnsafeMutableRawPointer?
  ) -> Bool { unsafe pgw_guard_resolve(signal, info, context) }

  /// What stands between this process and SIGBUS now. Costs about a microsecond (sigaction, pthread_sigmask).
  public static var status: Status {
    var report = pgw_guard_report()
    unsafe pgw_guard_inspect(&report)
    let image = unsafe withUnsafeBytes(of: report.image) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    return Status(
      isInstalled: report.installed, isCurrent: report.current,
      replacedBy: !report.installed || report.current
        ? nil : (image.isEmpty ? "the default action or an unknown handler" : image),
      isBlockedOnThisThread: report.blocked, rangeCount: Int(report.ranges), faultCount: Int(report.faults),
      copyFaultCount: Int(report.copy_faults), chainedCount: Int(report.chained))
  }

  /// The state of the guard in this process.
  public struct Status: Sendable, Hashable {
    /// The handler was installed at some time.
    public let isInstalled: Bool
    /// It is the one that the kernel calls now.
    public let isCurrent: Bool
    /// The image (program or library) whose handler is in its place, where another one is.
    public let replacedBy: String?
    /// This thread blocks SIGBUS: a lost page would end the process. Unblock it with `pthread_sigmask`.
    public let isBlockedOnThisThread: Bool
    /// Registered ranges.
    public let rangeCount: Int
    /// Faults answered by replacing pages since the process began.
    public let faultCount: Int
    /// Faults answered inside checked copies.
    public let copyFaultCount: Int
    /// Faults that were not ours and went to the previous handler.
    public let chainedCount: Int

    /// True when a lost page on this thread would be survived.
    public var protectsThisThread: Bool { isInstalled && isCurrent && !isBlockedOnThisThread }
  }
}
