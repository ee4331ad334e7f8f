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

/// What can go wrong with a mapping is found before it does.
@Suite(.serialized) struct HazardsTests {
  static let page = Int64(SystemPage.size)
  static let upage = UInt64(SystemPage.size)

  /// The findings about one child and one file: it has what this process maps, too, where other tests run beside this one.
  static func scan(_ child: borrowing HoldingChild, _ path: FilePath) throws -> [Hazard] {
    let report = try HazardScanner().scan(.process(child.id))
    #expect(report.processes.seen == 1 && report.processes.isComplete && !report.isInterrupted)
    return report.hazards.filter { $0.file == path }
  }

  @Test func `a mapping past the end is a danger, with the exact part that is`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<4 * Self.page))
    let child = try HoldingChild(path, [pgt_hold(0, 4 * Self.page), pgt_hold(2 * Self.page, 2 * Self.page)])
    #expect(try Self.scan(child, path).isEmpty)
    // The last page is cut inside: it can still be touched.
    #expect(truncate(path.string, Int(Self.page) + 1) == 0)
    let hazard = try #require(try Self.scan(child, path).first)
    #expect(try Self.scan(child, path).count == 1)
    #expect(hazard.kind == .pastEnd && hazard.severity == .danger && hazard.file == path)
    #expect(hazard.process.id == child.id && hazard.amount == 4 * Self.page)
    let base = child.addresses
    let expected = [
      base[0] + 2 * Self.upage..<base[0] + 4 * Self.upage, base[1]..<base[1] + 2 * Self.upage,
    ]
    #expect(
      hazard.addresses.sorted { $0.lowerBound < $1.lowerBound } == expected.sorted { $0.lowerBound < $1.lowerBound })
    #expect(truncate(path.string, Int(4 * Self.page)) == 0)
    #expect(try Self.scan(child, path).isEmpty)
  }

  @Test func `a process whose main thread has ended is looked at by a thread that lives`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<4 * Self.page))
    let child = try HoldingChild(path, [pgt_hold(0, 4 * Self.page)], threads: .mainEnded)
    #expect(ProcessView.text(FilePath("/proc/\(child.id)/maps")).isEmpty)
    #expect(try Self.scan(child, path).isEmpty)
    #expect(truncate(path.string, Int(Self.page) + 1) == 0)
    let cut = child.addresses[0] + 2 * Self.upage..<child.addresses[0] + 4 * Self.upage
    for scope in [HazardScanner.Scope.process(child.id), .paths([path]), .all] {
      let found = try HazardScanner().scan(scope).hazards.filter { $0.process.id == child.id && $0.file == path }
      #expect(found.map(\.kind) == [.pastEnd] && found.first?.severity == .danger)
      #expect(found.first?.addresses == [cut] && found.first?.amount == 2 * Self.page)
    }
    // The mapped file itself is looked at, not the one that has taken its name.
    try folder.file("new", PatternFile.bytes(0..<4 * Self.page))
    #expect(rename(folder.appending("new").string, path.string) == 0)
    guard Skips.require(pgt_is_root(), "replaced files", install: "run the tests as root") else { return }
    #expect(try Self.scan(child, path).map(\.kind) == [.pastEnd, .replaced])
  }

  @Test func `deleted and replaced files are told apart, and from renamed ones`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<Self.page))
    let child = try HoldingChild(path, [pgt_hold(0, Self.page)])
    #expect(rename(path.string, folder.appending("g (deleted)").string) == 0)
    #expect(try Self.scan(child, path).isEmpty)
    #expect(rename(folder.appending("g (deleted)").string, path.string) == 0)
    #expect(link(path.string, folder.appending("link").string) == 0)
    #expect(unlink(path.string) == 0)
    let deleted = try #require(try Self.scan(child, path).first)
    #expect(deleted.kind == .deleted && deleted.severity == .notice && deleted.file == path)
    #expect(deleted.what.contains("another name") && deleted.addresses.map(\.lowerBound) == child.addresses)
    #expect(unlink(folder.appending("link").string) == 0)
    #expect(try Self.scan(child, path).first?.what.contains("another name") == false)
    try folder.file("f", [1, 2, 3])
    let replaced = try Self.scan(child, path)
    #expect(replaced.map(\.kind) == [.replaced] && replaced[0].severity == .warning)
    let report = try HazardScanner().scan(.process(child.id))
    #expect(report.worst ?? .notice >= .warning && report.mappings > 1)
  }

  @Test func `holes below a shared mapping for writing are counted exactly`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f")
    let file = try FileDescriptor.open(path, .readWrite, options: [.closeOnExec])
    defer { try? file.close() }
    try file.resize(to: 256 * Self.page)
    let child = try HoldingChild(path, [pgt_hold(0, 128 * Self.page, writable: true)])
    let reader = try HoldingChild(
      path, [pgt_hold(0, 128 * Self.page), pgt_hold(0, 128 * Self.page, shared: false, writable: true)])
    let found = try Self.scan(child, path)
    #expect(found.map(\.kind) == [.sparse] && found.first?.amount == 128 * Self.page && found.first?.file == path)
    #expect((found.first?.limit ?? 0) > 0)
    // Neither who only reads nor who has copies of their own needs space in the file.
    #expect(try Self.scan(reader, path).isEmpty)
    guard
      Skips.require(
        pgt_allocate(file.rawValue, 0, 32 * Self.page) == 0, "preallocation", install: "a TMPDIR on ext4 or XFS")
    else { return }
    #expect(try Self.scan(child, path).first?.amount == 96 * Self.page)
    // What waits for its write-back has its space already.
    _ = try file.writeAll(toAbsoluteOffset: 32 * Self.page, PatternFile.bytes(0..<32 * Self.page))
    #expect(try Self.scan(child, path).first?.amount == 64 * Self.page)
    #expect(pgt_allocate(file.rawValue, 0, 128 * Self.page) == 0)
    #expect(try Self.scan(child, path).isEmpty)
  }

  @Test(.rootOnly("small file systems"), arguments: ["tmpfs", "ext4"])
  func `holes that the file system has no room for are a danger`(_ kind: String) throws {
    guard Skips.require(kind == "tmpfs" || Skips.hasProgram("mkfs.ext4"), kind, install: "apt-get install e2fsprogs")
    else { return }
    let image = kind == "tmpfs" ? try MountedImage(tmpfs: 1 << 20) : try MountedImage(.ext4)
    let path = image.appending("f")
    // Four times what there is in all.
    let size: Int64 = kind == "tmpfs" ? 4 << 20 : 64 << 20
    let file = try FileDescriptor.open(path, .readWrite, options: [.create], permissions: .ownerReadWrite)
    try file.closeAfter { try file.resize(to: size) }
    let child = try HoldingChild(path, [pgt_hold(0, size, writable: true)])
    let hazard = try #require(try Self.scan(child, path).first)
    #expect(hazard.kind == .sparse && hazard.severity == .danger && hazard.amount == size)
    #expect((hazard.limit ?? .max) < size)
    let page = try AddressExplanation(child.addresses[0], inProcess: child.id)
    #expect(page.place == .file && page.file?.isHole == true && page.file?.fileSystem == kind)
    #expect(page.file?.freeBytes == hazard.limit)
  }

  @Test func `how bad holes are depends on the space that is left`() {
    func severity(_ missing: Int64, _ free: Int64?) -> Hazard.Severity {
      Finding.sparse(missing: missing, free: free, []).severity
    }
    #expect(severity(100, 99) == .danger && severity(100, 0) == .danger && severity(100, 100) == .warning)
    #expect(severity(100, 199) == .warning && severity(100, 200) == .notice && severity(100, nil) == .warning)
  }

  @Test func `the part past the end is right at every edge`() {
    let page = Self.upage
    func part(_ size: Int64, offset: UInt64, pages: UInt64) -> Range<UInt64>? {
      Finding.partPastEnd(
        size: size,
        ProcessMapping(addresses: 0x10000..<0x10000 + pages * page, permissions: .read, isShared: true, offset: offset))
    }
    #expect(part(0, offset: 0, pages: 1) == 0x10000..<0x10000 + page)
    #expect(part(1, offset: 0, pages: 1) == nil && part(Self.page, offset: 0, pages: 1) == nil)
    #expect(part(Self.page, offset: 0, pages: 2) == 0x10000 + page..<0x10000 + 2 * page)
    #expect(part(Self.page + 1, offset: 0, pages: 2) == nil)
    #expect(part(Self.page, offset: page, pages: 2) == 0x10000..<0x10000 + 2 * page)
    #expect(part(.max, offset: 0, pages: 1) == nil && part(-5, offset: 0, pages: 1) != nil)
    #expect(part(1, offset: .max - page + 1, pages: 1) != nil)
  }

  @Test func `room to grow into is told apart by its shape`() throws {
    let mebibyte: UInt64 = 1 << 20
    func kinds(_ size: Int64, mapped: UInt64, capacity: Int64? = 1 << 40) -> [Hazard.Kind] {
      let mapping = ProcessMapping(addresses: 1 << 32..<1 << 32 + mapped, permissions: .read, isShared: true)
      return Finding.pastEnd(size: size, capacity: capacity, [mapping]).map(\.kind)
    }
    #expect(kinds(0, mapped: 256 * mebibyte) == [.growthRoom] && kinds(0, mapped: 255 * mebibyte) == [.pastEnd])
    #expect(kinds(0, mapped: 256 * mebibyte + Self.upage) == [.pastEnd])
    #expect(kinds(32 << 20, mapped: 288 * mebibyte) == [.growthRoom])
    #expect(kinds(33 << 20, mapped: 289 * mebibyte) == [.pastEnd])
    // More than the file system has cannot have been the file.
    #expect(kinds(1 << 20, mapped: 2 * mebibyte, capacity: 1 << 20) == [.growthRoom])
    #expect(kinds(1 << 20, mapped: 2 * mebibyte, capacity: 2 << 20) == [.pastEnd])
    #expect(kinds(1 << 20, mapped: 2 * mebibyte, capacity: 0) == [.pastEnd])
    #expect(kinds(1 << 20, mapped: mebibyte).isEmpty)
    // Our own growable files keep such room.
    let folder = try TemporaryDirectory()
    var file = try GrowableMappedFile(folder.appending("g"), creating: true)
    let report = try HazardScanner().scan(.paths([folder.path]))
    // A child of another test may have it, too.
    #expect(Set(report.hazards.map(\.kind)) == [.growthRoom] && report.worst == .notice)
    #expect(try HazardScanner(ignoring: [.growthRoom]).scan(.paths([folder.path])).hazards.isEmpty)
    try file.flush()
    try file.close()
  }

  @Test func `files on other machines and behind programs are told`() {
    func kinds(_ magic: UInt64, shared: Bool, permissions: ProcessMapping.Permissions) -> [Hazard.Severity] {
      let state = MappedFileState(
        size: 100, allocated: 4096, links: 1, inode: 7, isRegular: true, naming: .present,
        fileSystem: .init(magic: magic),
        free: 1, capacity: 1 << 40)
      let mapping = ProcessMapping(
        addresses: 0x1000..<0x2000, permissions: permissions, isShared: shared, name: Array("/f".utf8))
      return Finding.all(state, [mapping], in: ProcessFolder(0)).filter { $0.kind == .remote }.map(\.severity)
    }
    #expect(kinds(0x6969, shared: true, permissions: [.read, .write]) == [.warning])
    #expect(kinds(0x6969, shared: true, permissions: .read) == [.notice])
    #expect(kinds(0x6573_5546, shared: false, permissions: [.read, .write]) == [.notice])
    #expect(kinds(0xEF53, shared: true, permissions: [.read, .write]).isEmpty)
  }

  @Test func `near to the limit of mappings`() throws {
    #expect(Finding.mappingLimit(79, 100) == nil && Finding.mappingLimit(80, nil) == nil)
    #expect(Finding.mappingLimit(80, 100)?.severity == .warning && Finding.mappingLimit(94, 100)?.severity == .warning)
    #expect(
      Finding.mappingLimit(95, 100)?.severity == .danger && Finding.mappingLimit(Int.max, 100)?.severity == .danger)
    #expect(Finding.mappingLimit(Int.max, 1)?.severity == .danger && Finding.mappingLimit(5, 0) == nil)
    var reader = ProcText()
    #expect(reader.read("/proc/sys/vm/max_map_count") == nil)
    let limit = try #require(ProcText.number(after: "", in: reader.text))
    guard Skips.require(limit <= 200_000, "many mappings", install: "vm.max_map_count of the kernel's default") else {
      return
    }
    let pid = pgt_fork_mappings(CInt(limit * 85 / 100))
    try #require(pid > 0)
    defer { _ = pgt_kill(pid) }
    let found = try HazardScanner().scan(.process(pid)).hazards.filter { $0.kind == .mappingLimit }
    #expect(found.count == 1 && found.first?.severity == .warning && found.first?.limit == limit)
    #expect((found.first?.amount ?? 0) >= limit * 85 / 100 && found.first?.addresses.isEmpty == true)
  }

  @Test func `near to the limit of locked memory`() throws {
    for (locked, word) in [(Int64(12), nil), (13, "can fail"), (15, "can fail"), (16, "Every further")] {
      let pid = pgt_fork_locker(UInt64(16 * Self.page), UInt64(locked * Self.page))
      try #require(pid > 0)
      defer { _ = pgt_kill(pid) }
      let found = try HazardScanner().scan(.process(pid)).hazards.filter { $0.kind == .lockLimit }
      #expect(found.count == (word == nil ? 0 : 1), "\(locked)")
      if let word, let hazard = found.first {
        #expect(hazard.amount == locked * Self.page && hazard.limit == 16 * Self.page && hazard.severity == .warning)
        #expect(hazard.consequence.contains(word))
      }
    }
    #expect(
      Finding.lockLimit(1 << 40, limits: "Max locked memory         unlimited            unlimited            bytes\n")
        == nil)
    #expect(Finding.lockLimit(1, limits: "") == nil)
    #expect(Finding.hasCapability(14, status: "CapEff:\t0000000000004000\n"))
    #expect(!Finding.hasCapability(14, status: "CapEff:\t0000000000002000\n") && !Finding.hasCapability(14, status: ""))
  }

  @Test func `of paths, the file itself and what had its name are found`() throws {
    let folder = try TemporaryDirectory()
    #expect(mkdir(folder.appending("sub").string, 0o700) == 0)
    let path = try folder.file("sub/f", PatternFile.bytes(0..<2 * Self.page))
    let other = try folder.file("other", PatternFile.bytes(0..<2 * Self.page))
    let child = try HoldingChild(path, [pgt_hold(0, 2 * Self.page)])
    let second = try HoldingChild(other, [pgt_hold(0, 2 * Self.page)])
    let children = [child.id, second.id]
    func kinds(_ paths: FilePath...) throws -> [Hazard.Kind] {
      try HazardScanner().scan(.paths(paths)).hazards.filter { children.contains($0.process.id) }.map(\.kind)
    }
    #expect(try HazardScanner().scan(.paths([path])).mappings >= 1)
    #expect(truncate(path.string, 1) == 0 && truncate(other.string, 1) == 0)
    #expect(try kinds(path) == [.pastEnd] && kinds(other) == [.pastEnd])
    #expect(try kinds(folder.path) == [.pastEnd, .pastEnd] && kinds(folder.appending("sub")) == [.pastEnd])
    #expect(link(path.string, folder.appending("name").string) == 0)
    #expect(symlink("name", folder.appending("symbolic").string) == 0)
    #expect(try kinds(folder.appending("name")) == [.pastEnd] && kinds(folder.appending("symbolic")) == [.pastEnd])
    #expect(unlink(path.string) == 0)
    #expect(try kinds(path) == [.pastEnd, .deleted])
    try folder.file("sub/f", [1])
    #expect(try kinds(path) == [.pastEnd, .replaced])
    #expect { try kinds(folder.appending("missing")) } throws: { ($0 as? MappingError)?.code == .notFound }
    #expect { try kinds(folder.appending("missing/below")) } throws: { ($0 as? MappingError)?.code == .notFound }
  }

  @Test func `all processes at once, worst first; a cancelled look says so`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<2 * Self.page))
    let child = try HoldingChild(path, [pgt_hold(0, 2 * Self.page)])
    #expect(truncate(path.string, 1) == 0 && unlink(path.string) == 0)
    let report = try HazardScanner().scan(.all)
    #expect(report.hazards.filter { $0.process.id == child.id && $0.file == path }.map(\.kind) == [.pastEnd, .deleted])
    #expect(zip(report.hazards, report.hazards.dropFirst()).allSatisfy { $0.severity >= $1.severity })
    let cancelled = try HazardScanner().scan(.all, isCancelled: { true })
    #expect(cancelled.isInterrupted && !cancelled.isComplete && cancelled.hazards.isEmpty)
  }

  @Test func `a process that is not there is an error`() throws {
    let pid = Child.start(["true"])
    #expect(pgt_wait(pid, 10_000) == 0)
    #expect { try HazardScanner().scan(.process(pid)) } throws: { ($0 as? MappingError)?.code == .notFound }
    #expect { try HazardScanner().scan(.process(.max)) } throws: { ($0 as? MappingError)?.code == .notFound }
  }

  @Test(.rootOnly("memory files of others")) func `a memory file that was cut is found, and is not called deleted`()
    throws
  {
    let file = pgt_memfd("cut", false, false)
    try #require(file >= 0)
    defer { close(file) }
    #expect(ftruncate(file, Int(2 * Self.page)) == 0)
    let base = try #require(pgt_map_file(file, Int(2 * Self.page), 0, true))
    defer { _ = pgt_unmap(base, Int(2 * Self.page)) }
    #expect(ftruncate(file, 0) == 0)
    let at = UInt64(UInt(bitPattern: base))
    let found = try HazardScanner().scan(.process(getpid())).hazards.filter {
      $0.addresses.contains { $0.contains(at) }
    }
    #expect(found.map(\.kind) == [.pastEnd] && found.first?.file == nil && found.first?.amount == 2 * Self.page)
  }

  @Test(.rootOnly("what another user is told")) func `what may not be seen is unknown, never well`() async throws {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      #expect(chmod(folder.path.string, 0o755) == 0)
      let path = try folder.file("f", PatternFile.bytes(0..<HazardsTests.page))
      let gone = try folder.file("gone", PatternFile.bytes(0..<HazardsTests.page))
      for path in [path, gone] { #expect(chmod(path.string, 0o644) == 0) }
      let child = try HoldingChild(path, [pgt_hold(0, HazardsTests.page)])
      let file = try FileDescriptor.open(gone, .readOnly, options: [.closeOnExec])
      let base = pgt_map_file(file.rawValue, Int(HazardsTests.page), 0, false)
      let at = UInt64(UInt(bitPattern: base))
      try file.close()
      #expect(unlink(gone.string) == 0)
      #expect(seteuid(65534) == 0)
      defer { _ = seteuid(0) }
      #expect { try HazardScanner().scan(.process(child.id)) } throws: {
        ($0 as? MappingError)?.code == .permissionDenied
      }
      let all = try HazardScanner().scan(.all)
      #expect(!all.isComplete && all.processes.unknown > 0)
      // This process sees its own list, but not through the links to what is mapped.
      let own = try HazardScanner().scan(.process(getpid()))
      #expect(own.unknownFiles >= 1 && !own.isComplete)
      #expect(own.hazards.filter { $0.addresses.contains { $0.contains(at) } }.map(\.kind) == [.deleted])
    }
  }
}
