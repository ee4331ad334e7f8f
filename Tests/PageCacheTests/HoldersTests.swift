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

/// Who maps a file and who has it open, found by device and inode.
@Suite(.serialized) struct HoldersTests {
  static let page = Int64(SystemPage.size)

  @Test func `a file that is mapped twice has two mappings with their exact figures`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<64 * Self.page))
    _ = try FileFlusher().flush(path)
    let child = try HoldingChild(
      path,
      [
        pgt_hold(0, 32 * Self.page, stores: 2 * Self.page, writable: true),
        pgt_hold(32 * Self.page, 16 * Self.page, shared: false, locked: true),
      ])
    let found = try FileHolders.find(path)
    #expect(found.mappingCount == 2 && found.descriptorCount == 0 && found.holders.count == 1)
    let holder = try #require(found.holders.first)
    #expect(holder.process.id == child.id && holder.process.user == geteuid() && holder.descriptors.isEmpty)
    #expect(holder.process.name == ProcessView.text(FilePath("/proc/\(child.id)/comm")).dropLast())
    #expect(holder.process.controlGroup?.hasPrefix("/") == true)
    let first = try #require(holder.mappings.first { $0.mapping.addresses.lowerBound == child.addresses[0] })
    let second = try #require(holder.mappings.first { $0.mapping.addresses.lowerBound == child.addresses[1] })
    #expect(
      first.mapping.isShared == true && first.mapping.permissions == [.read, .write] && first.mapping.offset == 0)
    #expect(first.mapping.length == UInt64(32 * Self.page) && first.mapping.path == path && !first.mapping.isDeleted)
    #expect(first.memory?.resident == 2 * Self.page && first.memory?.dirty == 2 * Self.page)
    #expect(first.memory?.locked == 0 && first.memory?.isLocked == false)
    #expect(second.mapping.isShared == false && second.mapping.permissions == .read)
    #expect(second.mapping.offset == UInt64(32 * Self.page) && second.mapping.length == UInt64(16 * Self.page))
    let memory = try #require(second.memory)
    #expect(memory.resident == 16 * Self.page && memory.proportional == 16 * Self.page)
    #expect(memory.locked == 16 * Self.page && memory.isLocked)
    #expect(found.lockedBytes == 16 * Self.page && found.memory.resident == 18 * Self.page)
    #expect(second.mapping.fileOffset(of: child.addresses[1] + 5) == UInt64(32 * Self.page) + 5)
    #expect(second.mapping.fileOffset(of: child.addresses[1] + UInt64(16 * Self.page)) == nil)
  }

  @Test func `a page that two processes map counts half for each`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<4 * Self.page))
    let one = try HoldingChild(path, [pgt_hold(0, 4 * Self.page, locked: true)])
    let two = try HoldingChild(path, [pgt_hold(0, 4 * Self.page, locked: true)])
    let found = try FileHolders.find(path)
    #expect(found.holders.map(\.process.id).sorted() == [one.id, two.id].sorted())
    for holder in found.holders {
      #expect(holder.memory.resident == 4 * Self.page && holder.memory.proportional == 2 * Self.page)
    }
  }

  @Test func `open descriptors say what they may do; threads are not counted again`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<Self.page))
    let opens = PGT_OPEN_READ | PGT_OPEN_WRITE | PGT_OPEN_READ_WRITE | PGT_OPEN_PATH
    let child = try HoldingChild(path, [pgt_hold(0, Self.page)], opens: Int(opens), threads: .two)
    let found = try FileHolders.find(path)
    #expect(found.holders.count == 1 && found.mappingCount == 1)
    let descriptors = try #require(found.holders.first { $0.process.id == child.id }).descriptors
    #expect(descriptors.map(\.number) == [3, 4, 5, 6])
    #expect(descriptors.map(\.access) == [.read, .write, .readWrite, .path])
    #expect(descriptors.map(\.position) == [0, 0, 0, 0])
  }

  @Test(arguments: [
    "with space", " (deleted)", "ends (deleted)", "back\\slash", "new\nline", "\\012x\n", "tab\there", "ü ",
  ])
  func `names do not matter: renamed, linked and deleted files are found`(_ name: String) throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file(name, PatternFile.bytes(0..<Self.page))
    let child = try HoldingChild(path, [pgt_hold(0, Self.page)], opens: Int(PGT_OPEN_READ))
    func finds(_ path: FilePath) throws -> ProcessMapping? {
      let found = try FileHolders.find(path)
      #expect(found.holders.map(\.process.id) == [child.id] && found.descriptorCount == 1 && found.mappingCount == 1)
      return found.holders.first?.mappings.first?.mapping
    }
    let mapping = try #require(try finds(path))
    // The kernel's text has these bytes for two names each.
    if !name.hasSuffix("(deleted)"), !name.hasPrefix("\\012") { #expect(mapping.path == path && !mapping.isDeleted) }
    let other = folder.appending("other")
    #expect(link(path.string, other.string) == 0)
    _ = try finds(other)
    #expect(rename(path.string, folder.appending("renamed").string) == 0)
    _ = try finds(folder.appending("renamed"))
    #expect(unlink(other.string) == 0 && unlink(folder.appending("renamed").string) == 0)
    let last = try finds(FilePath("/proc/\(child.id)/fd/3"))
    #expect(last?.isDeleted == true)
    #expect(throws: MappingError.self) { try FileHolders.find(path) }
  }

  @Test func `the given descriptor is left out; others of this process are told`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<Self.page))
    let file = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec])
    defer { try? file.close() }
    // Other tests may start children meanwhile, which have it until they exec.
    func own(_ found: FileHolders) -> FileHolder? { found.holders.first { $0.process.id == getpid() } }
    #expect(own(try FileHolders.find(file)) == nil)
    let second = try FileDescriptor.open(path, .readWrite, options: [.closeOnExec])
    defer { try? second.close() }
    let holder = try #require(own(try FileHolders.find(file)))
    #expect(holder.descriptors.map(\.number) == [second.rawValue] && holder.mappings.isEmpty)
    #expect(own(try FileHolders.find(path))?.descriptors.count == 2)
    #expect { try FileHolders.find(FileDescriptor(rawValue: -1)) } throws: {
      ($0 as? MappingError)?.errno == .badFileDescriptor
    }
  }

  @Test func `many paths take one pass; of a folder what is held is shown`() throws {
    let folder = try TemporaryDirectory()
    #expect(mkdir(folder.appending("sub").string, 0o700) == 0)
    for number in 0..<300 { try folder.file("sub/f\(number)", [1]) }
    let held = folder.appending("sub/f7")
    let child = try HoldingChild(held, [pgt_hold(0, Self.page)])
    #expect(link(held.string, folder.appending("link").string) == 0)
    let missing = folder.appending("missing")
    let scan = try HolderScanner().scan([folder.path, missing, folder.appending("link"), folder.appending("sub/f8")])
    #expect(scan.reports.map(\.path) == [folder.path, folder.appending("link"), folder.appending("sub/f8")])
    #expect(scan.failures.map(\.path) == [missing] && scan.failures.first?.error.code == .notFound)
    let report = scan.reports[0]
    #expect(report.walk?.files == 300 && report.walk?.hardLinks == 1 && report.files.count == 1)
    #expect(report.files.first?.held.holders.map(\.process.id) == [child.id])
    #expect(scan.reports[1].files.map(\.held) == report.files.map(\.held) && scan.reports[1].walk == nil)
    #expect(scan.reports[2].files.count == 1 && scan.reports[2].files[0].held.holders.isEmpty)
    #expect(scan.processes.seen > 0 && scan.reports[0].processes == scan.processes)
  }

  @Test func `a cancelled search counts the rest as unknown`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", [1])
    var asked = 0
    let found = try FileHolders.find(path) {
      asked += 1
      return asked > 1
    }
    #expect(!found.isComplete && found.processes.unknown > 0 && found.processes.seen <= 1)
    let scan = try HolderScanner().scan([path, folder.path], isCancelled: { true })
    #expect(scan.reports.allSatisfy { $0.isInterrupted } && !scan.reports.isEmpty)
  }

  @Test func `processes that end while they are looked at are normal`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", [1])
    // Of root's own children none is unknown; in a container some others can be.
    let before = try FileHolders.find(path).processes.unknown
    for _ in 0..<20 {
      let children = (0..<10).map { _ in Child.start(["true"]) }
      let found = try FileHolders.find(path)
      #expect(found.holders.isEmpty)
      if pgt_is_root() { #expect(found.processes.unknown <= before) }
      for child in children { #expect(pgt_wait(child, 10_000) == 0) }
    }
  }

  @Test func `a process whose main thread has ended is seen by a thread that lives`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<64 * Self.page))
    _ = try FileFlusher().flush(path)
    let opens = PGT_OPEN_READ | PGT_OPEN_WRITE | PGT_OPEN_READ_WRITE | PGT_OPEN_PATH
    let child = try HoldingChild(
      path,
      [
        pgt_hold(0, 32 * Self.page, stores: 2 * Self.page, writable: true),
        pgt_hold(32 * Self.page, 16 * Self.page, shared: false, locked: true),
      ], opens: Int(opens), threads: .mainEnded)
    // By its own folder it has nothing.
    #expect(ProcessView.text(FilePath("/proc/\(child.id)/status")).contains("State:\tZ"))
    #expect(ProcessView.text(FilePath("/proc/\(child.id)/maps")).isEmpty)
    let found = try FileHolders.find(path)
    #expect(found.mappingCount == 2 && found.descriptorCount == 4 && found.holders.count == 1)
    let holder = try #require(found.holders.first)
    #expect(holder.process.id == child.id && holder.process.user == geteuid())
    #expect(holder.process.name == ProcessView.text(FilePath("/proc/\(child.id)/comm")).dropLast())
    #expect(holder.process.controlGroup?.hasPrefix("/") == true)
    #expect(holder.descriptors.map(\.number) == [3, 4, 5, 6])
    #expect(holder.descriptors.map(\.access) == [.read, .write, .readWrite, .path])
    #expect(holder.descriptors.map(\.position) == [0, 0, 0, 0])
    let first = try #require(holder.mappings.first { $0.mapping.addresses.lowerBound == child.addresses[0] })
    let second = try #require(holder.mappings.first { $0.mapping.addresses.lowerBound == child.addresses[1] })
    #expect(first.mapping.isShared == true && first.mapping.permissions == [.read, .write])
    #expect(first.mapping.length == UInt64(32 * Self.page) && first.mapping.path == path)
    #expect(first.memory?.resident == 2 * Self.page && first.memory?.dirty == 2 * Self.page)
    #expect(second.mapping.isShared == false && second.mapping.offset == UInt64(32 * Self.page))
    #expect(second.memory?.resident == 16 * Self.page && second.memory?.locked == 16 * Self.page)
    #expect(second.memory?.proportional == 16 * Self.page && second.memory?.isLocked == true)
    // The thread, not the main one, is what a look goes on by.
    var reader = ProcText()
    let (read, failure) = ProcessFolder.readMappings(of: child.id, &reader)
    #expect(failure == nil && !reader.bytes.isEmpty && read.process == child.id && read.thread != child.id)
    #expect(!read.hasEnded(&reader) && ProcessFolder(child.id).hasEnded(&reader))
    #expect(!ProcessFolder.holdsNothing(child.id, &reader))
    try child.becomeZombie()
    #expect(read.hasEnded(&reader) && ProcessFolder.readMappings(of: child.id, &reader).failure == .noSuchProcess)
    #expect(reader.bytes.isEmpty)
    #expect(try FileHolders.find(path).holders.isEmpty)
  }

  @Test(arguments: [HoldingChild.Threads.one, .two, .mainEnded])
  func `a process that has ended and was not awaited holds nothing and is not unknown`(
    _ threads: HoldingChild.Threads
  ) throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<Self.page))
    let child = try HoldingChild(path, [pgt_hold(0, Self.page)], opens: Int(PGT_OPEN_READ), threads: threads)
    let before = try FileHolders.find(path)
    #expect(before.holders.map(\.process.id) == [child.id])
    try child.becomeZombie()
    #expect(ProcessView.text(FilePath("/proc/\(child.id)/stat")).contains(") Z "))
    let after = try FileHolders.find(path)
    #expect(after.holders.isEmpty)
    // Of root's own processes none is unknown; in a container some others can be.
    if pgt_is_root() { #expect(after.processes.unknown <= before.processes.unknown) }
    var reader = ProcText()
    #expect(ProcessFolder.readMappings(of: child.id, &reader).failure == .noSuchProcess && reader.bytes.isEmpty)
    #expect(ProcessFolder.holdsNothing(child.id, &reader) && !ProcessFolder.holdsNothing(getpid(), &reader))
    // Asked for by its number, it is one that is not there.
    #expect { try HazardScanner().scan(.process(child.id)) } throws: { ($0 as? MappingError)?.code == .notFound }
    #expect { try AddressExplanation(0, inProcess: child.id) } throws: { ($0 as? MappingError)?.code == .notFound }
  }

  @Test(.rootOnly("what another user is told"))
  func `a process of another user whose main thread has ended is unknown`() async throws {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      #expect(chmod(folder.path.string, 0o755) == 0)
      let path = try folder.file("f", PatternFile.bytes(0..<HoldersTests.page))
      #expect(chmod(path.string, 0o644) == 0)
      let child = try HoldingChild(path, [pgt_hold(0, HoldersTests.page)], threads: .mainEnded)
      #expect(seteuid(65534) == 0)
      defer { _ = seteuid(0) }
      var reader = ProcText()
      #expect(ProcessFolder.readMappings(of: child.id, &reader).failure == .permissionDenied)
      #expect(!ProcessFolder.holdsNothing(child.id, &reader))
      let found = try FileHolders.find(path)
      #expect(found.holders.isEmpty && !found.isComplete)
      #expect { try HazardScanner().scan(.process(child.id)) } throws: {
        ($0 as? MappingError)?.code == .permissionDenied
      }
    }
  }

  @Test func `kernel threads have neither mappings nor an error`() throws {
    var reader = ProcText()
    guard
      Skips.require(
        pgt_is_root() && reader.read("/proc/2/comm") == nil && reader.text == "kthreadd\n", "kernel threads",
        install: "run the tests as root, outside of a PID namespace")
    else { return }
    #expect(ProcessFolder.readMappings(of: 2, &reader) == (ProcessFolder(2), nil))
    #expect(reader.bytes.isEmpty && ProcessFolder.holdsNothing(2, &reader))
  }

  @Test(.rootOnly("other file systems"), arguments: ["tmpfs", "ext4", "btrfs", "overlay", "overlay over two"])
  func `files are found whatever numbers the file system shows`(_ kind: String) throws {
    switch kind {
    case "tmpfs":
      let image = try MountedImage(tmpfs: 1 << 20)
      try Self.checkNumbers(on: image.path)
    case "ext4", "btrfs":
      let system = kind == "ext4" ? MountedImage.FileSystem.ext4 : .btrfs
      guard Skips.require(Skips.hasProgram(system.program), kind, install: system.package) else { return }
      let image = try MountedImage(system)
      try Self.checkNumbers(on: image.path)
      guard kind == "btrfs",
        try Child.run(["btrfs", "subvolume", "create", image.appending("one").string]).status == 0,
        try Child.run(["btrfs", "subvolume", "create", image.appending("two").string]).status == 0
      else { return }
      // The first file of each subvolume has the same inode, and lists of mappings the same device for both.
      let first = image.appending("one/f")
      let second = image.appending("two/f")
      for path in [first, second] { _ = try PatternFile(path, size: Self.page) }
      let child = try HoldingChild(first, [pgt_hold(0, Self.page)])
      let scan = try HolderScanner().scan([first, second])
      #expect(scan.reports.map { $0.files[0].held.holders.map(\.process.id) } == [[child.id], []])
    default:
      let base = try MountedImage(tmpfs: 4 << 20)
      let folder = try TemporaryDirectory()
      let lower = kind == "overlay" ? base.appending("lower") : folder.appending("lower")
      for path in [lower, base.appending("upper"), base.appending("work"), base.appending("all")] {
        #expect(mkdir(path.string, 0o755) == 0)
      }
      _ = try PatternFile(lower.appending("below"), size: Self.page)
      let options = "lowerdir=\(lower),upperdir=\(base.appending("upper")),workdir=\(base.appending("work"))"
      let all = base.appending("all")
      guard
        Skips.require(
          pgt_mount("overlay", all.string, "overlay", options) == 0, "overlayfs", install: "a kernel with it")
      else { return }
      defer { _ = pgt_unmount(all.string) }
      try Self.checkNumbers(on: all)
      let child = try HoldingChild(all.appending("below"), [pgt_hold(0, Self.page)])
      #expect(try FileHolders.find(all.appending("below")).holders.map(\.process.id) == [child.id])
    }
  }

  static func checkNumbers(on folder: FilePath) throws {
    let path = folder.appending("f")
    let other = folder.appending("g")
    _ = try PatternFile(path, size: page)
    _ = try PatternFile(other, size: page)
    let child = try HoldingChild(path, [pgt_hold(0, page)], opens: Int(PGT_OPEN_READ))
    let scan = try HolderScanner().scan([path, other, folder])
    #expect(scan.reports.map { $0.files.count } == [1, 1, 1])
    let held = scan.reports[0].files[0].held
    #expect(held.holders.map(\.process.id) == [child.id] && held.mappingCount == 1 && held.descriptorCount == 1)
    #expect(scan.reports[1].files[0].held.holders.isEmpty)
    #expect(scan.reports[2].files.map(\.held) == [held])
    let file = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec])
    defer { try? file.close() }
    #expect(try FileHolders.find(file).mappingCount == 1)
  }

  // MARK: The kernel's text

  static func parse(_ line: String) -> ProcessMapping? { ProcessMapping.all(Array(line.utf8)).first }

  @Test func `lines of maps are read as the kernel writes them`() throws {
    let line = "7f00c0de0000-7f00c0de4000 r-xs 0001a000 fe:10 253911           /a b/c\\012d (deleted)"
    let found = try #require(Self.parse(line))
    #expect(found.addresses == 0x7f00_c0de_0000..<0x7f00_c0de_4000 && found.offset == 0x1A000 && found.inode == 253911)
    #expect(found.permissions == [.read, .execute] && found.isShared == true && found.device == 0xFE10)
    #expect(found.name == "/a b/c\nd" && found.isDeleted && found.path == "/a b/c\nd" && !found.isMemoryFile)
    let last = try #require(Self.parse("ffffffffff600000-ffffffffffffffff --xp 00000000 00:00 0          [vsyscall]\n"))
    #expect(last.addresses.upperBound == .max && last.name == "[vsyscall]" && last.path == nil)
    #expect(Self.parse("1000-2000 rw-p 00000000 00:00 0")?.name == "")
    #expect(Self.parse("1000-2000 rw-s 00000000 00:01 7 /memfd:x (deleted)")?.isMemoryFile == true)
    #expect(Self.parse("1000-2000 rw-s 00000000 00:01 7 /memfd:x (deleted)")?.path == nil)
    #expect(Self.parse("1000-2000 rw-s 00000000 08:01 7 /memfd:x")?.path == "/memfd:x")
    #expect(Self.parse("1000-2000 r--p fffffffffffff000 08:01 7 /f")?.fileOffset(of: 0x1FFF) == nil)
    let whole = ProcessMapping.all(Array(ProcessView.text("/proc/self/maps").utf8))
    #expect(whole.count > 20 && whole.contains { $0.name == "[stack]" })
    #expect(zip(whole, whole.dropFirst()).allSatisfy { $0.addresses.upperBound <= $1.addresses.lowerBound })
  }

  @Test func `what is no line of maps is none`() {
    for line in [
      "", " ", "\n", "x", "1000", "1000-", "1000-2000", "1000-2000 ", "1000-2000 r", "1000-2000 rwxq 0 0:0 0",
      "1000-2000 rwxp", "1000-2000 rwxp 0", "1000-2000 rwxp 0 0:0", "1000-2000 rwxp 0 00 0", "2000-1000 rwxp 0 0:0 0",
      "1000-1000 rwxp 0 0:0 0", "10000000000000000-2 rwxp 0 0:0 0", "1000-2000 rwxp 0 100000000:0 0",
      "1000-2000 rwxp 0 0:0 18446744073709551616", "1000-2000 rwxp 0 0:0 12x", "-1000-2000 rwxp 0 0:0 0",
      "1000-2000 zwxp 0 0:0 0", "1000-2000 rzxp 0 0:0 0", "1000-2000 rwzp 0 0:0 0", "Rss:     12 kB",
    ] {
      #expect(Self.parse(line) == nil, "\(line)")
    }
  }

  @Test func `smaps gives each wanted mapping its own figures`() {
    let text = """
      1000-2000 r--s 00000000 08:01 7   /f
      Size:                  4 kB
      Rss:                   4 kB
      Pss:                   2 kB
      Pss_Dirty:             9 kB
      Shared_Dirty:          4 kB
      Private_Dirty:         8 kB
      Locked:                2 kB
      VmFlags: rd sh mr lo mw
      3000-4000 r--s 00000000 08:01 7   /f
      Rss:                  12 kB
      VmFlags: rd lock
      5000-6000 r--s 00000000 08:01 7   /f
      Rss:  99999999999999999999999 kB
      """
    let found = MappingMemory.find(Array(text.utf8), wanted: [0x1000, 0x5000])
    #expect(found.keys.sorted() == [0x1000, 0x5000])
    #expect(found[0x1000]?.resident == 4096 && found[0x1000]?.proportional == 2048 && found[0x1000]?.locked == 2048)
    #expect(
      found[0x1000]?.privateDirty == 8192 && found[0x1000]?.sharedDirty == 4096 && found[0x1000]?.isLocked == true)
    #expect((found[0x5000]?.resident ?? 0) > 0 && found[0x5000]?.isLocked == false)
    var sum = MappingMemory()
    for _ in 0..<1000 { sum.add(found[0x5000]!) }
    #expect(sum.resident > 0)
  }

  @Test func `damaged text never does more than lose lines`() {
    let text = Array(ProcessView.text("/proc/self/smaps").utf8.prefix(3000))
    var random = Random(seed: 1)
    for length in 0..<text.count {
      var piece = Array(text.prefix(length))
      for _ in 0..<3 where !piece.isEmpty {
        piece[random.below(piece.count)] = UInt8(truncatingIfNeeded: random.next())
      }
      for mapping in ProcessMapping.all(piece) { #expect(!mapping.addresses.isEmpty) }
      _ = MappingMemory.find(piece, wanted: Set(ProcessMapping.all(piece).map(\.addresses.lowerBound)))
    }
  }

  @Test func `users and groups are read from their files`() {
    #expect(ProcessIdentity.effectiveUser("Name:\tUid:\t9\nUid:\t1000\t33\t0\t0\n") == 33)
    #expect(ProcessIdentity.effectiveUser("Uid:\t1\n") == nil && ProcessIdentity.effectiveUser("") == nil)
    #expect(ProcessIdentity.memoryGroup("0::/a:b\n") == "/a:b")
    #expect(ProcessIdentity.memoryGroup("4:cpu,memory:/x\n0::/y\n") == "/x")
    #expect(ProcessIdentity.memoryGroup("3:cpu:/x\n") == nil)
  }

  @Test(.rootOnly("what another user is told")) func `processes of others are counted as unknown`() async throws {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      #expect(chmod(folder.path.string, 0o755) == 0)
      let path = try folder.file("f", PatternFile.bytes(0..<HoldersTests.page))
      #expect(chmod(path.string, 0o644) == 0)
      let child = try HoldingChild(path, [pgt_hold(0, HoldersTests.page)])
      let before = try FileHolders.find(path)
      #expect(before.holders.map(\.process.id) == [child.id])
      #expect(seteuid(65534) == 0)
      let after = try FileHolders.find(path)
      #expect(seteuid(0) == 0)
      #expect(after.holders.isEmpty && !after.isComplete)
      // The child at least; kernel threads are not among them.
      #expect(after.processes.unknown > before.processes.unknown)
      #expect(after.processes.unknown <= after.processes.seen)
    }
  }
}
