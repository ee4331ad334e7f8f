// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import _StorageModel

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Writes as fast as it can until it is killed, and says on standard output what was acknowledged: one line a time, the number of the
/// state or record.
///
///     _StorageWriter transactions|grouped|appends|flushed-appends|msync|pages|replacements PATH [COUNT]
@main
enum StorageWriter {
  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count >= 3 else { exit(64) }
    let path = FilePath(arguments[2])
    let count = arguments.count > 3 ? Int(arguments[3]) ?? .max : .max
    do {
      switch arguments[1] {
      case "transactions": try transactions(path, count, groupOf: 1)
      case "grouped": try transactions(path, count, groupOf: 5)
      case "appends": try appends(path, count, flushEvery: 0)
      case "flushed-appends": try appends(path, count, flushEvery: 7)
      case "msync": try msync(path, count)
      case "pages": try pages(path, count)
      case "replacements": try replacements(path, count)
      default: exit(64)
      }
    } catch {
      say("failed: \(error)")
      exit(1)
    }
  }

  static func say(_ text: String) {
    let line = Array((text + "\n").utf8)
    _ = write(1, line, line.count)
  }

  static func transactions(_ path: FilePath, _ count: Int, groupOf group: UInt64) throws {
    var options = TransactionalFile.Options()
    options.journalLimit = 200_000
    var file = try TransactionalFile(
      path, creating: .ifMissing(size: Int64(StorageModel.Scattered.firstSize)), options: options)
    var number = UInt64(littleEndian: try file.load(at: 0, as: UInt64.self))
    say("\(number)")
    for _ in 0..<count {
      number += 1
      let isDurable = number % group == 0
      try file.withTransaction(
        growingTo: StorageModel.Scattered.size(number), isDurable ? .durable : .withNext
      ) { bytes in
        for (offset, word) in StorageModel.Scattered.changes(number) {
          bytes.storeBytes(of: word.littleEndian, toByteOffset: offset, as: UInt64.self)
        }
      }
      if isDurable { say("\(number)") }
    }
    try file.close()
  }

  static func appends(_ path: FilePath, _ count: Int, flushEvery: UInt64) throws {
    var options = GrowableMappedFile.Options()
    options.chunk = 1 << 14...1 << 17
    var file = try GrowableMappedFile(path, options: options)
    let content = try file.withBytes { $0.withUnsafeBytes { Array($0) } }
    guard var number = StorageModel.Records.count(content) else {
      say("torn")
      exit(2)
    }
    // What is found may be in the page cache alone: what is said to be durable is flushed first.
    if flushEvery > 0 { try file.flush(.data) }
    say("\(number)")
    for _ in 0..<count {
      number += 1
      try file.append(StorageModel.Records.record(number).span.bytes)
      if flushEvery == 0 {
        say("\(number)")
      } else if number % flushEvery == 0 {
        try file.flush(.data)
        say("\(number)")
      }
    }
    try file.close()
  }

  /// The same changes without a journal: what the harness must find fault with.
  static func msync(_ path: FilePath, _ count: Int) throws {
    var file = try MutableMappedFile(path, creating: .ifMissing(size: Int64(StorageModel.Scattered.firstSize)))
    var number = UInt64(littleEndian: try file.load(at: 0, as: UInt64.self))
    say("\(number)")
    for _ in 0..<count {
      number += 1
      if StorageModel.Scattered.size(number) > file.count { try file.resize(to: StorageModel.Scattered.size(number)) }
      for (offset, word) in StorageModel.Scattered.changes(number) { try file.store(word.littleEndian, at: offset) }
      try file.flush(.data)
      say("\(number)")
    }
  }

  /// Page `n` of the file begins with `n + 1`. Each is a block that the file system has yet to find, so that each sync is for a
  /// transaction of the file system's own; every other one syncs a range.
  static func pages(_ path: FilePath, _ count: Int) throws {
    let page = 4096
    var file = try MutableMappedFile(path, creating: .ifMissing(size: 0))
    var number = file.count / page
    for _ in 0..<count {
      try file.resize(to: (number + 1) * page)
      try file.store(UInt64(number + 1).littleEndian, at: number * page)
      try file.flush(.data, number % 2 == 0 ? nil : number * page..<(number + 1) * page)
      number += 1
      say("\(number)")
    }
  }

  /// The file is its number, and is replaced by the next.
  static func replacements(_ path: FilePath, _ count: Int) throws {
    for number in 1...UInt64(count == .max ? 1 << 40 : count) {
      var content = number.littleEndian
      try withUnsafeBytes(of: &content) { try replaceFile(path, with: $0.bytes) }
      say("\(number)")
    }
  }
}
