// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing

@Suite struct MappedFileTests {
  @Test func `a mapped file shows its bytes and a cut is an error`() throws {
    let path = FilePath("/tmp/pgw-smoke-\(UInt64.random(in: 0...UInt64.max))")
    let file = try FileDescriptor.open(
      path, .readWrite, options: [.create, .exclusiveCreate], permissions: .ownerReadWrite)
    defer { try? file.close() }
    let content = [UInt8](repeating: 0x41, count: 3 * SystemPage.size + 5)
    try file.writeAll(content)
    var map = try MappedFile(path)
    #expect(map.count == content.count)
    let sum = try map.withBytes { span in
      var sum = 0
      for i in 0..<span.byteCount { sum += Int(span.unsafeLoad(fromByteOffset: i, as: UInt8.self)) }
      return sum
    }
    #expect(sum == 0x41 * content.count)
    try file.resize(to: Int64(SystemPage.size))
    var caught: MappingError? = nil
    do throws(MappingError) {
      _ = try map.withBytes { span in span.unsafeLoad(fromByteOffset: 2 * SystemPage.size, as: UInt8.self) }
    } catch { caught = error }
    #expect(caught?.code == .truncated)
    // The loss begins where the file ends, before the page that was touched.
    #expect(caught?.offset == Int64(SystemPage.size))
    print(caught!)
    var bytes = [UInt8](repeating: 0, count: 64)
    #expect(throws: MappingError.self) {
      try bytes.withUnsafeMutableBytes { try map.copy(SystemPage.size..<SystemPage.size + 64, into: $0) }
    }
    try bytes.withUnsafeMutableBytes { try map.copy(0..<64, into: $0) }
    #expect(bytes.allSatisfy { $0 == 0x41 })
    #expect(throws: MappingError.self) { try map.recover() }
    try file.resize(to: Int64(content.count))
    try map.recover()
    #expect(map.fault == nil)
    try map.withBytes { #expect($0.byteCount == content.count) }
    try map.close()
  }
}
