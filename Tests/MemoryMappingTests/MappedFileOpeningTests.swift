// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

extension MappedFile {
  /// All bytes of the view.
  borrowing func content() throws -> [UInt8] {
    try withBytes(check: .size) { (span: RawSpan) -> [UInt8] in span.withUnsafeBytes { Array($0) } }
  }
}

/// What can be mapped, which part of it, and what the rest is told.
@Suite struct MappedFileOpeningTests {
  let page = SystemPage.size

  /// The error's code, or nil when it was mapped.
  private func code(
    _ path: FilePath, offset: Int64 = 0, length: Int? = nil, _ change: (inout MappedFile.Options) -> Void = { _ in }
  ) -> MappingError.Code? {
    var options = MappedFile.Options()
    change(&options)
    do throws(MappingError) {
      _ = try MappedFile(path, offset: offset, length: length, options: options)
      return nil
    } catch {
      check(error.path == path, "the error names \(String(describing: error.path))")
      return error.code
    }
  }

  @Test func `any offset and length of a file of any size gives these bytes`() throws {
    let folder = try TemporaryDirectory()
    let sizes = [0, 1, page - 1, page, page + 1, 2 * page, 3 * page + 7]
    withEvery("size", in: sizes) { size in
      let path = try folder.file("f\(size)", PatternFile.bytes(0..<Int64(size)))
      let offsets = [0, 1, page - 1, page, page + 1, size - 1, size].filter { (0...size).contains($0) }
      withEvery("offset", in: Set(offsets)) { offset in
        let lengths = [0, 1, page - 1, page, page + 1, size - offset].filter { (0...size - offset).contains($0) }
        withEvery("length", in: Set(lengths).map(Optional.some) + [nil]) { length in
          let map = try MappedFile(path, offset: Int64(offset), length: length)
          let expected = Int64(offset)..<Int64(offset + (length ?? size - offset))
          check(map.count == expected.count && map.isEmpty == expected.isEmpty && map.fileOffset == Int64(offset))
          try check(map.content() == PatternFile.bytes(expected), "other bytes")
          try map.probe()
          try map.close()
        }
      }
    }
  }

  @Test func `a range that does not lie in the file is an error, whatever the numbers`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("file", PatternFile.bytes(0..<5000))
    withEvery(
      "range",
      in: [
        (0, 5001), (1, 5000), (5000, 1), (5001, nil), (5001, 0), (-1, nil), (-1, 1), (0, -1), (.max, nil), (.max, .max),
        (.min, .min), (1, .max), (.max, 0), (4096, 905),
      ] as [(Int64, Int?)]
    ) { offset, length in
      check(code(path, offset: offset, length: length) == .invalidRange, "it was mapped")
    }
    let map = try MappedFile(path)
    withEvery("bounds", in: [-1..<0, -1..<1, 0..<5001, 5001..<5001, .min..<0, 0..<Int.max]) { bounds in
      check((try? map.withBytes(bounds) { $0.byteCount }) == nil, "a scope")
      check((try? map.advise(.normal, bounds)) == nil && (try? map.probe(bounds)) == nil, "pages")
      var bytes = [UInt8](repeating: 0, count: 8000)
      check((try? bytes.withUnsafeMutableBytes { try map.copy(bounds, into: $0) }) == nil, "a copy")
    }
    // A destination that is too small is refused as well.
    var small = [UInt8](repeating: 0, count: 4)
    #expect(throws: MappingError.self) { try small.withUnsafeMutableBytes { try map.copy(0..<5, into: $0) } }
  }

  @Test func `the far end of a sparse file above 4 GiB is mapped`() throws {
    let folder = try TemporaryDirectory()
    let size: Int64 = 5 << 30 | 77
    let file = try PatternFile(folder.appending("sparse"), size: size, windows: [size - 10_000..<size])
    let all = try MappedFile(file.path)
    #expect(Int64(all.count) == size)
    var bytes = [UInt8](repeating: 0, count: 100)
    try bytes.withUnsafeMutableBytes { try all.copy(all.count - 100..<all.count, into: $0) }
    #expect(bytes == PatternFile.bytes(size - 100..<size))
    let tail = try MappedFile(file.path, offset: size - 9_999)
    try check(tail.content() == PatternFile.bytes(size - 9_999..<size), "other bytes")
  }

  @Test func `each kind that cannot be mapped is told apart, at once`() throws {
    let folder = try TemporaryDirectory()
    let fifo = folder.appending("fifo")
    let socket = folder.appending("socket")
    #expect(fifo.withPlatformString { pgt_make_fifo($0) } == 0)
    #expect(socket.withPlatformString { pgt_make_socket($0) } == 0)
    let loop = folder.appending("loop")
    #expect(symlink("loop", loop.string) == 0)
    let file = try folder.file("file", [1, 2, 3])
    let table: [(FilePath, MappingError.Code)] = [
      (folder.path, .isDirectory), (fifo, .unsupportedFileType), (socket, .unsupportedFileType),
      ("/dev/null", .unsupportedFileType), ("/dev/zero", .unsupportedFileType), (loop, .symbolicLink),
      ("/proc/self/status", .unsupportedFileType), (folder.appending("missing"), .notFound), ("", .notFound),
      (file.appending("below"), .pathInvalid),
      (folder.appending(String(repeating: "x", count: 300)), .pathInvalid),
    ]
    // Nobody writes to the FIFO: opening it must not wait for somebody.
    withWatchdog("kinds of files", seconds: 30) {
      withEvery("path", in: table) { path, expected in
        let found = code(path)
        check(found == expected, "\(found.map { "\($0)" } ?? "mapped") instead of \(expected)")
      }
    }
    let pipe = try FileDescriptor.pipe()
    defer {
      try? pipe.readEnd.close()
      try? pipe.writeEnd.close()
    }
    #expect { _ = try MappedFile(descriptor: pipe.readEnd) } throws: {
      ($0 as? MappingError)?.code == .unsupportedFileType
    }
    #expect(throws: MappingError.self) { _ = try MappedFile(descriptor: FileDescriptor(rawValue: 9_999)) }
  }

  @Test func `a symbolic link is followed, or refused where the options say so`() throws {
    let folder = try TemporaryDirectory()
    let file = try folder.file("file", [1, 2, 3])
    let link = folder.appending("link")
    #expect(symlink("file", link.string) == 0)
    #expect(try MappedFile(link).content() == [1, 2, 3])
    #expect(code(link) { $0.followsSymbolicLinks = false } == .symbolicLink)
    #expect(code(file) { $0.followsSymbolicLinks = false } == nil)
  }

  @Test func `a path is bytes: newlines, quotes and what is no UTF-8 are names like others`() throws {
    let folder = try TemporaryDirectory()
    let names: [[UInt8]] = [
      Array("a\nb'\"\\ \t*".utf8), [0xFF, 0xFE, 0x41], Array("é\u{301}日本".utf8), Array("-".utf8),
    ]
    for name in names {
      var characters = folder.appending("x").withPlatformString {
        Array(UnsafeBufferPointer(start: $0, count: strlen($0)))
      }
      characters.removeLast()
      let path = (characters + name.map { CChar(bitPattern: $0) } + [0]).withUnsafeBufferPointer {
        FilePath(platformString: $0.baseAddress!)
      }
      let file = try FileDescriptor.open(path, .writeOnly, options: .create, permissions: .ownerReadWrite)
      try file.closeAfter { _ = try file.writeAll(name) }
      #expect(try MappedFile(path).content() == name)
    }
  }

  @Test(.rootOnly("a file that another user may not read"))
  func `a file that this user may not read is an error`() async throws {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      let path = try folder.file("secret", [1])
      // The folder may be entered, so it is the file that refuses.
      guard chmod(folder.path.string, 0o755) == 0, chmod(path.string, 0) == 0, pgt_set_user(65_534) == 0 else {
        exit(3)
      }
      do throws(MappingError) {
        _ = try MappedFile(path)
        exit(4)
      } catch { exit(error.code == .permissionDenied ? 0 : 5) }
    }
  }

  @Test(.rootOnly("a loop device"))
  func `a block device is mapped in its whole size`() throws {
    let folder = try TemporaryDirectory()
    let size = Int64(64 * page)
    let image = try PatternFile(folder.appending("image"), size: size)
    var name = [CChar](repeating: 0, count: 64)
    let loop = image.path.withPlatformString { pgt_loop_attach($0, &name, name.count) }
    try #require(loop >= 0)
    defer { close(loop) }
    let device = FilePath(String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    let map = try MappedFile(device)
    #expect(Int64(map.count) == size)
    try check(map.content() == PatternFile.bytes(0..<size), "other bytes")
    #expect(code(device, offset: size - 1, length: 2) == .invalidRange)
  }

  @Test func `the kept descriptor is closed on exec and with the mapping, the caller's own stays open`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("file", [1, 2, 3])
    func open() -> [Bool] { ProcessView.descriptors { $0 == path.string }.map(\.isClosedOnExec) }
    let map = try MappedFile(path)
    #expect(open() == [true])
    try map.close()
    #expect(open() == [])
    var options = MappedFile.Options()
    options.keepsDescriptor = false
    let bare = try MappedFile(path, options: options)
    #expect(open() == [])
    #expect(try bare.withBytes { $0.byteCount } == 3)
    // A failure leaves nothing behind either.
    #expect(code(path, offset: 4) == .invalidRange && code(path) { $0.stability = .sealed } == .notSealed)
    #expect(open() == [])

    let own = try FileDescriptor.open(path, .readOnly)
    do {
      let second = try MappedFile(descriptor: own, path: path)
      #expect(second.path == path)
      #expect(open().sorted { !$0 && $1 } == [false, true])
    }
    #expect(open() == [false])
    try own.close()
  }

  @Test func `identity and currency tell of each kind of change`() throws {
    let folder = try TemporaryDirectory()
    let file = try PatternFile(folder.appending("file"), size: 5000)
    let map = try MappedFile(file.path)
    #expect(map.identity.size == 5000 && map.isCurrent)
    pgt_sleep_us(20_000)
    _ = try file.descriptor.writeAll(toAbsoluteOffset: 10, [9])
    #expect(map.isCurrent == false)
    let again = try MappedFile(file.path)
    #expect(again.isCurrent && again.identity.inode == map.identity.inode)
    #expect(again.identity.modified > map.identity.modified)
    try file.resize(4000)
    #expect(again.isCurrent == false)
  }
}
