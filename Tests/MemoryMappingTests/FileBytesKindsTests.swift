// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _TestSupport

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Whatever can stand behind a path or a descriptor: bytes, or a clear error, never a hang.
@Suite struct FileBytesKindsTests {
  static func content(_ file: inout FileBytes) throws -> [UInt8] {
    try file.withBytes { span in unsafe span.withUnsafeBytes { unsafe Array($0) } }
  }

  static func chunks(_ file: inout FileBytes, of size: Int = 1000) throws -> [UInt8] {
    var all: [UInt8] = []
    try file.forEachChunk(of: size) { chunk, offset in
      #expect(offset == Int64(all.count))
      #expect(chunk.byteCount > 0 && chunk.byteCount <= size)
      unsafe chunk.withUnsafeBytes { unsafe all.append(contentsOf: $0) }
    }
    return all
  }

  static func code(_ path: FilePath, _ change: (inout FileBytes.Options) -> Void = { _ in }) -> MappingError.Code? {
    var options = FileBytes.Options()
    change(&options)
    do throws(MappingError) {
      _ = try FileBytes(path, options: options)
      return nil
    } catch { return error.code }
  }

  static func pipe() throws -> (reading: FileDescriptor, writing: FileDescriptor) {
    let ends = try FileDescriptor.pipe()
    return (ends.readEnd, ends.writeEnd)
  }

  @Test func `sizes around the page edge are whole, by every strategy and pattern`() throws {
    let folder = try TemporaryDirectory()
    let page = SystemPage.size
    for size in [0, 1, page - 1, page, page + 1, 3 * page + 7, 300_001] {
      let bytes = PatternFile.bytes(0..<Int64(size))
      let path = try folder.file("f\(size)", bytes)
      for strategy in [nil] + FileBytes.Strategy.allCases.map(Optional.some) {
        for access in [
          FileBytes.AccessPattern.onceWhole, .sequential, .sparse(count: 3), .random(readSize: 9, count: nil),
        ] {
          var options = FileBytes.Options()
          options.strategy = strategy
          options.calibration = .builtIn
          var file = try FileBytes(path, access: access, options: options)
          #expect(file.count == Int64(size))
          #expect(try Self.content(&file) == bytes, "\(size) \(String(describing: strategy)) \(access)")
          #expect(try Self.chunks(&file) == bytes)
          try file.close()
        }
      }
    }
  }

  @Test func `a file of proc that refuses small reads is not taken for an empty one`() throws {
    var pages = try FileBytes("/proc/self/pagemap")
    #expect(pages.decision.strategy == .read || pages.decision.strategy == .stream)
    struct Enough: Error {}
    var got = 0
    #expect(throws: Enough.self) {
      try pages.forEachChunk(of: 4096) { chunk, _ in
        got += chunk.byteCount
        throw Enough()
      }
    }
    #expect(got > 0 && got % 8 == 0)
    #expect { _ = try MappedFile("/proc/self/pagemap") } throws: {
      ($0 as? MappingError)?.code == .unsupportedFileType
    }
  }

  @Test func `files of proc and sys are read to their end`() throws {
    var status = try FileBytes("/proc/self/status")
    #expect(status.count == nil)
    let text = String(decoding: try Self.content(&status), as: UTF8.self)
    #expect(text.hasPrefix("Name:") && text.contains("\nVmSize:"))
    #expect(status.count == Int64(text.utf8.count))
    #expect(status.decision.strategy == .read)
    let page = "/sys/kernel/mm/transparent_hugepage/enabled"
    if access(page, R_OK) == 0 {
      var small = try FileBytes(FilePath(page), access: .onceWhole)
      let words = String(decoding: try Self.content(&small), as: UTF8.self)
      #expect(words.contains("never") && words.utf8.count < SystemPage.size && !words.contains("\0"))
    } else {
      Skips.note("a file of /sys", install: "a kernel with transparent huge pages")
    }
  }

  @Test func `a pipe is read in order, whole, and by copies`() throws {
    let bytes = PatternFile.bytes(0..<50_000)
    for way in 0..<3 {
      let (reading, writing) = try Self.pipe()
      defer { try? reading.close() }
      withWatchdog("reading a pipe", seconds: 30) {
        let size = way == 0 ? 50_000 : 30_000
        onThreads(2) { index in
          if index == 0 {
            _ = try? writing.writeAll(bytes.prefix(size))
            try? writing.close()
            return
          }
          do {
            var file = try FileBytes(descriptor: reading)
            #expect(file.count == nil)
            switch way {
            case 0: #expect(try Self.chunks(&file) == bytes)
            case 1: #expect(try Self.content(&file) == Array(bytes.prefix(size)))
            default:
              var part = [UInt8](repeating: 0, count: 100)
              let got = try unsafe part.withUnsafeMutableBytes { unsafe try file.copy(at: Int64(size) - 60, into: $0) }
              #expect(got == 60 && part.prefix(60).elementsEqual(bytes[(size - 60)..<size]))
              #expect(try file.load(at: 7, as: UInt8.self) == bytes[7])
              #expect(throws: MappingError.self) { try file.load(at: Int64(size), as: UInt8.self) }
            }
            #expect(file.count == Int64(size))
          } catch { Issue.record(error) }
        }
      }
    }
  }

  @Test func `what was passed on is not there a second time`() throws {
    let (reading, writing) = try Self.pipe()
    defer { try? reading.close() }
    _ = try writing.writeAll([1, 2, 3])
    try writing.close()
    var file = try FileBytes(descriptor: reading)
    #expect(try Self.chunks(&file) == [1, 2, 3])
    let error = #expect(throws: MappingError.self) { try Self.content(&file) }
    #expect(error?.code == .notSupported)
  }

  @Test func `a limit stops a stream and refuses a file`() throws {
    let (reading, writing) = try Self.pipe()
    defer { try? reading.close() }
    _ = try writing.writeAll([UInt8](repeating: 1, count: 1001))
    try writing.close()
    var options = FileBytes.Options()
    options.maximumByteCount = 1000
    var file = try FileBytes(descriptor: reading, options: options)
    let error = #expect(throws: MappingError.self) { try Self.content(&file) }
    #expect(error?.code == .limitExceeded)
    #expect(error?.detail == .limit(1000))

    let folder = try TemporaryDirectory()
    let path = try folder.file("f", [UInt8](repeating: 1, count: 1001))
    #expect(Self.code(path) { $0.maximumByteCount = 1000 } == .limitExceeded)
    #expect(Self.code(path) { $0.maximumByteCount = 1001 } == nil)
    var endless = try FileBytes(descriptor: try FileDescriptor.open("/dev/zero", .readOnly), options: options)
    #expect(throws: MappingError.self) { try Self.chunks(&endless) }
  }

  @Test func `a FIFO never hangs at opening and waits for a writer when read`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("fifo")
    #expect(unsafe path.withPlatformString { unsafe mkfifo($0, 0o600) } == 0)
    try withWatchdog("a FIFO without a writer", seconds: 30) {
      var options = FileBytes.Options()
      options.fifoTimeoutMilliseconds = 50
      var file = try FileBytes(path, options: options)
      let error = #expect(throws: MappingError.self) { try Self.content(&file) }
      #expect(error?.description.contains("nobody opened the FIFO for writing within 50 ms") == true)
    }
    withWatchdog("a FIFO with a slow writer", seconds: 30) {
      onThreads(2) { index in
        do {
          if index == 0 {
            let writing = try FileDescriptor.open(path, .writeOnly)
            _ = try writing.writeAll([1, 2])
            usleep(50_000)
            _ = try writing.writeAll([3])
            try writing.close()
          } else {
            var file = try FileBytes(path)
            #expect(try Self.content(&file) == [1, 2, 3])
          }
        } catch { Issue.record(error) }
      }
    }
  }

  @Test func `what cannot be read says so`() throws {
    let folder = try TemporaryDirectory()
    #expect(Self.code(folder.path) == .isDirectory)
    #expect(Self.code(folder.appending("missing")) == .notFound)
    #expect(Self.code("/dev/null") == .unsupportedFileType)
    let broken = folder.appending("broken")
    let loop = folder.appending("loop")
    let link = folder.appending("link")
    let file = try folder.file("file", [1])
    for (target, name) in [(folder.appending("missing"), broken), (loop, loop), (file, link)] {
      let failed = unsafe target.withPlatformString { from in
        unsafe name.withPlatformString { to in unsafe symlink(from, to) }
      }
      #expect(failed == 0)
    }
    #expect(Self.code(broken) == .notFound)
    #expect(Self.code(loop) == .symbolicLink)
    #expect(Self.code(link) == nil)
    #expect(Self.code(link) { $0.followsSymbolicLinks = false } == .symbolicLink)
    #expect(Self.code(file.appending("below")) == .pathInvalid)
    #expect(Self.code(FilePath(String(repeating: "x", count: 5000))) == .pathInvalid)
    if getuid() != 0 {
      #expect(unsafe file.withPlatformString { unsafe chmod($0, 0) } == 0)
      #expect(Self.code(file) == .permissionDenied)
    } else {
      Skips.note("an unreadable file", install: "a user that is not root")
    }
  }

  @Test func `a socket path is refused`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("s")
    let text = Array(path.string.utf8)
    #if os(Linux)
      let listener = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
    #else
      let listener = socket(AF_UNIX, SOCK_STREAM, 0)
    #endif
    defer { close(listener) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    guard text.count < 100 else { return Skips.note("a socket path", install: "a shorter TMPDIR") }
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: text) }
    let bound = unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    #expect(bound == 0)
    #expect(Self.code(path) == .unsupportedFileType)
  }

  @Test func `a sparse file above 4 GiB is read at its far end`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("sparse")
    let size: Int64 = 6 << 30
    let file = try PatternFile(path, size: size, windows: [(5 << 30)..<(5 << 30) + 4096, size - 100..<size])
    let expected = PatternFile.bytes(size - 100..<size)
    for strategy in [nil] + FileBytes.Strategy.allCases.map(Optional.some) where strategy != .mapPopulate {
      var options = FileBytes.Options()
      options.strategy = strategy
      options.calibration = .builtIn
      var bytes = try FileBytes(path, access: .random(readSize: 100, count: 5), options: options)
      #expect(bytes.count == size)
      var part = [UInt8](repeating: 0, count: 200)
      let got = try unsafe part.withUnsafeMutableBytes { unsafe try bytes.copy(at: size - 100, into: $0) }
      #expect(got == 100 && part.prefix(100).elementsEqual(expected))
      let middle = try bytes.withBytes((5 << 30)..<(5 << 30) + 16) { unsafe $0.withUnsafeBytes { unsafe Array($0) } }
      #expect(middle == PatternFile.bytes((5 << 30)..<(5 << 30) + 16))
      #expect(try unsafe part.withUnsafeMutableBytes { unsafe try bytes.copy(at: size, into: $0) } == 0)
      for bad in [-1, Int64.min] {
        #expect(throws: MappingError.self) {
          try unsafe part.withUnsafeMutableBytes { unsafe try bytes.copy(at: bad, into: $0) }
        }
      }
      #expect(throws: MappingError.self) { try bytes.withBytes(size - 1..<size + 1) { $0.byteCount } }
      #expect(throws: MappingError.self) { try bytes.load(at: .max, as: UInt64.self) }
    }
    _ = file.path
  }
}
