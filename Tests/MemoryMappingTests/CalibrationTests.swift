// SPDX-License-Identifier: Apache-2.0

@_spi(Testing) import MemoryMapping
import SystemPackage
import Testing
import _TestSupport

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

@Suite struct CalibrationTests {
  static let machine = Machine(kernel: "6.18.0-test", cpu: "A CPU @ 3 GHz", pageSize: 4096)

  /// The format's golden form: what version 1 looks like on disk, byte for byte.
  static let golden = """
    pagewise-calibration 1
    kernel 6.18.0-test
    cpu A CPU @ 3 GHz
    page 4096
    read_call 4.2e-07
    read_call_far 6e-07
    copy_byte 4e-11
    copy_byte_far 1e-10
    fresh_byte 4e-10
    mapping 6.5e-06
    fault 9e-07
    fault_page 2e-08
    populate_page 1.4e-07
    touch_byte 2e-11
    load 5e-09
    device_request 5e-05
    device_byte 5.5e-10
    end

    """

  @Test func `the stored form is as documented and comes back`() throws {
    #expect(CalibrationStore.text(.builtIn, for: Self.machine) == Self.golden)
    var expected = Calibration.builtIn
    expected.isMeasured = true
    #expect(CalibrationStore.parse(Self.golden, for: Self.machine) == expected)
  }

  @Test func `another kernel, processor or page size does not count`() {
    for change in [
      { $0.kernel = "6.19.0" }, { $0.cpu = "B" }, { $0.pageSize = 16384 },
    ] as [(inout Machine) -> Void] {
      var other = Self.machine
      change(&other)
      #expect(CalibrationStore.parse(Self.golden, for: other) == nil)
    }
  }

  @Test func `a damaged file does not count`() {
    let text = Self.golden
    // Cut at every byte.
    for length in 0..<text.utf8.count {
      #expect(
        CalibrationStore.parse(String(decoding: text.utf8.prefix(length), as: UTF8.self), for: Self.machine) == nil)
    }
    // Every line missing, twice, or out of order.
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
    for index in lines.indices {
      var fewer = Array(lines)
      fewer.remove(at: index)
      var more = Array(lines)
      more.insert(lines[index], at: index)
      for changed in [fewer, more] {
        #expect(CalibrationStore.parse(changed.joined(separator: "\n") + "\n", for: Self.machine) == nil)
      }
    }
    for (from, to) in [
      ("4.2e-07", "nan"), ("4.2e-07", "inf"), ("4.2e-07", "-1"), ("4.2e-07", "0"), ("4.2e-07", "5"), ("4.2e-07", ""),
      ("4.2e-07", "0x1p-9999999"), ("calibration 1", "calibration 2"), ("\n", "\r\n"), ("end", "End"),
      ("read_call ", "read_call\t"),
    ] {
      let changed = text.split(separator: from, maxSplits: 1, omittingEmptySubsequences: false).joined(separator: to)
      #expect(changed != text)
      #expect(CalibrationStore.parse(changed, for: Self.machine) == nil, "\(from) -> \(to)")
    }
    #expect(CalibrationStore.parse(text + String(repeating: " ", count: 5000) + "end\n", for: Self.machine) == nil)
  }

  @Test func `it is saved in a folder that did not exist and read back`() throws {
    let folder = try TemporaryDirectory()
    let place = folder.appending("cache").appending("pagewise")
    var figures = Calibration.builtIn
    figures.isMeasured = true
    #expect(CalibrationStore.load(for: Self.machine, in: place) == nil)
    try CalibrationStore.save(figures, for: Self.machine, in: place)
    #expect(CalibrationStore.load(for: Self.machine, in: place) == figures)
    figures.fault *= 2
    try CalibrationStore.save(figures, for: Self.machine, in: place)
    #expect(CalibrationStore.load(for: Self.machine, in: place) == figures)
  }

  @Test func `what stands in its place neither hangs nor counts`() throws {
    let folder = try TemporaryDirectory()
    let place = folder.appending("calibration-1.txt")
    try withWatchdog("loading a calibration from odd files", seconds: 20) {
      #expect(unsafe place.withPlatformString { unsafe mkfifo($0, 0o600) } == 0)
      #expect(CalibrationStore.load(for: Self.machine, in: folder.path) == nil)
      #expect(unsafe place.withPlatformString { unsafe unlink($0) } == 0)
      #expect(unsafe place.withPlatformString { unsafe mkdir($0, 0o700) } == 0)
      #expect(CalibrationStore.load(for: Self.machine, in: folder.path) == nil)
      // A folder in the way: saving is refused, and nothing is left beside it.
      #expect(throws: MappingError.self) { try CalibrationStore.save(.builtIn, for: Self.machine, in: folder.path) }
      #expect(unsafe place.withPlatformString { unsafe rmdir($0) } == 0)
      _ = try folder.file("calibration-1.txt", [UInt8](repeating: 0xFF, count: 4000))
      #expect(CalibrationStore.load(for: Self.machine, in: folder.path) == nil)
    }
    #expect(CalibrationStore.load(for: Self.machine, in: nil) == nil)
    #expect(throws: MappingError.self) {
      try CalibrationStore.save(.builtIn, for: Self.machine, in: "/proc/self/nowhere/pagewise")
    }
  }

  @Test func `the folder follows the XDG rules`() {
    #expect(CalibrationStore.folder { ["XDG_CACHE_HOME": "/x", "HOME": "/h"][$0] } == "/x/pagewise")
    #expect(CalibrationStore.folder { ["XDG_CACHE_HOME": "relative", "HOME": "/h"][$0] } == "/h/.cache/pagewise")
    #expect(CalibrationStore.folder { ["HOME": "/h"][$0] } == "/h/.cache/pagewise")
    #expect(CalibrationStore.folder { _ in nil } == nil)
  }

  @Test func `measuring gives figures that a machine can have`() throws {
    let measured = try Calibration.measured()
    #expect(measured.isMeasured && measured.isPlausible)
    #expect(measured.readCall > measured.copyByte)
    #expect(Machine.current != nil)
  }

  @Test func `figures that no machine has are not used`() throws {
    var broken = Calibration.builtIn
    broken.readCall = .nan
    #expect(!broken.isPlausible)
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", [UInt8](repeating: 1, count: 100_000))
    var options = FileBytes.Options()
    options.calibration = .fixed(broken)
    var file = try FileBytes(path, access: .random(readSize: 1, count: 1000), options: options)
    #expect(file.decision.estimates.values.allSatisfy { $0.isFinite })
    #expect(try file.withBytes { $0.byteCount } == 100_000)
  }
}
