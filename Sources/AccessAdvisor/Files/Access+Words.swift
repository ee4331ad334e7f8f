// SPDX-License-Identifier: Apache-2.0

extension Access {
  /// The row's name for people.
  public var title: String {
    switch kind {
    case .wholeOnce: "whole once"
    case .sequential: "sequential, 4 KiB records"
    case .randomPagesFew, .randomPagesMany: "random 4 KiB x \(Self.grouped(count))"
    case .randomBytesFew, .randomBytesMany: "random byte x \(Self.grouped(count))"
    case .openReadClose: "open, read, close"
    }
  }

  /// With a comma before each three digits.
  private static func grouped(_ number: Int) -> String {
    number < 1000 ? "\(number)" : "\(number / 1000),\(String(1000 + number % 1000).dropFirst())"
  }
}
