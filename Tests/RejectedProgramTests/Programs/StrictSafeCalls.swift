// SPDX-License-Identifier: Apache-2.0
//
// What is not marked unsafe needs no mark; bytes do, in a closure too.
// flags: -strict-memory-safety -Werror StrictMemorySafety

import MemoryMapping

private func program(_ map: borrowing MappedFile, _ file: inout FileBytes) throws {
  var lines = map.lines()
  while let line = try lines.next() { print(String(decodingUTF8: line)) }
  print(try map.load(at: 0, as: UInt32.self), try map.withBytes { $0.count(of: 10) }, map.faultFlag.isRaised)
  try file.forEachChunk { chunk, _ in print(chunk.byteCount) }
  let memory = try AnonymousMapping(byteCount: 64)
  print(memory.bytes.byteCount)
  #if REJECTED
    // expected-error: uses unsafe constructs but is not marked with 'unsafe'
    let count = { (map: borrowing MappedFile) in map.bytes.byteCount }
  #else
    let count = { (map: borrowing MappedFile) in unsafe map.bytes.byteCount }
  #endif
  print(count(map))
}
