// SPDX-License-Identifier: Apache-2.0

@_spi(Testing) import MemoryMapping
import Testing

/// The choice as a function: facts in, strategy out, no system call.
@Suite struct FileBytesDecisionTests {
  typealias Access = FileBytes.AccessPattern
  static let mib: Int64 = 1 << 20

  static func facts(_ size: Int64, _ change: (inout FileFacts) -> Void = { _ in }) -> FileFacts {
    var facts = FileFacts(type: .regular, size: size)
    facts.fileSystem = FileSystemKind(magic: 0xEF53)
    facts.residentFraction = 1
    facts.pagesPerFault = 16
    change(&facts)
    return facts
  }

  struct Row: Sendable, CustomTestStringConvertible {
    let rule: String
    let facts: FileFacts
    let access: Access
    let expected: Set<FileBytes.Strategy>
    var testDescription: String { rule }

    init(_ rule: String, _ facts: FileFacts, _ access: Access, _ expected: FileBytes.Strategy...) {
      self.rule = rule
      self.facts = facts
      self.access = access
      self.expected = Set(expected)
    }
  }

  static let rows: [Row] = [
    Row("a pipe in order is streamed", FileFacts(type: .pipe, size: 0), .sequential, .stream),
    Row("a pipe wanted whole is collected", FileFacts(type: .pipe, size: 0), .onceWhole, .read),
    Row("a socket is streamed", FileFacts(type: .socket, size: 0), .sequential, .stream),
    Row("a terminal is streamed", FileFacts(type: .characterDevice, size: 0), .sequential, .stream),
    Row("an empty file is read", facts(0), .sequential, .read),
    Row("content without size is read", facts(0) { $0.hasContentWithoutSize = true }, .sequential, .read),
    Row("sysfs is read", facts(4096) { $0.fileSystem = FileSystemKind(magic: 0x6265_6572) }, .onceWhole, .read),
    Row("a small file is read", facts(512), .onceWhole, .read),
    Row("16 KiB is read", facts(16 << 10), .sequential, .read),
    Row("64 KiB is read", facts(64 << 10), .onceWhole, .read),
    Row("64 MiB in memory is mapped", facts(64 * mib), .onceWhole, .map, .mapPopulate),
    Row("in large folios without loading ahead", facts(64 * mib) { $0.pagesPerFault = 256 }, .sequential, .map),
    Row("64 MiB not in memory is streamed", facts(64 * mib) { $0.residentFraction = 0 }, .sequential, .stream),
    Row("NFS is read", facts(64 * mib) { $0.fileSystem = FileSystemKind(magic: 0x6969) }, .onceWhole, .read),
    Row(
      "NFS in order is streamed", facts(64 * mib) { $0.fileSystem = FileSystemKind(magic: 0x6969) }, .sequential,
      .stream),
    Row(
      "FUSE is read piece by piece", facts(64 * mib) { $0.fileSystem = FileSystemKind(magic: 0x6573_5546) },
      .random(readSize: 64, count: 100_000), .read),
    Row("no address space, in order", facts(64 * mib) { $0.addressSpaceRoom = 64 * mib }, .sequential, .stream),
    Row("no address space, whole", facts(64 * mib) { $0.addressSpaceRoom = mib }, .onceWhole, .read),
    Row("no address space, scattered", facts(64 * mib) { $0.addressSpaceRoom = 0 }, .sparse(count: 1_000_000), .read),
    Row(
      "larger than memory is never loaded whole",
      facts(8192 * mib) {
        $0.memoryRoom = 1024 * mib
        $0.residentFraction = 0
      }, .onceWhole, .map, .stream),
    Row("ten bytes are read", facts(64 * mib), .random(readSize: 1, count: 10), .read),
    Row(
      "a hundred thousand bytes are mapped", facts(64 * mib), .random(readSize: 1, count: 100_000), .map, .mapPopulate),
    Row(
      "few of a cold file are read", facts(256 * mib) { $0.residentFraction = 0 }, .random(readSize: 4096, count: 10),
      .read),
    Row(
      "many of a small cold file load it", facts(4 * mib) { $0.residentFraction = 0 },
      .random(readSize: 4096, count: 1000), .mapPopulate),
    Row("an unknown count begins with reading", facts(64 * mib), .random(readSize: 64, count: nil), .read),
    Row("nonsense counts do not trap", facts(64 * mib), .random(readSize: -5, count: -7), .read),
    Row("the largest counts do not trap", facts(.max), .random(readSize: .max, count: .max), .map, .mapPopulate, .read),
  ]

  @Test(arguments: rows) func `each rule`(_ row: Row) {
    let decision = FileBytes.decide(facts: row.facts, access: row.access)
    #expect(row.expected.contains(decision.strategy), "\(decision.sentence)")
    #expect(decision.access == row.access)
    #expect(decision.sentence.hasSuffix(".") && decision.sentence.contains(": "))
    #expect(decision.evidence.first?.name == "size")
    #expect(decision.evidence.first?.value == Double(max(0, row.facts.size)))
  }

  @Test func `a directory is never chosen to be mapped`() {
    for access in [Access.onceWhole, .sequential, .sparse(count: 9)] {
      let decision = FileBytes.decide(facts: FileFacts(type: .directory, size: 4096), access: access)
      #expect(decision.strategy == .read || decision.strategy == .stream)
    }
  }

  @Test func `the sentence tells what the choice rests on`() {
    let decision = FileBytes.decide(
      facts: Self.facts(64 * Self.mib) { $0.pagesPerFault = 512 }, access: .onceWhole)
    #expect(decision.sentence.hasPrefix("Mapped: 64 MiB on ext4, 100 % resident in 512-page folios; mapping costs "))
    #expect(decision.sentence.contains(", reading "))
    let hidden = FileBytes.decide(
      facts: Self.facts(64 * Self.mib) {
        $0.isResidencyPermitted = false
        $0.residentFraction = nil
      }, access: .onceWhole)
    #expect(hidden.sentence.contains("residency hidden from this user"))
  }

  @Test func `the choice is the cheapest estimate`() throws {
    for size in [32 << 10, 1 << 20, 16 << 20, 1 << 30] as [Int64] {
      for resident in [0.0, 0.5, 1] {
        for access in [Access.onceWhole, .sequential, .random(readSize: 4096, count: 1000), .sparse(count: 7)] {
          let facts = Self.facts(size) { $0.residentFraction = resident }
          let decision = FileBytes.decide(facts: facts, access: access)
          let least = try #require(decision.estimates.values.min())
          let chosen = try #require(decision.estimates[decision.strategy])
          #expect(chosen <= least, "\(size) \(resident) \(access): \(decision.estimates)")
        }
      }
    }
  }

  @Test func `costs follow the calibration`() {
    var slowCalls = Calibration.builtIn
    slowCalls.readCall = 100e-6
    slowCalls.readCallFar = 100e-6
    let facts = Self.facts(64 * Self.mib)
    let access = Access.random(readSize: 1, count: 100)
    #expect(FileBytes.decide(facts: facts, access: access).strategy == .read)
    #expect(FileBytes.decide(facts: facts, access: access, calibration: slowCalls).strategy == .map)
  }

  @Test func `file systems have names and natures`() {
    #expect(FileSystemKind(magic: 0xEF53).name == "ext4")
    #expect(FileSystemKind(magic: 0xFFFF_FFFF_9123_683E).name == "btrfs")
    #expect(FileSystemKind(magic: 0x6969).isRemote)
    #expect(FileSystemKind(magic: 0xFF53_4D42).isRemote)
    #expect(!FileSystemKind(magic: 0x6573_5546).isRemote)
    #expect(FileSystemKind(magic: 0x6573_5546).prefersReading)
    #expect(FileSystemKind(magic: 0x9FA0).nature == .synthetic)
    #expect(FileSystemKind(magic: 0x0102_1994) == FileSystemKind(magic: 0x0102_1994))
    #expect(FileSystemKind(magic: 0x1234_5678).name == "0x12345678")
    #expect(!FileSystemKind(magic: 0x1234_5678).prefersReading)
  }

  @Test func `the tightest control group on the way to the root counts`() {
    let files = [
      "/sys/fs/cgroup/a/b/memory.max": "max\n", "/sys/fs/cgroup/a/b/memory.current": "5\n",
      "/sys/fs/cgroup/a/memory.max": "1000000\n", "/sys/fs/cgroup/a/memory.current": "900000\n",
      "/sys/fs/cgroup/a/memory.stat": "anon 5\ninactive_file 50000\n",
    ]
    #expect(MemoryRoom.cgroupRoom("0::/a/b\n", read: { files[$0] }) == 150_000)
    let old = [
      "/sys/fs/cgroup/memory/x/memory.limit_in_bytes": "2000\n",
      "/sys/fs/cgroup/memory/x/memory.usage_in_bytes": "2500\n",
    ]
    #expect(MemoryRoom.cgroupRoom("5:cpu:/x\n4:memory:/x\n", read: { old[$0] }) == 0)
    #expect(MemoryRoom.cgroupRoom("0::/\n", read: { _ in nil }) == nil)
    #expect(MemoryRoom.cgroupRoom("nonsense", read: { _ in "7" }) == nil)
  }
}
