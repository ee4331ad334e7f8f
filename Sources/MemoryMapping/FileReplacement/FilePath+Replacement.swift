// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

extension FilePath {
  /// The file that a replacement of this path is about: the end of its symbolic links, and what is there now, if anything.
  internal func replacementTarget() throws(MappingError) -> (target: FilePath, old: pgw_stat?) {
    var target = self
    // The kernel's own limit of links in a path.
    for _ in 0...40 {
      var found = pgw_stat()
      let isFound = unsafe target.withPlatformString { unsafe pgw_stat_path($0, false, &found) } == 0
      guard isFound else {
        let error = MappingError.last(.replace, path: self)
        guard error.code == .notFound, let name = target.lastComponent, name.kind == .regular else { throw error }
        return (target, nil)
      }
      switch OpenedFile.kind(of: found.mode) {
      case .regular: return (target, found)
      case .directory: throw MappingError(.isDirectory, operation: .replace, path: self)
      case .symbolicLink: target = target.removingLastComponent().pushing(try target.linkContent(for: self))
      default: throw MappingError(.unsupportedFileType, operation: .replace, path: self)
      }
    }
    throw MappingError(.symbolicLink, operation: .replace, errno: .tooManySymbolicLinkLevels, path: self)
  }

  private func linkContent(for path: FilePath) throws(MappingError) -> FilePath {
    let text = unsafe withPlatformString { unsafe pgw_read_link($0) }
    guard let text = unsafe text else { throw .last(.replace, path: path) }
    defer { unsafe free(text) }
    return unsafe FilePath(platformString: text)
  }

  /// Opens the old file for its attributes alone: in whichever way this user may.
  internal func openModel(_ path: FilePath) throws(MappingError) -> CInt {
    let flags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
    var opened = unsafe withPlatformString { unsafe pgw_storage_open($0, O_RDONLY | flags, 0) }
    if opened < 0, Errno.current == .permissionDenied {
      opened = unsafe withPlatformString { unsafe pgw_storage_open($0, O_WRONLY | flags, 0) }
    }
    guard opened >= 0 else { throw .last(.replace, path: path) }
    return opened
  }

  /// Makes a file of its own beside this one.
  internal func makeTemporary(mode: CInt, for path: FilePath) throws(MappingError) -> (FilePath, CInt) {
    var keepsName = true
    for _ in 0..<100 {
      var random: UInt32 = 0
      guard unsafe withUnsafeMutableBytes(of: &random, { unsafe pgw_random($0.baseAddress!, $0.count) }) == 0 else {
        throw .last(.replace, path: path)
      }
      let temporary = temporaryName(random, keepsName: keepsName)
      let made = unsafe temporary.withPlatformString {
        unsafe pgw_storage_open($0, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode)
      }
      if made >= 0 { return (temporary, made) }
      switch Errno.current {
      case .fileExists: continue
      // A file system with shorter names, or a path near its own limit.
      case .fileNameTooLong where keepsName: keepsName = false
      default: throw .last(.replace, path: path)
      }
    }
    throw MappingError(.busy, operation: .replace, path: path)
  }

  /// `.NAME.pagewise-XXXXXXXX`, or without the name. At most 255 bytes.
  private func temporaryName(_ random: UInt32, keepsName: Bool) -> FilePath {
    let digits = String(random, radix: 16)
    let suffix = Array((".pagewise-" + String(repeating: "0", count: 8 - digits.count) + digits).utf8)
    var name: [UInt8] = []
    if keepsName, let component = lastComponent {
      name = unsafe component.withPlatformString { characters in
        unsafe UnsafeBufferPointer(start: characters, count: strlen(characters)).map { UInt8(bitPattern: $0) }
      }
      let room = 255 - 1 - suffix.count
      if name.count > room {
        // Not inside a character: some file systems want UTF-8.
        var end = room
        while end > room - 4, name[end] & 0xC0 == 0x80 { end -= 1 }
        name.removeLast(name.count - end)
      }
    }
    let whole = (keepsName ? [UInt8(ascii: ".")] : []) + name + suffix
    let characters = whole.map { CInterop.PlatformChar(truncatingIfNeeded: $0) } + [0]
    let component = unsafe characters.withUnsafeBufferPointer { unsafe Component(platformString: $0.baseAddress!) }
    return removingLastComponent().appending(component!)
  }
}
