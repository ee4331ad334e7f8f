// SPDX-License-Identifier: Apache-2.0
//
// Counts the lines of a file three ways. `swift run CountLines PATH`

import MemoryMapping
import SystemPackage

let path = FilePath(CommandLine.arguments.dropFirst().first ?? "README.md")
do {
  try countLines(path)
} catch {
  print(error)
}

func countLines(_ path: FilePath) throws {
  let map = try MappedFile(path)

  // As fast as memory: no line is looked at.
  print("newlines:", try map.count(of: UInt8(ascii: "\n")))

  // Each line as a span into the file.
  var lines = map.lines()
  var count = 0
  var longest = 0
  while let line = try lines.next() {
    count += 1
    longest = max(longest, line.byteCount)
  }
  print("lines:", count, "longest:", longest)

  // Whatever the file is: also a pipe.
  var file = try FileBytes(path, access: .sequential)
  var streamed = 0
  try file.forEachLine { _, _ in streamed += 1 }
  print("lines:", streamed, "-", file.decision)
}
