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

/// Opening and making files for writing.
@Suite struct MutableMappedFileTests {
  let page = SystemPage.size

  @Test func `a file is made with its size in zeros and without blocks, and never is when it must be there`() throws {
    let folder = try TemporaryDirectory()
    withEvery("size", in: [0, 1, page - 1, page, 3 * page + 5] as [Int]) { size in
      for creation in [
        MutableMappedFile.Creation.ifMissing(size: Int64(size)), .exclusive(size: Int64(size)),
      ] {
        let path = folder.appending("file")
        check(failure { _ = try MutableMappedFile(path) }?.code == .notFound, "opened what is not there")
        check(names(in: folder.path) == [], "made by never")
        do {
          let map = try MutableMappedFile(path, creating: creation)
          check(map.count == size && map.isEmpty == (size == 0) && map.path == path && map.fileOffset == 0)
          try check(map.content() == [UInt8](repeating: 0, count: size), "not zeros")
          check(fileStatus(path).size == size && fileStatus(path).allocated == 0)
          try map.close()
        }
        let again = try MutableMappedFile(path)
        check(again.count == size)
        check(unlink(path.string) == 0)
      }
    }
  }

  @Test func `exclusive is refused where there is a file, a link to nothing or a folder, and leaves it alone`() throws {
    let folder = try TemporaryDirectory()
    let file = try folder.file("file", [1, 2, 3])
    let link = folder.appending("link")
    #expect(symlink("nothing", link.string) == 0)
    for path in [file, link, folder.path] {
      let error = failure { _ = try MutableMappedFile(path, creating: .exclusive(size: 10)) }
      #expect(error?.code == .alreadyExists && error?.path == path && error?.operation == .create)
    }
    #expect(try fileContent(file) == [1, 2, 3])
    #expect(names(in: folder.path) == ["file", "link"])
    let error = failure { _ = try MutableMappedFile(link, creating: .ifMissing(size: 10)) }
    #expect(error?.code == .notFound && error?.path == link)
  }

  @Test func `ifMissing takes a file as it is, and gives an empty one the size`() throws {
    let folder = try TemporaryDirectory()
    let full = try folder.file("full", [1, 2, 3])
    let map = try MutableMappedFile(full, creating: .ifMissing(size: 100))
    #expect(map.count == 3)
    let empty = try folder.file("empty")
    let given = try MutableMappedFile(empty, creating: .ifMissing(size: 100))
    #expect(given.count == 100)
    let untouched = try folder.file("untouched")
    let none = try MutableMappedFile(untouched)
    #expect(none.isEmpty == true)
    let link = folder.appending("link")
    #expect(symlink("empty", link.string) == 0)
    let through = try MutableMappedFile(link, creating: .ifMissing(size: 7))
    #expect(through.count == 100)
  }

  @Test func `permissions are those that were asked, less the umask`() async {
    await #expect(processExitsWith: .success) {
      umask(0o027)
      let folder = try TemporaryDirectory()
      let cases: [(FilePermissions, UInt32)] = [
        (.init(rawValue: 0o666), 0o640), (.ownerReadWrite, 0o600), (.init(rawValue: 0o777), 0o750),
      ]
      for (number, (asked, expected)) in cases.enumerated() {
        let path = folder.appending("file\(number)")
        _ = try MutableMappedFile(path, creating: .exclusive(size: 1), permissions: asked)
        prove(fileStatus(path).mode & 0o7777 == expected)
        _ = try MutableMappedFile(path, creating: .ifMissing(size: 1), permissions: [.ownerReadWrite])
        prove(fileStatus(path).mode & 0o7777 == expected)
      }
    }
  }

  @Test func `processes that race to make one file never see fewer bytes than they asked, nor lose one`() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      for round in 0..<150 {
        let path = folder.appending("file\(round)")
        // Two ask for the same, one for less: whoever comes first decides, and no one cuts what another has stored.
        let sizes: [Int64] = [3 * 4096, 3 * 4096, 4096 + 1]
        let children = sizes.map { size -> pid_t in
          let pid = fork()
          if pid != 0 { return pid }
          do {
            var map = try MutableMappedFile(path, creating: .ifMissing(size: size))
            if map.count != 3 * 4096, map.count != 4097 { _exit(10) }
            if map.count < size, map.count != 4097 { _exit(11) }
            for _ in 0..<50 {
              try map.withMutableBytes(check: .size) { span in
                span.withUnsafeMutableBytes { pgt_store($0.baseAddress! + $0.count - 1, 7) }
              }
              if try map.load(at: map.count - 1, as: UInt8.self) != 7 { _exit(12) }
            }
            _exit(0)
          } catch { _exit(13) }
        }
        for child in children { prove(pgt_wait(child, 20_000) == 0) }
        prove(unlink(path.string) == 0)
      }
      prove(names(in: folder.path) == [])
    }
  }

  @Test func `what cannot be mapped for writing is told apart, at once`() throws {
    let folder = try TemporaryDirectory()
    let fifo = folder.appending("fifo")
    let socket = folder.appending("socket")
    #expect(fifo.withPlatformString { pgt_make_fifo($0) } == 0)
    #expect(socket.withPlatformString { pgt_make_socket($0) } == 0)
    let loop = folder.appending("loop")
    #expect(symlink("loop", loop.string) == 0)
    let file = try folder.file("file", [1])
    let link = folder.appending("link")
    #expect(symlink("file", link.string) == 0)
    let table: [(FilePath, MappingError.Code)] = [
      (folder.path, .isDirectory), (fifo, .unsupportedFileType), (socket, .unsupportedFileType),
      ("/dev/null", .unsupportedFileType), (loop, .symbolicLink), ("", .notFound),
      (file.appending("below"), .pathInvalid), (folder.appending("no/such"), .notFound),
      (folder.appending(String(repeating: "x", count: 300)), .pathInvalid),
    ]
    withWatchdog("kinds of files", seconds: 30) {
      withEvery("path", in: table) { path, expected in
        for creation in [MutableMappedFile.Creation.never, .ifMissing(size: 10)] {
          let error = failure { _ = try MutableMappedFile(path, creating: creation) }
          check(error?.code == expected && error?.path == path, "\(String(describing: error)) and not \(expected)")
        }
      }
    }
    var options = MappedFile.Options()
    options.followsSymbolicLinks = false
    #expect(failure { _ = try MutableMappedFile(link, options: options) }?.code == .symbolicLink)
    #expect(names(in: folder.path) == ["fifo", "file", "link", "loop", "socket"])
  }

  @Test func `options for readers, negative sizes and ranges outside are refused, and leave no file behind`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("file")
    for stability in [MappedFile.Options.Stability.sealed, .lease, .snapshot] {
      var options = MappedFile.Options()
      options.stability = stability
      #expect(
        failure { _ = try MutableMappedFile(path, creating: .exclusive(size: 1), options: options) }?.code
          == .notSupported)
    }
    var options = MappedFile.Options()
    options.keepsDescriptor = false
    #expect(
      failure { _ = try MutableMappedFile(path, creating: .exclusive(size: 1), options: options) }?.code
        == .notSupported)
    withEvery("size", in: [-1, .min] as [Int64]) { size in
      check(failure { _ = try MutableMappedFile(path, creating: .exclusive(size: size)) }?.code == .invalidRange)
      check(failure { _ = try MutableMappedFile(path, creating: .ifMissing(size: size)) }?.code == .invalidRange)
    }
    #expect(failure { _ = try MutableMappedFile(path, creating: .exclusive(size: .max)) } != nil)
    withEvery(
      "range", in: [(0, 101), (100, 1), (101, nil), (-1, nil), (.max, .max), (.min, .min), (1, -1)] as [(Int64, Int?)]
    ) {
      offset, length in
      for creation in [MutableMappedFile.Creation.exclusive(size: 100), .ifMissing(size: 100)] {
        let error = failure { _ = try MutableMappedFile(path, creating: creation, offset: offset, length: length) }
        check(error?.code == .invalidRange, "\(String(describing: error))")
        check(names(in: folder.path) == [], "a file was left")
      }
    }
  }

  @Test(.rootOnly("files that another user may not write"))
  func `a file that may not be written is an error for writing, and can be mapped privately`() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      let path = try folder.file("file", [1, 2, 3])
      prove(chmod(folder.path.string, 0o755) == 0 && chmod(path.string, 0o644) == 0 && pgt_set_user(65_534) == 0)
      prove(failure { _ = try MutableMappedFile(path) }?.code == .permissionDenied)
      prove(failure { _ = try MutableMappedFile(path, creating: .ifMissing(size: 9)) }?.code == .permissionDenied)
      prove(
        failure { _ = try MutableMappedFile(folder.appending("new"), creating: .exclusive(size: 1)) }?.code
          == .permissionDenied)
      let descriptor = try FileDescriptor.open(path, .readOnly)
      prove(failure { _ = try MutableMappedFile(descriptor: descriptor) }?.code == .permissionDenied)
      var options = MappedFile.Options()
      options.sharing = .private
      var map = try MutableMappedFile(descriptor: descriptor, options: options)
      try map.store(UInt8(9), at: 1)
      prove(try map.content() == [1, 9, 3] && fileContent(path) == [1, 2, 3])
    }
  }

  @Test(.rootOnly("a read-only mount"))
  func `a read-only file system says so`() throws {
    let disk = try MountedImage(tmpfs: 1 << 20)
    let path = disk.appending("file")
    _ = try MutableMappedFile(path, creating: .exclusive(size: 10))
    #expect(try Child.succeeds("mount", "-o", "remount,ro", disk.path.string))
    #expect(failure { _ = try MutableMappedFile(path) }?.code == .readOnly)
    #expect(
      failure { _ = try MutableMappedFile(disk.appending("new"), creating: .ifMissing(size: 1)) }?.code == .readOnly)
  }

  @Test func `any offset and length gives these bytes, and the descriptor ends with the mapping`() throws {
    let folder = try TemporaryDirectory()
    let size = 3 * page + 7
    let path = try folder.file("file", PatternFile.bytes(0..<Int64(size)))
    withEvery("offset", in: [0, 1, page - 1, page, page + 1, size - 1, size]) { offset in
      let lengths = [0, 1, page, size - offset].filter { $0 <= size - offset }
      withEvery("length", in: Set(lengths).map(Optional.some) + [nil]) { length in
        let map = try MutableMappedFile(path, offset: Int64(offset), length: length)
        let expected = Int64(offset)..<Int64(offset + (length ?? size - offset))
        check(map.count == expected.count && map.fileOffset == Int64(offset))
        try check(map.content() == PatternFile.bytes(expected), "other bytes")
        check(ProcessView.descriptors { $0 == path.string }.map(\.isClosedOnExec) == [true])
      }
    }
    #expect(ProcessView.descriptors { $0 == path.string }.isEmpty)
  }
}
