// SPDX-License-Identifier: Apache-2.0

import SharedMemory
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

/// The tool, and a folder in memory for the regions of one test.
struct RegionShelf: ~Copyable {
  let tool: Tool
  private let folder: TemporaryDirectory

  init() throws {
    let folder = try TemporaryDirectory(in: access("/dev/shm", W_OK) == 0 ? "/dev/shm" : nil)
    let tool = try Tool()
    self.folder = folder
    self.tool = tool
  }

  var path: FilePath { folder.path }
  var runtime: RuntimeFolder { RuntimeFolder(folder.path) }
  private var environment: [String: String] { ["PAGEWISE_RUNTIME_DIR": folder.path.string] }

  func file(_ region: String) -> FilePath { folder.appending(region + ".region") }

  /// Puts bytes where a region would be.
  func forge(_ region: String, _ bytes: [UInt8]) throws { try folder.file(region + ".region", bytes) }

  /// Runs the tool to its end; in `shell`, `"$@"` is the tool with its arguments.
  func run(
    _ arguments: String..., shell: String = "exec \"$@\"", input: [UInt8] = [], seconds: Int = 60
  ) throws -> Tool.Result {
    try tool.run(arguments, shell: shell, input: input, environment: environment, seconds: seconds)
  }

  /// Starts the tool beside the test. The child's process is the tool's own once `shell` has come to `exec "$@"`; its streams go to files of
  /// `tool.folder`, where the shell says so.
  func start(_ arguments: String..., shell: String = "exec \"$@\"") throws -> RunningChild {
    try RunningChild(
      ["sh", "-c", "cd '\(tool.folder.path.string)'; " + shell, "sh", try Tool.path()] + arguments,
      environment: environment)
  }

  /// What stands in a file of the tool's folder.
  func text(_ name: String) -> String { ProcessView.text(tool.folder.appending(name)) }

  /// Makes a ring by the tool.
  func ring(_ name: String, capacity: String = "1M", producers: Int = 1) throws {
    let made = try run("ring", "create", name, "--capacity", capacity, "--producers", "\(producers)")
    try #require(made.status == 0, "\(made)")
  }

  func status(_ name: String) throws -> RingStatus {
    try SharedRegionReader(named: name, in: runtime).ringStatus("ring")
  }

  /// Waits for something that another process brings about.
  static func eventually(seconds: Int = 30, _ condition: () throws -> Bool) rethrows -> Bool {
    for _ in 0..<seconds * 200 {
      if try condition() { return true }
      usleep(5000)
    }
    return false
  }

  /// Records as `--framed` has them.
  static func framed(_ records: [[UInt8]]) -> [UInt8] {
    records.flatMap { record in (0..<4).map { UInt8(truncatingIfNeeded: record.count >> ($0 * 8)) } + record }
  }

  static func lines(_ numbers: ClosedRange<Int>) -> String { numbers.map { "\($0)\n" }.joined() }
}
