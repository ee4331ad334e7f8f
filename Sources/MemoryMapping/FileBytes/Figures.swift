// SPDX-License-Identifier: Apache-2.0

/// Numbers as people write them, for sentences. Programs take the evidence instead.
internal enum Figures {
  /// Bytes in binary units with at most three digits: `512 B`, `1.5 MiB`, `64 MiB`.
  internal static func bytes(_ count: Int64) -> String {
    var value = Double(max(0, count))
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
      if value < 1000 || unit == "TiB" { return "\(number(value)) \(unit)" }
      value /= 1024
    }
    return "\(count) B"
  }

  /// A duration with at most three digits: `0.3 µs`, `3.9 ms`, `1.2 s`.
  internal static func seconds(_ duration: Double) -> String {
    guard duration.isFinite else { return "not possible" }
    if duration < 1e-3 { return "\(number(duration * 1e6)) µs" }
    if duration < 1 { return "\(number(duration * 1e3)) ms" }
    return "\(number(duration)) s"
  }

  /// One decimal below ten, where it is not zero; none above.
  internal static func number(_ value: Double) -> String {
    guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
    let tenths = Int64((value * 10).rounded())
    return value >= 10 || tenths % 10 == 0 ? "\(Int64(value.rounded()))" : "\(tenths / 10).\(tenths % 10)"
  }
}
