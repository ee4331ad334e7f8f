// SPDX-License-Identifier: Apache-2.0
//
// Reads a header that others may be changing: from a checked copy, then the records in a guarded scope.

import MemoryMapping
import SystemPackage

struct Point: FixedLayout {
  var x: Float
  var y: Float

  static func describeLayout(_ layout: inout LayoutDescription<Self>) {
    layout.field(\.x)
    layout.field(\.y)
  }
}

do {
  // A file of three points, in memory.
  let file = try MemoryFile(name: "points", byteCount: 8 + 3 * MemoryLayout<Point>.stride)
  try file.write([3 as UInt64].span.bytes, at: 0)
  try file.write([Point(x: 1, y: 2), Point(x: 3, y: 4), Point(x: 5, y: 6)].span.bytes, at: 8)

  let map = try file.map()
  let count = try map.loadLittleEndian(at: 0, as: UInt64.self)
  let points = try file.map(offset: 8)
  var records = try points.records(of: Point.self)
  var sum: Float = 0
  while let point = try records.next() { sum += point.x * point.y }
  print("\(count) points, sum of products \(sum)")
} catch {
  print(error)
}
