// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _CTestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

private func store(of value: UInt8, toByteOffset offset: Int = 0, as: UInt8.Type, in memory: inout AnonymousMapping) {
  var bytes = memory.mutableBytes
  bytes.storeBytes(of: value, toByteOffset: offset, as: UInt8.self)
}

@Suite struct AnonymousMappingTests {
  @Test(arguments: [0, 1, 4095, 4096, 4097, 1 << 20])
  func `anonymous memory has the asked size, begins as zeros and keeps stores`(count: Int) throws {
    for guardPages in [false, true] {
      for sharing in [AnonymousMapping.Options.Sharing.private, .shared] {
        var options = AnonymousMapping.Options(sharing: sharing)
        options.guardPages = guardPages
        options.populate = count % 2 == 0
        var memory = try AnonymousMapping(byteCount: count, options: options)
        #expect(memory.count == count)
        #expect(memory.bytes.byteCount == count)
        #expect((0..<count).allSatisfy { memory.bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) == 0 })
        if count > 0 {
          store(of: 7, toByteOffset: count - 1, as: UInt8.self, in: &memory)
          #expect(memory.bytes.unsafeLoad(fromByteOffset: count - 1, as: UInt8.self) == 7)
          if sharing == .private {
            try memory.discard()
            #expect(memory.bytes.unsafeLoad(fromByteOffset: count - 1, as: UInt8.self) == 0)
          }
        }
        try memory.close()
      }
    }
  }

  @Test func `sizes that no address space can hold are errors`() {
    for count in [-1, Int.max, Int.max - 4096, Int.min] {
      #expect(throws: MappingError.self) { _ = try AnonymousMapping(byteCount: count) }
    }
  }

  @Test func `a protected mapping refuses the view that it cannot give`() async throws {
    var memory = try AnonymousMapping(byteCount: 100)
    store(of: 5, as: UInt8.self, in: &memory)
    try memory.protect(.readOnly)
    #expect(memory.access == .readOnly)
    #expect(memory.bytes.unsafeLoad(as: UInt8.self) == 5)
    try memory.protect(.readWrite)
    store(of: 6, as: UInt8.self, in: &memory)
    await #expect(processExitsWith: .failure) {
      var memory = try AnonymousMapping(byteCount: 100)
      try memory.protect(.readOnly)
      store(of: 6, as: UInt8.self, in: &memory)
    }
    await #expect(processExitsWith: .failure) {
      var memory = try AnonymousMapping(byteCount: 100)
      try memory.protect(.none)
      print(memory.bytes.byteCount)
    }
  }

  @Test func `a guard page stops a stray pointer on both sides`() async {
    await #expect(processExitsWith: .signal(SIGSEGV)) {
      var options = AnonymousMapping.Options()
      options.guardPages = true
      let memory = try AnonymousMapping(byteCount: SystemPage.size, options: options)
      memory.bytes.withUnsafeBytes { print(($0.baseAddress! - 1).load(as: UInt8.self)) }
    }
    await #expect(processExitsWith: .signal(SIGSEGV)) {
      var options = AnonymousMapping.Options()
      options.guardPages = true
      let memory = try AnonymousMapping(byteCount: SystemPage.size, options: options)
      memory.bytes.withUnsafeBytes { print(($0.baseAddress! + SystemPage.size).load(as: UInt8.self)) }
    }
  }

  @Test func `huge pages come from the pool or say that it is empty`() throws {
    do throws(MappingError) {
      var memory = try AnonymousMapping(byteCount: 3 << 20, options: .init(pageSize: .huge2MiB))
      store(of: 1, toByteOffset: 3 << 20 - 1, as: UInt8.self, in: &memory)
      // Unmapping must be in whole huge pages: 4 MiB.
      try memory.close()
    } catch {
      #expect(error.code == .memoryExhausted || error.code == .notSupported)
      #expect(error.description.contains("huge pages"))
    }
  }
}

@Suite struct MemoryFileTests {
  private func write(_ bytes: [UInt8], to file: borrowing MemoryFile, at offset: Int) throws {
    try file.write(bytes.span.bytes, at: offset)
  }

  @Test func `a sealed memory file can be trusted and refuses every change`() throws {
    let file = try MemoryFile(name: "table", byteCount: 10_000)
    try write([1, 2, 3], to: file, at: 9_997)
    #expect(try file.byteCount == 10_000)
    try file.seal([.shrink, .grow, .write])
    #expect(file.seals.isSuperset(of: [.shrink, .grow, .write]))
    var options = MappedFile.Options()
    options.stability = .sealed
    let map = try file.map(options: options)
    #expect(try map.withBytes { $0.unsafeLoad(fromByteOffset: 9_999, as: UInt8.self) } == 3)
    for size in [0, 9_999, 10_001] {
      #expect { try file.resize(to: size) } throws: { ($0 as? MappingError)?.code == .readOnly }
    }
    #expect { try write([9], to: file, at: 0) } throws: { ($0 as? MappingError)?.code == .readOnly }
  }

  @Test func `an unsealed memory file is refused where a seal is needed, and a cut of it is an error`() throws {
    let file = try MemoryFile(name: "loose", byteCount: 4 * SystemPage.size)
    var options = MappedFile.Options()
    options.stability = .sealed
    #expect { _ = try file.map(options: options) } throws: { ($0 as? MappingError)?.code == .notSealed }
    let map = try file.map()
    try file.resize(to: SystemPage.size)
    #expect {
      try map.withBytes { (span: RawSpan) -> Void in
        _ = span.withUnsafeBytes { pgt_touch($0.baseAddress! + 3 * SystemPage.size) }
      }
    } throws: { ($0 as? MappingError)?.code == .truncated }
    try file.seal(.seal)
    #expect(throws: MappingError.self) { try file.seal(.shrink) }
  }

  @Test func `a mapping outlives its memory file, and bad names and sizes are errors`() throws {
    let file = try MemoryFile(name: "short", byteCount: 3)
    try write([7, 8, 9], to: file, at: 0)
    let map = try file.map(offset: 1)
    try file.close()
    #expect(try map.withBytes { $0.unsafeLoad(as: UInt8.self) } == 8)
    #expect(throws: MappingError.self) { _ = try MemoryFile(name: "x", byteCount: -1) }
    #expect(throws: MappingError.self) { _ = try MemoryFile(name: String(repeating: "x", count: 250), byteCount: 1) }
    #expect(throws: MappingError.self) { _ = try MemoryFile(name: "a\0b", byteCount: 1) }
    let other = try MemoryFile(name: "other", byteCount: 1)
    #expect(throws: MappingError.self) { try other.write([1 as UInt8].span.bytes, at: -1) }
  }

  @Test func `a memory file of huge pages is mapped and unmapped in whole huge pages`() throws {
    do throws(MappingError) {
      let file = try MemoryFile(name: "huge", byteCount: 4 << 20, hugePages: true)
      // Any offset and length: the slack and the rounding are those of the huge page.
      let map = try file.map(offset: (2 << 20) + 12_345, length: 100)
      #expect(try map.withBytes { $0.unsafeLoad(fromByteOffset: 99, as: UInt8.self) } == 0)
      try map.close()
    } catch {
      #expect([.memoryExhausted, .notSupported, .addressSpaceExhausted].contains(error.code), "\(error)")
    }
  }
}

@Suite struct AddressReservationTests {
  let page = SystemPage.size

  @Test func `committed memory keeps its address and is separate from the rest`() throws {
    var space = try AddressReservation(byteCount: 1 << 40)
    let base = space.baseAddress
    try space.commit(0..<page)
    try space.commit(4 * page..<6 * page)
    #expect(space.committed == [0..<page, 4 * page..<6 * page])
    try space.withMutableBytes(4 * page..<6 * page) { $0.storeBytes(of: 77, toByteOffset: 5, as: UInt8.self) }
    try space.commit(page..<4 * page)
    // A scope over several pieces.
    #expect(try space.withBytes(0..<6 * page) { $0.unsafeLoad(fromByteOffset: 4 * page + 5, as: UInt8.self) } == 77)
    #expect(space.baseAddress == base)
    try space.decommit(page..<4 * page)
    #expect { try space.withBytes(0..<6 * page) { _ in } } throws: { ($0 as? MappingError)?.code == .invalidRange }
    try space.commit(page..<2 * page)
    #expect(try space.withBytes(page..<2 * page) { $0.unsafeLoad(as: UInt8.self) } == 0)
  }

  @Test func `nothing is committed outside, across or twice`() throws {
    var space = try AddressReservation(byteCount: 10 * page)
    try space.commit(2 * page..<4 * page)
    for bounds in [2 * page..<3 * page, page..<3 * page, 3 * page..<5 * page, 0..<10 * page, 2 * page..<4 * page] {
      #expect { try space.commit(bounds) } throws: { ($0 as? MappingError)?.code == .busy }
    }
    for bounds in [9 * page..<11 * page, 0..<1, 1..<page, page..<page, -page..<page] {
      #expect { try space.commit(bounds) } throws: { ($0 as? MappingError)?.code == .invalidRange }
    }
    #expect(throws: MappingError.self) { try space.decommit(2 * page..<3 * page) }
    #expect(throws: MappingError.self) { _ = try AddressReservation(byteCount: 0) }
    #expect(throws: MappingError.self) { _ = try AddressReservation(byteCount: Int.max) }
    #expect(throws: MappingError.self) { _ = try AddressReservation(byteCount: 1, alignment: 3) }
  }

  @Test func `an aligned reservation begins where it was asked to`() throws {
    for shift in [12, 16, 21, 30] {
      let space = try AddressReservation(byteCount: 3 * page, alignment: 1 << shift)
      #expect(UInt(bitPattern: space.baseAddress) & (1 << shift - 1) == 0)
      #expect(space.count == 3 * page)
    }
  }

  @Test func `a file mapped into it is guarded, read-only and leaves its place free again`() throws {
    let file = try MemoryFile(name: "inside", byteCount: 3 * page)
    try file.write([UInt8](repeating: 9, count: 3 * page).span.bytes, at: 0)
    var space = try AddressReservation(byteCount: 16 * page)
    try space.map(file.descriptor, fileOffset: Int64(page), at: 4 * page, length: 2 * page)
    #expect(
      try space.withBytes(4 * page..<6 * page) { $0.unsafeLoad(fromByteOffset: 2 * page - 1, as: UInt8.self) } == 9)
    #expect { try space.withMutableBytes(4 * page..<5 * page) { _ in } } throws: {
      ($0 as? MappingError)?.code == .readOnly
    }
    #expect(throws: MappingError.self) { try space.map(file.descriptor, at: 8 * page, length: 4 * page) }
    #expect(throws: MappingError.self) { try space.map(file.descriptor, fileOffset: 1, at: 8 * page, length: 1) }
    try file.resize(to: 2 * page)
    #expect {
      try space.withBytes(4 * page..<6 * page) { (span: RawSpan) -> Void in
        // In C: a load whose value nobody uses is left out in release.
        _ = span.withUnsafeBytes { pgt_touch($0.baseAddress! + page) }
      }
    } throws: { ($0 as? MappingError)?.code == .truncated && ($0 as? MappingError)?.offset == Int64(2 * page) }
    try space.decommit(4 * page..<6 * page)
    try space.commit(4 * page..<6 * page)
    #expect(try space.withBytes(4 * page..<6 * page) { $0.unsafeLoad(fromByteOffset: page, as: UInt8.self) } == 0)
  }
}
