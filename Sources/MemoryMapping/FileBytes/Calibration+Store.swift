// SPDX-License-Identifier: Apache-2.0
//
// The stored form of a calibration: `calibration-1.txt` in $XDG_CACHE_HOME/pagewise, or ~/.cache/pagewise. ASCII text, one
// entry a line, a name and after the first space its value, in this order:
//
//   pagewise-calibration 1       magic and version of the format
//   kernel 6.18.0                release as in uname -r: other kernels have other costs
//   cpu Intel(R) Xeon(R)         model as the system names it
//   page 4096                    bytes in a page
//   read_call 2.1e-07            then every figure of Calibration.fields, in seconds, as a decimal number
//   ...
//   end                          so that a file that was cut is not taken for a whole one
//
// At most 4,096 bytes. Anything else, also an unknown, missing or repeated name or a figure that no machine has, makes the
// file as good as absent. It is replaced by rename, never changed in place.

internal import CPlatform
public import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// What figures belong to: they are measured anew when any of it changes.
@_spi(Testing) public struct Machine: Sendable, Hashable {
  public var kernel: String
  public var cpu: String
  public var pageSize: Int

  public init(kernel: String, cpu: String, pageSize: Int) {
    self.kernel = kernel
    self.cpu = cpu
    self.pageSize = pageSize
  }

  /// Nil where the system does not tell its kernel.
  public static var current: Machine? {
    var name = utsname()
    guard unsafe uname(&name) == 0 else { return nil }
    let kernel = unsafe withUnsafeBytes(of: &name.release) {
      unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    return Machine(kernel: oneLine(kernel), cpu: oneLine(cpuModel), pageSize: SystemPage.size)
  }

  private static var cpuModel: String {
    #if os(Linux)
      let text = MemoryRoom.smallFile("/proc/cpuinfo") ?? ""
      var parts: [Substring] = []
      // The first processor's lines stand for all. x86 has a name, ARM a few numbers.
      for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
        if line.isEmpty { break }
        let pair = line.split(separator: ":", maxSplits: 1)
        guard pair.count == 2, let key = pair.first else { continue }
        for wanted in ["model name", "CPU implementer", "CPU part", "cpu model", "uarch"] where key.hasPrefix(wanted) {
          parts.append(pair[1].drop { $0 == " " })
        }
      }
      return parts.isEmpty ? "unknown" : parts.joined(separator: " ")
    #else
      var size = 0
      guard unsafe sysctlbyname("machdep.cpu.brand_string", nil, &size, nil, 0) == 0, size > 0 else { return "unknown" }
      var bytes = [UInt8](repeating: 0, count: size)
      guard unsafe sysctlbyname("machdep.cpu.brand_string", &bytes, &size, nil, 0) == 0 else { return "unknown" }
      return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    #endif
  }

  private static func oneLine(_ text: String) -> String {
    String(text.prefix(120).map { $0.isNewline ? " " : $0 })
  }
}

@_spi(Testing) public enum CalibrationStore {
  public static let limit = 4096
  private static let magic = "pagewise-calibration 1"

  public static func text(_ calibration: Calibration, for machine: Machine) -> String {
    var lines = [magic, "kernel \(machine.kernel)", "cpu \(machine.cpu)", "page \(machine.pageSize)"]
    for field in Calibration.fields { lines.append("\(field.name) \(calibration[keyPath: field.path])") }
    lines.append("end")
    return lines.joined(separator: "\n") + "\n"
  }

  /// The figures in `text`, or nil when it is not exactly what ``text(_:for:)`` writes for this machine.
  public static func parse(_ text: String, for machine: Machine) -> Calibration? {
    guard text.utf8.count <= limit, text.hasSuffix("end\n") else { return nil }
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false)[...]
    func take(_ expected: String) -> Bool { lines.popFirst().map { $0 == expected } ?? false }
    guard take(magic), take("kernel \(machine.kernel)"), take("cpu \(machine.cpu)"), take("page \(machine.pageSize)")
    else { return nil }
    var calibration = Calibration.builtIn
    for field in Calibration.fields {
      guard let line = lines.popFirst(), line.hasPrefix(field.name + " "),
        let value = Double(line.dropFirst(field.name.count + 1))
      else { return nil }
      calibration[keyPath: field.path] = value
    }
    guard take("end"), take(""), lines.isEmpty, calibration.isPlausible else { return nil }
    calibration.isMeasured = true
    return calibration
  }

  /// The cache folder by the XDG rules: a relative $XDG_CACHE_HOME is invalid and passed over. Nil without a home.
  public static func folder(environment: (String) -> String?) -> FilePath? {
    if let base = environment("XDG_CACHE_HOME"), base.hasPrefix("/") { return FilePath(base).appending("pagewise") }
    guard let home = environment("HOME"), home.hasPrefix("/") else { return nil }
    return FilePath(home).appending(".cache").appending("pagewise")
  }

  internal static var folder: FilePath? {
    folder { name in unsafe getenv(name).map { unsafe String(cString: $0) } }
  }

  private static let fileName = "calibration-1.txt"

  public static func load(for machine: Machine, in folder: FilePath?) -> Calibration? {
    guard let folder else { return nil }
    // A FIFO or a device in its place must neither hang us nor be read without end.
    guard let file = try? OpenedFile(reading: folder.appending(fileName), followsSymbolicLinks: true),
      file.kind == .regular, file.stat.size <= Int64(limit)
    else { return nil }
    var count = 0
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: limit + 1) { buffer, initialized in
      while count < buffer.count {
        let got = unsafe pgw_pread(file.descriptor, buffer.baseAddress! + count, buffer.count - count, Int64(count))
        if got <= 0 { break }
        count += got
      }
      initialized = count
    }
    guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
    return parse(text, for: machine)
  }

  /// Writes beside the old file and replaces it by rename, so that a reader sees the old or the new figures, whole.
  public static func save(
    _ calibration: Calibration, for machine: Machine, in folder: FilePath?
  ) throws(MappingError) {
    guard let folder else { throw MappingError(.notFound, operation: .calibrate, detail: .note("no home folder")) }
    for place in [folder.removingLastComponent(), folder] {
      let failed = unsafe place.withPlatformString { unsafe mkdir($0, 0o700) } != 0
      if failed, Errno.current != .fileExists { throw .last(.calibrate, path: place) }
    }
    let target = folder.appending(fileName)
    let draft = folder.appending("\(fileName).\(getpid()).\(UInt32.random(in: 0...UInt32.max))")
    do {
      let file = try FileDescriptor.open(
        draft, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec], permissions: .ownerReadWrite)
      _ = try file.closeAfter { try file.writeAll(text(calibration, for: machine).utf8) }
      let failed =
        unsafe draft.withPlatformString { from in
          unsafe target.withPlatformString { to in unsafe rename(from, to) }
        } != 0
      if failed { throw Errno.current }
    } catch {
      unsafe draft.withPlatformString { _ = unsafe unlink($0) }
      throw MappingError((error as? Errno) ?? .ioError, .calibrate, path: target)
    }
  }
}
