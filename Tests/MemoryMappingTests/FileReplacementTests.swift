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

func replace(_ path: FilePath, _ bytes: [UInt8], options: ReplacementOptions = .init()) throws {
  try replaceFile(path, with: bytes.span.bytes, options: options)
}

/// True for the name of a file that a killed replacement of `name` can leave.
func isLeftover(_ found: String, of name: String) -> Bool {
  let prefix = ".\(name).pagewise-"
  return found.hasPrefix(prefix) && found.count == prefix.count + 8
    && found.dropFirst(prefix.count).allSatisfy(\.isHexDigit)
}

/// What is replaced, and what is kept.
@Suite struct FileReplacementTests {
  @Test func `a file gets its new content at once, and readers keep the old one whole`() throws {
    let folder = try TemporaryDirectory()
    let old = PatternFile.bytes(0..<20_000)
    let path = try folder.file("file", old)
    let reader = try MappedFile(path)
    let inode = fileStatus(path).inode
    for size in [0, 1, 4096, 100_001] {
      let new = [UInt8](repeating: 0xEE, count: size)
      try replace(path, new)
      #expect(try fileContent(path) == new)
      #expect(fileStatus(path).inode != inode)
    }
    #expect(try reader.content() == old)
    #expect(reader.fault == nil)
    #expect(names(in: folder.path) == ["file"])
    // From a mapping of itself.
    try replace(path, old)
    let own = try MappedFile(path)
    try replaceFile(path, with: own.bytes)
    #expect(try fileContent(path) == old)
  }

  @Test func `until the commit the old file is there and the new one beside it, and without one it goes away`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("file", [1, 2, 3])
    do {
      var new = try FileReplacement(path)
      let others = names(in: folder.path).filter { $0 != "file" }
      #expect(others.count == 1 && isLeftover(others[0], of: "file"), "\(others)")
      #expect(new.temporaryPath.lastComponent?.string == others[0])
      #expect(fileStatus(new.temporaryPath).mode & 0o7777 == 0o600, "nobody else's before it is complete")
      try new.append([UInt8(4), 5].span.bytes)
      try new.append([UInt8]().span.bytes)
      _ = try new.descriptor.writeAll(toAbsoluteOffset: 2, [6, 7])
      try new.append([UInt8(8)].span.bytes)
      #expect(try fileContent(path) == [1, 2, 3])
      try new.commit()
      #expect(try fileContent(path) == [4, 5, 6, 7, 8])
    }
    for isCancelled in [true, false] {
      var new = try FileReplacement(path)
      try new.append([UInt8(9)].span.bytes)
      #expect(names(in: folder.path).count == 2)
      if isCancelled { new.cancel() } else { _ = consume new }
      #expect(names(in: folder.path) == ["file"])
    }
    #expect(try fileContent(path) == [4, 5, 6, 7, 8])
    #expect(ProcessView.descriptors { $0.hasPrefix(folder.path.string) }.isEmpty)
  }

  @Test func `a new file has the permissions that were asked, less the umask`() async {
    await #expect(processExitsWith: .success) {
      umask(0o027)
      let folder = try TemporaryDirectory()
      var options = ReplacementOptions()
      try replace(folder.appending("a"), [1], options: options)
      options.permissions = .init(rawValue: 0o777)
      try replace(folder.appending("b"), [1], options: options)
      prove(fileStatus(folder.appending("a")).mode & 0o7777 == 0o640)
      prove(fileStatus(folder.appending("b")).mode & 0o7777 == 0o750)
    }
  }

  @Test func `mode and extended attributes are kept`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("file", [1])
    for mode in [0o600, 0o644, 0o755, 0o400, 0o000, 0o666] as [mode_t] {
      #expect(chmod(path.string, mode) == 0)
      let label = Array("label \(mode)".utf8)
      #expect(pgt_set_attribute(path.string, "user.pagewise", label, label.count) == 0)
      try replace(path, [2])
      #expect(fileStatus(path).mode & 0o7777 == UInt32(mode))
      var found = [UInt8](repeating: 0, count: 100)
      let size = pgt_get_attribute(path.string, "user.pagewise", &found, found.count)
      #expect(Array(found.prefix(Int(max(0, size)))) == label)
    }
  }

  @Test(.rootOnly("files of other users"))
  func `owner and group are kept by who may give them, and the strict form refuses where they cannot`() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      let path = try folder.file("file", [1])
      prove(chmod(folder.path.string, 0o777) == 0)
      prove(chown(path.string, 1234, 5678) == 0 && chmod(path.string, 0o6755) == 0)
      try replace(path, [2])
      var status = fileStatus(path)
      prove(status.owner == 1234 && status.group == 5678 && status.mode & 0o7777 == 0o6755)
      prove(pgt_set_user(65_534) == 0)
      var options = ReplacementOptions()
      options.requiresOwner = true
      let error = failure { try replace(path, [3], options: options) }
      prove(error?.code == .permissionDenied && error?.operation == .replace && error?.path == path)
      prove(try fileContent(path) == [2] && names(in: folder.path) == ["file"])
      try replace(path, [4])
      status = fileStatus(path)
      // Not the owner's rights for who is not the owner.
      prove(status.owner == 65_534 && status.mode & 0o7777 == 0o755)
      prove(try fileContent(path) == [4])
    }
  }

  @Test func `a symbolic link stays, and its target is replaced or made`() throws {
    let folder = try TemporaryDirectory()
    let inner = folder.appending("inner")
    #expect(mkdir(inner.string, 0o700) == 0)
    let target = inner.appending("target")
    let links = ["first": "inner/second", "absolute": target.string, "through": "inner/../first", "self": "self"]
    for (name, content) in links { #expect(symlink(content, folder.appending(name).string) == 0) }
    #expect(symlink("target", inner.appending("second").string) == 0)
    let before = names(in: folder.path)
    for (number, name) in ["first", "absolute", "through", "first"].enumerated() {
      try replace(folder.appending(name), [UInt8(number)])
      #expect(try fileContent(target) == [UInt8(number)], "\(name)")
      #expect(fileStatus(folder.appending(name)).mode & UInt32(S_IFMT) == UInt32(S_IFLNK))
      #expect(names(in: folder.path) == before && names(in: inner) == ["second", "target"])
    }
    #expect(failure { try replace(folder.appending("self"), [1]) }?.code == .symbolicLink)
  }

  @Test func `what is no regular file is refused and left alone`() throws {
    let folder = try TemporaryDirectory()
    let fifo = folder.appending("fifo")
    let socket = folder.appending("socket")
    #expect(
      fifo.withPlatformString { pgt_make_fifo($0) } == 0 && socket.withPlatformString { pgt_make_socket($0) } == 0)
    let file = try folder.file("file", [1])
    let before = names(in: folder.path)
    let table: [(FilePath, MappingError.Code)] = [
      (folder.path, .isDirectory), (fifo, .unsupportedFileType), (socket, .unsupportedFileType),
      ("/dev/null", .unsupportedFileType), ("", .notFound), (folder.appending("no/such"), .notFound),
      (file.appending("below"), .pathInvalid), ("/", .isDirectory), (folder.appending(".."), .isDirectory),
      (folder.appending(String(repeating: "x", count: 256)), .pathInvalid),
    ]
    withWatchdog("kinds of files", seconds: 30) {
      withEvery("path", in: table) { path, code in
        let error = failure { try replace(path, [1]) }
        check(
          error?.code == code && error?.operation == .replace && error?.path == path, "\(String(describing: error))")
      }
    }
    #expect(names(in: folder.path) == before)
  }

  @Test func `names of every length and any bytes are replaced, and the hidden name is valid`() throws {
    let folder = try TemporaryDirectory()
    withEvery("length", in: [1, 200, 235, 236, 237, 238, 239, 255]) { length in
      for unit in ["x", "é", "日", "😀"] {
        let count = length / unit.utf8.count
        let name =
          String(repeating: unit, count: count) + String(repeating: "y", count: length - count * unit.utf8.count)
        let path = folder.appending(name)
        try replace(path, [1])
        let new = try FileReplacement(path)
        let hidden = new.temporaryPath.lastComponent!.string
        check(hidden.utf8.count <= 255 && !hidden.contains("\u{FFFD}") && hidden.contains(".pagewise-"), hidden)
        check(name.hasPrefix(String(hidden.dropFirst().dropLast(18))), hidden)
        try new.commit()
        try check(fileContent(path) == [] && names(in: folder.path) == [name])
        check(unlink(path.string) == 0)
      }
    }
    // By a relative path, and with bytes that are no text.
    let bytes = folder.path.string.utf8.map { CChar($0) } + [47, -1, -2, 0]
    let path = bytes.withUnsafeBufferPointer { FilePath(platformString: $0.baseAddress!) }
    try replace(path, [7])
    #expect(try MappedFile(path).content() == [7])
    #expect(unlink(bytes) == 0 && names(in: folder.path) == [])
  }
}
