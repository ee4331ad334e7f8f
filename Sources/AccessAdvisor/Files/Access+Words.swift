// SPDX-License-Identifier: Apache-2.0

extension Access {
  /// The row's name for people.
  public var title: String {
    switch kind {
    case .wholeOnce: "whole once"
    case .sequential: "sequential by 4 KiB"
    case .randomPagesFew, .randomPagesMany: "random 4 KiB x \(Self.grouped(count))"
    case .randomBytesFew, .randomBytesMany: "random byte x \(Self.grouped(count))"
    case .openReadClose: "open, read, close"
    }
  }

  /// What is read, for sentences.
  internal var words: String {
    switch kind {
    case .wholeOnce: "a whole pass"
    case .sequential: "a pass in records"
    case .randomPagesFew, .randomPagesMany: "\(Self.grouped(count)) random 4 KiB reads"
    case .randomBytesFew, .randomBytesMany: "\(Self.grouped(count)) random bytes"
    case .openReadClose: "opening, reading and closing"
    }
  }

  /// With a comma before each three digits.
  internal static func grouped(_ number: Int) -> String {
    number < 1000 ? "\(number)" : grouped(number / 1000) + ",\(String(1000 + number % 1000).dropFirst())"
  }
}
