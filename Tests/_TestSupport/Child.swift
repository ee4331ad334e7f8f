// SPDX-License-Identifier: Apache-2.0

internal import Glibc
public import SystemPackage
internal import _CTestSupport

/// A program run by a test.
public struct Child {
  /// The exit status; 256 + the signal that ended it; -1 when it did not end in time.
  public let status: Int
  /// What it wrote to standard output and standard error.
  public let output: String

  /// Runs a program to its end.
  ///
  /// - Parameters:
  ///   - arguments: the program, looked up in PATH, and its arguments.
  ///   - environment: added to this program's own.
  public static func run(
    _ arguments: [String], environment: [String: String] = [:], seconds: Int = 30
  ) throws -> Child {
    let capture = pgt_memfd("child-output", false, false)
    guard capture >= 0 else { throw Errno(rawValue: errno) }
    let file = FileDescriptor(rawValue: capture)
    defer { try? file.close() }
    let variables = Self.environment(adding: environment)
    let pid = withCStrings(arguments) { argv in withCStrings(variables) { envp in pgt_spawn(argv, envp, capture) } }
    guard pid > 0 else { throw Errno(rawValue: -pid) }
    let status = Int(pgt_wait(pid, CInt(seconds * 1000)))
    let size = Int(lseek(capture, 0, SEEK_END))
    var bytes = [UInt8](repeating: 0, count: size)
    _ = pread(capture, &bytes, size, 0)
    return Child(status: status, output: String(decoding: bytes, as: UTF8.self))
  }

  /// Starts a program that the caller ends by `pgt_kill` or awaits by `pgt_wait`. Its pid, or a negative errno.
  public static func start(_ arguments: [String]) -> Int32 { withCStrings(arguments) { pgt_spawn($0, nil, -1) } }

  /// Runs and throws away: true when the exit status was 0.
  public static func succeeds(_ arguments: String...) throws -> Bool { try run(arguments).status == 0 }

  /// This program's environment with some variables set.
  internal static func environment(adding changes: [String: String]) -> [String] {
    var variables: [String] = []
    var at = environ
    while let entry = at.pointee {
      let text = String(cString: entry)
      if !changes.keys.contains(where: { text.hasPrefix($0 + "=") }) { variables.append(text) }
      at += 1
    }
    return variables + changes.map { "\($0.key)=\($0.value)" }
  }

  internal static func withCStrings<R>(
    _ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> R
  ) -> R {
    let copies = strings.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    let pointers: [UnsafePointer<CChar>?] = copies.map { $0.map { UnsafePointer($0) } } + [nil]
    return pointers.withUnsafeBufferPointer { body($0.baseAddress!) }
  }
}

/// Ends a forked writer when the scope ends.
public struct WriterProcess: ~Copyable {
  private let pid: pid_t

  public enum Habit: Int32, CaseIterable, Sendable {
    /// Cuts at page edges, grows again with holes.
    case pages = 1
    /// Cuts anywhere, grows again with holes.
    case anywhere = 2
    /// Cuts anywhere, grows again by writing the pattern from the front.
    case rewrites = 3
  }

  public init(_ path: FilePath, size: Int, _ habit: Habit, seed: UInt32) throws {
    pid = path.withPlatformString { pgt_fork_writer($0, Int64(size), habit.rawValue, seed) }
    guard pid > 0 else { throw Errno(rawValue: -pid) }
  }

  deinit { _ = pgt_kill(pid) }
}

/// A program that runs beside the test, until it is killed at the end of the scope at the latest.
public struct RunningChild: ~Copyable {
  /// Its process number.
  public let pid: Int32
  private let capture: CInt
  private var hasEnded = false

  /// Starts a program, looked up in PATH unless it has a slash.
  ///
  /// - Parameter environment: added to this program's own.
  public init(_ arguments: [String], environment: [String: String] = [:]) throws {
    let capture = pgt_memfd("child-output", false, false)
    guard capture >= 0 else { throw Errno(rawValue: errno) }
    let variables = Child.environment(adding: environment)
    let pid = Child.withCStrings(arguments) { argv in
      Child.withCStrings(variables) { pgt_spawn(argv, $0, capture) }
    }
    guard pid > 0 else {
      close(capture)
      throw Errno(rawValue: -pid)
    }
    self.capture = capture
    self.pid = pid
  }

  deinit {
    if !hasEnded { _ = pgt_kill(pid) }
    close(capture)
  }

  /// What it has written until now.
  public var output: String {
    let size = Int(lseek(capture, 0, SEEK_END))
    var bytes = [UInt8](repeating: 0, count: max(0, size))
    let got = pread(capture, &bytes, bytes.count, 0)
    return String(decoding: bytes.prefix(max(0, got)), as: UTF8.self)
  }

  /// Waits until it has written a line that begins so, and gives the rest of that line; nil when it does not within the time.
  public func line(_ prefix: String, seconds: Int = 30) -> String? {
    for _ in 0..<seconds * 1000 {
      // The last line may be cut.
      let lines = output.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
      if let line = lines.first(where: { $0.hasPrefix(prefix) }) { return String(line.dropFirst(prefix.count)) }
      pgt_sleep_us(1000)
    }
    return nil
  }

  /// True once it has ended by itself or by a signal.
  public var isOver: Bool { hasEnded || pgt_has_ended(pid) }

  /// Ends it with SIGKILL and leaves it unawaited until the scope ends.
  public func killUnawaited() { if !hasEnded { _ = pgt_kill_unawaited(pid) } }

  /// Ends it with SIGKILL and waits for its end.
  public mutating func kill() {
    if !hasEnded { _ = pgt_kill(pid) }
    hasEnded = true
  }

  /// Sends it SIGTERM.
  public func terminate() { if !hasEnded { _ = pgt_terminate(pid) } }

  /// Waits for its end by itself; its status as in ``Child``.
  public mutating func wait(seconds: Int) -> Int {
    hasEnded = true
    return Int(pgt_wait(pid, CInt(seconds * 1000)))
  }
}
