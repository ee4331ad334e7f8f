// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

@testable import PageCache

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// An address becomes a byte of a file and a reason.
@Suite(.serialized) struct ExplanationTests {
  static let page = Int64(SystemPage.size)
  static let upage = UInt64(SystemPage.size)

  // MARK: Processes that run

  @Test func `an address of a process is the byte of the file that it shows`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<8 * Self.page))
    let child = try HoldingChild(path, [pgt_hold(4 * Self.page, 4 * Self.page)])
    let address = child.addresses[0] + Self.upage + 5
    let found = try AddressExplanation(address, inProcess: child.id)
    #expect(found.place == .file && found.address == address && found.signal == nil)
    #expect(found.mapping?.path == path && found.mapping?.addresses.lowerBound == child.addresses[0])
    #expect(found.fileOffset == 5 * Self.upage + 5 && found.filePage == 5)
    #expect(
      found.file?.size == 8 * Self.page && found.file?.naming == .present && found.file?.isMappedFileItself == true)
    #expect(found.cause.contains("the mapping allows reading:") && found.below == nil && found.above == nil)
    #expect(truncate(path.string, Int(5 * Self.page) + 1) == 0)
    #expect(try AddressExplanation(address, inProcess: child.id).place == .file)
    #expect(truncate(path.string, Int(5 * Self.page)) == 0)
    let cut = try AddressExplanation(address, inProcess: child.id)
    #expect(cut.place == .pastEnd && cut.cause.contains("An access is a SIGBUS: the file has \(5 * Self.page) bytes,"))
    try folder.file("new", PatternFile.bytes(0..<8 * Self.page))
    #expect(rename(folder.appending("new").string, path.string) == 0)
    let replaced = try AddressExplanation(address, inProcess: child.id)
    guard Skips.require(replaced.file != nil, "replaced files", install: "run the tests as root") else { return }
    // The mapped file, not the one that has its name.
    #expect(replaced.place == .pastEnd && replaced.file?.naming == .replaced && replaced.file?.size == 5 * Self.page)
    #expect(replaced.cause.contains("Another file has taken its name"))
    #expect(unlink(path.string) == 0)
    #expect(try AddressExplanation(address, inProcess: child.id).file?.naming == .deleted)
  }

  @Test func `an address of a process whose main thread has ended is found`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<4 * Self.page))
    let child = try HoldingChild(path, [pgt_hold(Self.page, 3 * Self.page)], threads: .mainEnded)
    let address = child.addresses[0] + Self.upage + 5
    let found = try AddressExplanation(address, inProcess: child.id)
    #expect(found.place == .file && found.fileOffset == 2 * Self.upage + 5 && found.mapping?.path == path)
    #expect(found.file?.size == 4 * Self.page && found.file?.naming == .present)
    if case .process(let identity) = found.source {
      #expect(identity.id == child.id && identity.user == geteuid() && !identity.name.isEmpty)
    } else {
      Issue.record("the source is no process")
    }
    #expect(truncate(path.string, Int(Self.page)) == 0)
    #expect(try AddressExplanation(address, inProcess: child.id).place == .pastEnd)
    #expect(unlink(path.string) == 0)
    let deleted = try AddressExplanation(address, inProcess: child.id)
    guard Skips.require(deleted.file != nil, "deleted files", install: "run the tests as root") else { return }
    #expect(deleted.place == .pastEnd && deleted.file?.naming == .deleted && deleted.file?.isMappedFileItself == true)
  }

  @Test func `a hole below a shared mapping for writing is told`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f")
    #expect(truncate(path.string, Int(4 * Self.page)) == 0)
    let child = try HoldingChild(path, [pgt_hold(0, 4 * Self.page, stores: Self.page, writable: true)])
    let hole = try AddressExplanation(child.addresses[0] + 3 * Self.upage, inProcess: child.id)
    #expect(hole.place == .file && hole.file?.isHole == true && hole.cause.contains("the page is a hole"))
    #expect((hole.file?.freeBytes ?? 0) > 0)
    guard hole.file?.fileSystem != "tmpfs" else { return }
    let stored = try AddressExplanation(child.addresses[0], inProcess: child.id)
    #expect(stored.file?.isHole == false && !stored.cause.contains("hole"))
  }

  @Test func `addresses that no mapping holds have their neighbours`() throws {
    let pid = getpid()
    let page = Int(Self.page)
    // Another test's thread may be given the pages between, for its own mapping: then the next place is tried.
    var bases: [UnsafeMutableRawPointer] = []
    defer {
      for base in bases {
        _ = pgt_unmap(base, page)
        _ = pgt_unmap(base + 2 * page, page)
      }
    }
    func explainGap() throws -> (at: UInt64, gap: AddressExplanation, end: AddressExplanation) {
      let base = try #require(pgt_map_anonymous(3 * page))
      #expect(pgt_unmap(base + page, page) == 0)
      bases.append(base)
      let at = UInt64(UInt(bitPattern: base))
      let gap = try AddressExplanation(at + Self.upage + 7, inProcess: pid)
      return (at, gap, try AddressExplanation(at + 2 * Self.upage - 3, inProcess: pid))
    }
    var (at, gap, end) = try explainGap()
    while gap.place != .unmapped || end.place != .unmapped, bases.count < 100 { (at, gap, end) = try explainGap() }
    #expect(gap.place == .unmapped && gap.mapping == nil && gap.file == nil && gap.fileOffset == nil)
    #expect(
      gap.below?.addresses.upperBound == at + Self.upage && gap.above?.addresses.lowerBound == at + 2 * Self.upage)
    #expect(gap.cause.contains("which ends 7 bytes before"))
    #expect(end.place == .unmapped && end.cause.contains("which begins 3 bytes after"))
    #expect(try AddressExplanation(at, inProcess: pid).place == .memory)
    for address in [0, 16, 0xFFFF] as [UInt64] {
      #expect(try AddressExplanation(address, inProcess: pid).place == .nullPointer)
    }
    #expect(try AddressExplanation(.max, inProcess: pid).place == .notUser)
    #expect { try AddressExplanation(0, inProcess: .max) } throws: { ($0 as? MappingError)?.code == .notFound }
  }

  // MARK: Cores

  /// A core that a child of this test left; nil where the kernel gives none.
  static func core(_ folder: borrowing TemporaryDirectory, _ kind: Int, _ path: FilePath?) throws -> (
    core: FilePath, address: UInt64, signal: Int, process: Int32
  )? {
    let pattern = ProcessView.text("/proc/sys/kernel/core_pattern")
    guard
      Skips.require(
        !pattern.hasPrefix("|") && !pattern.contains("/") && !pattern.contains("%"), "real cores",
        install: "sysctl kernel.core_pattern=core")
    else { return nil }
    var address: UInt = 0
    let pid = folder.path.withPlatformString { place in
      path?.withPlatformString { pgt_fork_crash(place, $0, CInt(kind), &address) }
        ?? pgt_fork_crash(place, nil, CInt(kind), &address)
    }
    try #require(pid > 0)
    let status = Int(pgt_wait(pid, 20_000))
    let name = pattern.dropLast()
    let found = ["\(name)", "\(name).\(pid)"].map { folder.appending($0) }.first { access($0.string, R_OK) == 0 }
    guard Skips.require(found != nil, "real cores", install: "ulimit -H -c unlimited") else { return nil }
    return (found!, UInt64(address), status - 256, pid)
  }

  @Test func `a real core of a SIGBUS gives the byte past the end`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<Self.page))
    guard let made = try Self.core(folder, Int(PGT_CRASH_PAST_END), path) else { return }
    #expect(made.signal == SIGBUS)
    let found = try AddressExplanation(inCore: made.core)
    #expect(found.address == made.address && found.place == .pastEnd)
    #expect(
      found.signal == FaultSignal(number: 7, code: 2, address: made.address) && found.signal?.codeName == "BUS_ADRERR")
    #expect(found.fileOffset == Self.upage + 0x10 && found.filePage == 1 && found.mapping?.path == path)
    #expect(found.mapping?.permissions == .read && found.mapping?.isShared == nil)
    #expect(found.file?.size == Self.page && found.file?.naming == .present && found.file?.isMappedFileItself == false)
    #expect(found.cause.contains("The access was a SIGBUS because the file has \(Self.page) bytes now"))
    if case .core(let core, let process, let name) = found.source {
      #expect(core == made.core && process == made.process && name?.isEmpty == false)
    } else {
      Issue.record("the source is no core")
    }
    // Other addresses of it are asked about without its signal.
    let other = try AddressExplanation(made.address - 0x10 - Self.upage, inCore: made.core)
    #expect(other.place == .file && other.cause.contains("such an access goes well"))
    // What has come into its place since is not judged as if it had been there.
    try folder.file("f", PatternFile.bytes(0..<2 * Self.page))
    let grown = try AddressExplanation(inCore: made.core)
    #expect(grown.place == .file && grown.cause.contains("has grown again since"))
    #expect(unlink(path.string) == 0)
    let gone = try AddressExplanation(inCore: made.core)
    #expect(gone.place == .unknownFile && gone.file?.naming == .deleted && gone.file?.size == nil)
  }

  @Test func `real cores of SIGSEGVs are told apart`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<2 * Self.page))
    for (kind, place, words) in [
      (PGT_CRASH_READ_ONLY, AddressExplanation.Place.file, "a store to a read-only mapping of the file"),
      (PGT_CRASH_UNMAPPED, .nullPointer, "a nil pointer, with 16 added"),
      (PGT_CRASH_STACK, .stackOverflow, "the stack was too small"),
    ] {
      let cores = try TemporaryDirectory()
      guard let made = try Self.core(cores, Int(kind), path) else { return }
      #expect(made.signal == SIGSEGV)
      let found = try AddressExplanation(inCore: made.core)
      #expect(found.place == place && found.cause.contains(words), "\(kind): \(found.place) \(found.cause)")
      #expect(found.signal?.number == 11)
      if Int(kind) != Int(PGT_CRASH_STACK) { #expect(found.address == made.address) }
    }
  }

  @Test func `a real core of an abort has no address, and says so`() throws {
    let folder = try TemporaryDirectory()
    guard let made = try Self.core(folder, Int(PGT_CRASH_ABORT), nil) else { return }
    #expect(made.signal == SIGABRT)
    #expect { try AddressExplanation(inCore: made.core) } throws: {
      "\($0)".contains("it was ended by SIGABRT, which has none; give an ADDRESS")
        && ($0 as? MappingError)?.code == .wrongState
    }
    #expect(try AddressExplanation(16, inCore: made.core).place == .nullPointer)
  }

  @Test(arguments: [true, false]) func `a core made byte by byte is read`(_ is64: Bool) throws {
    var image = CoreImage.example(is64: is64)
    for inSection in [false, true] {
      image.countsInSection = inSection
      let core = try CoreFile(image.bytes)
      #expect(core.process == 1234 && core.name == "program" && core.stackPointer == 0x20_2000 && core.pageSize == 4096)
      #expect(core.signal == FaultSignal(number: 7, code: 2, address: 0x10_1010))
      #expect(core.mappings.map(\.addresses.lowerBound) == [0x10_0000, 0x10_2000, 0x20_0000, 0x20_1000])
      #expect(core.mappings.map(\.permissions) == [.read, [.read, .write], [], [.read, .write]])
      #expect(core.mappings.map(\.offset) == [0x3000, 0, 0, 0])
      #expect(core.mappings[0].path == "/no such folder/data" && core.mappings[1].isDeleted)
      #expect(core.mappings[2].path == nil && core.mappings[0].isShared == nil)
    }
    let folder = try TemporaryDirectory()
    let found = try AddressExplanation(inCore: try folder.file("core", image.bytes))
    #expect(found.fileOffset == 0x4010 && found.filePage == 4 && found.place == .unknownFile)
    // The page size is that of the machine that wrote it.
    image.pageSize = 65536
    let large = try AddressExplanation(inCore: try folder.file("core", image.bytes))
    #expect(large.fileOffset == 0x3_1010 && large.filePage == 3)
  }

  @Test func `what is wrong with a core is said`() throws {
    func reason(_ change: (inout [UInt8]) -> Void) -> String {
      var bytes = CoreImage.example().bytes
      change(&bytes)
      do throws(MappingError) {
        _ = try CoreFile(bytes)
        return "none"
      } catch {
        return error.code == .unknownFormat ? "\(error)" : "another code: \(error)"
      }
    }
    #expect(reason { _ in } == "none")
    #expect(reason { $0 = [] }.contains("ends before its header"))
    #expect(reason { $0[0] = 0 }.contains("does not begin as an ELF file"))
    #expect(reason { $0[4] = 3 }.contains("neither 32 nor 64 bits"))
    #expect(reason { $0[5] = 2 }.contains("big endian"))
    #expect(reason { $0[16] = 2 }.contains("no core"))
    #expect(
      reason {
        $0[32] = 0xFF
        $0[39] = 0xFF
      }.contains("ends before its program headers"))
    #expect(reason { $0[54] = 8 }.contains("too short"))
    #expect(reason { $0[56] = 0 }.contains("no program headers"))
    #expect(reason { $0[64] = 1 }.contains("no notes"))
    // The size of the notes: more than there are, and more than are read.
    #expect(reason { $0[64 + 34] = 1 }.contains("ends before its notes"))
    #expect(reason { $0[64 + 38] = 1 }.contains("its notes have"))
    // A mapping that ends past all addresses.
    #expect(
      reason { $0.replaceSubrange(120 + 16..<120 + 24, with: [UInt8](repeating: 0xFF, count: 8)) }.contains("past all"))
    let empty = CoreImage()
    let folder = try TemporaryDirectory()
    #expect { try AddressExplanation(inCore: folder.path) } throws: {
      ($0 as? MappingError)?.code == .unsupportedFileType
    }
    #expect(try CoreFile(empty.bytes).mappings.isEmpty)
  }

  @Test(arguments: [true, false]) func `a damaged core is an error or a core, never the end`(_ is64: Bool) throws {
    var image = CoreImage.example(is64: is64)
    image.countsInSection = is64
    let good = image.bytes
    var random = Random(seed: is64 ? 1 : 2)
    var read = 0
    func attempt(_ bytes: [UInt8]) {
      do throws(MappingError) {
        let core = try CoreFile(bytes)
        read += 1
        for address in [core.signal?.address ?? 0, .max, random.next()] {
          let found = AddressExplanation(
            address, core.mappings, .savedMaps, signal: core.signal, stackPointer: core.stackPointer,
            pageSize: core.pageSize, file: { _, _ in nil })
          #expect(!found.cause.isEmpty && !found.remedy.isEmpty)
        }
        #expect(core.mappings.allSatisfy { !$0.addresses.isEmpty })
      } catch {
        #expect(error.code == .unknownFormat && "\(error)".hasPrefix("cannot read the core"))
      }
    }
    for length in 0..<good.count { attempt(Array(good.prefix(length))) }
    for place in good.indices {
      for value in [0, 0xFF, good[place] ^ 1, UInt8(truncatingIfNeeded: random.next())] {
        var bytes = good
        bytes[place] = value
        attempt(bytes)
      }
    }
    for _ in 0..<2000 {
      var bytes = good
      for _ in 0..<8 { bytes[random.below(bytes.count)] = UInt8(truncatingIfNeeded: random.next()) }
      attempt(bytes)
    }
    // Most changes leave a core that can be read: the attempts reach past the first checks.
    #expect(read > 1000)
  }

  // MARK: Saved texts

  @Test func `saved maps and smaps are read, and the first wrong line is named`() throws {
    let maps = "1000-2000 r--p 00000000 00:00 0\r\n3000-5000 rw-s 00001000 08:01 7   /no such/f\r\n\r\n"
    let found = try AddressExplanation(0x4010, inMaps: Array(maps.utf8))
    #expect(found.place == .unknownFile && found.fileOffset == 0x2010 && found.mapping?.name == "/no such/f")
    #expect(found.file?.naming == .deleted)
    let smaps = "3000-5000 rw-s 00001000 08:01 7   /f\nRss:   4 kB\nVmFlags: rd wr\nTHPeligible:    0\n"
    #expect(try AddressExplanation(0x3000, inMaps: Array(smaps.utf8)).mapping?.length == 0x2000)
    for (text, words) in [
      ("", "no line"), ("\n\n", "no line"), ("Rss: 4 kB\n", "no line"), ("hello", "line 1 is none"),
      (maps + "2000", "line 4 is none"), ("\u{0}", "line 1"), (smaps + "rss: 1\n", "line 5"), (":", "line 1"),
    ] {
      #expect { try AddressExplanation(0, inMaps: Array(text.utf8)) } throws: {
        "\($0)".contains(words) && ($0 as? MappingError)?.code == .unknownFormat
      }
    }
  }

  @Test func `a saved text is compared with the file as it is now`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<Self.page))
    let child = try HoldingChild(path, [pgt_hold(0, 2 * Self.page)])
    let text = Array(ProcessView.text(FilePath("/proc/\(child.id)/maps")).utf8)
    let address = child.addresses[0] + Self.upage
    let past = try AddressExplanation(address, inMaps: text)
    #expect(past.place == .pastEnd && past.file?.naming == .present && past.file?.isMappedFileItself == false)
    #expect(past.cause.contains("bytes now"))
    try folder.file("new", PatternFile.bytes(0..<2 * Self.page))
    #expect(rename(folder.appending("new").string, path.string) == 0)
    let replaced = try AddressExplanation(address, inMaps: text)
    #expect(replaced.place == .file && replaced.file?.naming == .replaced)
    #expect(replaced.cause.contains("another file has taken its name since"))
    // Whoever reads the text of a process that uses it all the time.
    let file = try FileDescriptor.open(FilePath("/proc/\(child.id)/maps"), .readOnly)
    defer { try? file.close() }
    #expect(try AddressExplanation(address, inMaps: file).mapping?.addresses.lowerBound == child.addresses[0])
    let here = try FileDescriptor.open(folder.path, .readOnly)
    defer { try? here.close() }
    #expect { try AddressExplanation(address, inMaps: here) } throws: { ($0 as? MappingError)?.code == .isDirectory }
  }

  @Test func `damaged text is an error or a list, never the end`() {
    let good = Array(ProcessView.text("/proc/self/maps").utf8.prefix(1500))
    var random = Random(seed: 3)
    func attempt(_ bytes: [UInt8]) {
      do throws(MappingError) {
        for mapping in try SavedMaps.parse(bytes) { #expect(!mapping.addresses.isEmpty) }
      } catch {
        #expect(error.code == .unknownFormat)
      }
    }
    for length in 0..<good.count { attempt(Array(good.prefix(length))) }
    for place in good.indices {
      var bytes = good
      bytes[place] = UInt8(truncatingIfNeeded: random.next())
      attempt(bytes)
    }
  }

  // MARK: Rules

  @Test func `each signal and each place has its sentence`() {
    let file = ProcessMapping(
      addresses: 0x10000..<0x20000, permissions: [.read, .write], isShared: true, inode: 7, name: Array("/f".utf8))
    let code = ProcessMapping(addresses: 0x30000..<0x40000, permissions: [.read, .execute], isShared: false)
    let closed = ProcessMapping(addresses: 0x50000..<0x51000, permissions: [], isShared: false)
    let stack = ProcessMapping(
      addresses: 0x7000_0000..<0x7100_0000, permissions: [.read, .write], isShared: false, name: Array("[stack]".utf8))
    let thread = ProcessMapping(addresses: 0x51000..<0x60000, permissions: [.read, .write], isShared: false)
    func condition(_ size: Int64, hole: Bool = false) -> AddressExplanation.FileCondition {
      .init(size: size, naming: .present, isMappedFileItself: true, fileSystem: "ext4", isHole: hole, freeBytes: 3)
    }
    func explain(
      _ address: UInt64, _ number: Int32 = 0, _ kind: Int32 = 0,
      file condition: AddressExplanation.FileCondition? = nil,
      stackPointer: UInt64? = nil
    ) -> AddressExplanation {
      AddressExplanation(
        address, [file, code, closed, thread, stack], .savedMaps,
        signal: number == 0 ? nil : FaultSignal(number: number, code: kind, address: address),
        stackPointer: stackPointer,
        pageSize: 4096, file: { _, _ in condition })
    }
    #expect(explain(0x11000, 7, 4).cause.contains("poison") && explain(0x11000, 7, 5).cause.contains("poison"))
    #expect(explain(0x11000, 7, 1).cause.contains("aligned"))
    #expect(explain(0x11000, 7, 2, file: condition(0x1000)).place == .pastEnd)
    #expect(explain(0x11000, 7, 2, file: condition(0x1001)).place == .file)
    let full = explain(0x11000, 7, 2, file: condition(0x9000, hole: true))
    #expect(full.cause.contains("the page is a hole, and 3 bytes are left now") && full.remedy.contains("allocate"))
    #expect(!explain(0x11000, 7, 2, file: condition(0x9000)).cause.contains("full"))
    #expect(
      explain(0x11000, 7, 2).place == .unknownFile && explain(0x11000, 7, 2).cause.contains("could not be found out"))
    #expect(explain(0x31000, 7, 2).cause.contains("huge page") && explain(0x31000).place == .memory)
    #expect(explain(0x31000, 11, 2).cause.contains("read-only memory"))
    #expect(explain(0x11000, 11, 2).cause.contains("a jump into bytes that are no code"))
    #expect(explain(0x11000, 11, 4).cause.contains("protection key"))
    #expect(explain(0x50010, 11, 2).place == .guardPage && explain(0x50010).place == .guardPage)
    #expect(explain(0x50010, 11, 2, stackPointer: 0x51100).place == .stackOverflow)
    #expect(explain(0x6FFF_FFF0, 11, 1).place == .stackOverflow && explain(0x6000_0000, 11, 1).place == .unmapped)
    #expect(explain(0, 11, 128).place == .nullPointer && explain(1 << 63, 11, 1).place == .notUser)
    #expect(explain(0x4_5000, 11, 128).place == .notUser)
    #expect(explain(0x25000, 7, 2).cause.contains("it was unmapped since"))
    // Names of any bytes do not break the sentence.
    let odd = ProcessMapping(
      addresses: 0x1_0000..<0x2_0000, permissions: .read, isShared: false, name: Array("/a\n\u{1B}[31m\u{202E}b".utf8))
    let beside = AddressExplanation(0x2_0010, [odd], .savedMaps, file: { _, _ in nil })
    #expect(beside.cause.contains("(/a??[31m?b), which ends 16 bytes before"))
    // A signal that was sent has no address to explain.
    #expect(
      FaultSignal(number: 7, code: 0, address: 5).address == nil
        && FaultSignal(number: 6, code: 1, address: 5).address == nil)
    #expect(FaultSignal(number: 11, code: -6, address: 5).codeName == "sent by a process")
  }
}
