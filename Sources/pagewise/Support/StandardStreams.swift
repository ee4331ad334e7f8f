// SPDX-License-Identifier: Apache-2.0

internal import Synchronization
internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Writing to the standard streams without a buffer of our own: what is printed is out when the call returns.
enum Standard {
  private static let failure = Atomic<CInt>(0)

  /// Why standard output took no more, if that happened. Nothing is written to it afterwards.
  static var outputFailure: Errno? {
    let number = failure.load(ordering: .relaxed)
    return number == 0 ? nil : Errno(rawValue: number)
  }

  static func output(_ text: String) {
    guard outputFailure == nil else { return }
    if let reason = write(text, to: .standardOutput) { failure.store(reason.rawValue, ordering: .relaxed) }
  }

  /// Writes bytes from where they are; waits for a reader that asked for none to wait. False when the stream takes no more, and
  /// after an interruption.
  static func output(_ bytes: RawSpan) -> Bool {
    guard outputFailure == nil else { return false }
    return unsafe bytes.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count {
        if Interruption.isRequested { return false }
        do {
          let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[done...])
          done += unsafe try FileDescriptor.standardOutput.write(rest, retryOnInterrupt: false)
        } catch {
          switch error as? Errno ?? .ioError {
          case .interrupted: continue
          case .resourceTemporarilyUnavailable, .wouldBlock:
            var request = pollfd(fd: STDOUT_FILENO, events: Int16(POLLOUT), revents: 0)
            _ = unsafe poll(&request, 1, 100)
          case .badAddress:
            // The bytes are gone, not the stream: their mapping has lost a page, which whoever gave them finds out.
            return false
          case let reason:
            failure.store(reason.rawValue, ordering: .relaxed)
            return false
          }
        }
      }
      return true
    }
  }

  /// Whether whoever reads standard output has gone, which a program that waits for something else does not see by writing. Then it
  /// counts as a failed write.
  static var isReaderGone: Bool {
    if outputFailure != nil { return true }
    var request = pollfd(fd: STDOUT_FILENO, events: 0, revents: 0)
    guard unsafe poll(&request, 1, 0) == 1, request.revents & Int16(POLLERR) != 0 else { return false }
    failure.store(Errno.brokenPipe.rawValue, ordering: .relaxed)
    return true
  }

  static func error(_ text: String) { _ = write(text, to: .standardError) }

  private static func write(_ text: String, to stream: FileDescriptor) -> Errno? {
    var text = text
    return text.withUTF8 { bytes in
      do {
        _ = unsafe try stream.writeAll(bytes)
        return nil
      } catch {
        return error as? Errno ?? .ioError
      }
    }
  }

  /// Takes the numbers 0 to 2 where they are free, so that no file under measurement becomes a standard stream.
  static func reserve() {
    for number in CInt(0)...2 where fcntl(number, F_GETFD) < 0 {
      // The lowest free number is this one; for writing it is as closed as before.
      _ = try? FileDescriptor.open(FilePath("/dev/null"), .readOnly)
    }
  }

  static func isOpen(_ stream: FileDescriptor) -> Bool { fcntl(stream.rawValue, F_GETFD) >= 0 }

  /// Columns of the terminal on standard output; nil where there is none.
  static var columns: Int? {
    var size = winsize()
    guard unsafe ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
    return Int(size.ws_col)
  }

  static func isTerminal(_ stream: FileDescriptor) -> Bool { isatty(stream.rawValue) == 1 }

  /// The value of an environment variable; nil when it is not set or empty.
  static func environment(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    let text = unsafe String(cString: value)
    return text.isEmpty ? nil : text
  }

  static var isRoot: Bool { geteuid() == 0 }

  /// Seconds of the monotonic clock.
  static var now: Double {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  /// Nanoseconds since 1970.
  static var wallNanoseconds: UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}
