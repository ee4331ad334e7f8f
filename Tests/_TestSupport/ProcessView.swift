// SPDX-License-Identifier: Apache-2.0

internal import Glibc
public import SystemPackage
internal import _CTestSupport

/// What the kernel says about this process.
public enum ProcessView {
  /// One mapping, as /proc/self/smaps tells it.
  public struct Area: Sendable {
    public let range: Range<UInt>
    /// For instance `r--s`.
    public let permissions: String
    /// The path or the name; empty when there is none.
    public let name: String
    /// Lines below the first, for instance `Locked` to `12 kB`.
    public let fields: [String: String]

    /// The two-letter flags of `VmFlags`.
    public var flags: Set<String> { Set((fields["VmFlags"] ?? "").split(separator: " ").map(String.init)) }
    /// A field's number, in the field's own unit (KiB); -1 without the field.
    public func number(_ field: String) -> Int { fields[field]?.split(separator: " ").first.flatMap { Int($0) } ?? -1 }
  }

  /// The mapping that holds `address`.
  public static func area(of address: UnsafeRawPointer) -> Area? {
    let wanted = UInt(bitPattern: address)
    var found: (Range<UInt>, String, String)? = nil
    var fields: [String: String] = [:]
    for line in text("/proc/self/smaps").split(separator: "\n") {
      let words = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
      let bounds = words[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
      if bounds.count == 2, words.count >= 5, !words[0].hasSuffix(":") {
        if found != nil { break }
        if bounds[0] <= wanted, wanted < bounds[1] {
          // The kernel pads the columns before the name.
          found = (bounds[0]..<bounds[1], String(words[1]), words.count > 5 ? String(words[5].drop { $0 == " " }) : "")
        }
      } else if found != nil, let colon = line.firstIndex(of: ":") {
        fields[String(line[..<colon])] = String(line[line.index(after: colon)...].drop { $0 == " " })
      }
    }
    return found.map { Area(range: $0.0, permissions: $0.1, name: $0.2, fields: fields) }
  }

  /// Descriptors of this process whose target, as /proc/self/fd shows it, satisfies the condition.
  public static func descriptors(where matches: (String) -> Bool) -> [(number: CInt, isClosedOnExec: Bool)] {
    var found: [(CInt, Bool)] = []
    for number in numbers(in: "/proc/self/fd") {
      var target = [UInt8](repeating: 0, count: 4096)
      let length = target.withUnsafeMutableBytes { bytes in
        readlink("/proc/self/fd/\(number)", bytes.baseAddress!.assumingMemoryBound(to: CChar.self), bytes.count)
      }
      guard length > 0, matches(String(decoding: target.prefix(length), as: UTF8.self)) else { continue }
      found.append((number, pgt_descriptor_flags_cloexec(number) == 1))
    }
    return found
  }

  /// The names of a folder of /proc that are numbers: processes, threads, descriptors.
  public static func numbers(in folder: String) -> [CInt] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var found: [CInt] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if let number = CInt(name) { found.append(number) }
    }
    return found
  }

  /// A whole text file, also one of /proc. Empty when it cannot be read.
  public static func text(_ path: FilePath) -> String {
    guard let file = try? FileDescriptor.open(path, .readOnly, options: [.closeOnExec]) else { return "" }
    defer { try? file.close() }
    var all: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 1 << 16)
    while let got = try? part.withUnsafeMutableBytes({ try file.read(into: $0) }), got > 0 { all += part.prefix(got) }
    return String(decoding: all, as: UTF8.self)
  }
}
