// SPDX-License-Identifier: Apache-2.0

import AccessAdvisor
import MemoryMapping
import SystemPackage
import _CTestSupport
import _TestSupport

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Counts what is asked and told during a measurement, and can act at a given step.
final class Steps {
  private(set) var titles: [String] = []
  private(set) var questions = 0
  private let at: Int
  private let action: () -> Void

  /// Runs `action` when the progress is told for the `at`-th time, from 0.
  init(at: Int = .max, _ action: @escaping () -> Void = {}) {
    self.at = at
    self.action = action
  }

  func told(_ share: Double, _ title: String) {
    if titles.count == at { action() }
    titles.append(title)
  }

  func asked(cancelAfter limit: Int) -> Bool {
    questions += 1
    return questions > limit
  }
}

/// The times and the identity of a file, as `stat` tells.
struct Stamp: Equatable {
  let size: Int64
  let inode: UInt64
  let times: [Int]

  init(_ path: FilePath) throws {
    var found = stat()
    guard path.withPlatformString({ stat($0, &found) }) == 0 else { throw Errno(rawValue: errno) }
    size = Int64(found.st_size)
    inode = UInt64(found.st_ino)
    times = [found.st_atim, found.st_mtim, found.st_ctim].flatMap { [$0.tv_sec, $0.tv_nsec] }
  }
}

func advise(
  _ path: FilePath, seconds: Double = 0.02, cold: Bool = false, steps: Steps = Steps(), cancelAfter: Int = .max
) throws(MappingError) -> FileReport {
  var options = FileAdvisor.Options()
  options.seconds = seconds
  options.isCold = cold
  return try FileAdvisor(options: options).advise(
    path, progress: steps.told, isCancelled: { steps.asked(cancelAfter: cancelAfter) })
}

func adviseTree(
  _ path: FilePath, seconds: Double = 0.05, follows: Bool = false, cold: Bool = false, cancelAfter: Int = .max
) throws(MappingError) -> TreeReport {
  var options = TreeAdvisor.Options()
  options.seconds = seconds
  options.followsLinks = follows
  options.isCold = cold
  let steps = Steps()
  return try TreeAdvisor(options: options).advise(path, isCancelled: { steps.asked(cancelAfter: cancelAfter) })
}

/// A file of the test pattern whose pages can be evicted: it is on the device.
func storedFile(_ folder: borrowing TemporaryDirectory, _ name: String, size: Int64) throws -> FilePath {
  let file = try PatternFile(folder.appending(name), size: size)
  guard fsync(file.descriptor.rawValue) == 0 else { throw Errno(rawValue: errno) }
  return file.path
}

func drop(_ path: FilePath) throws {
  let file = try FileDescriptor.open(path, .readOnly)
  try file.closeAfter { guard pgt_drop_caches(file.rawValue) == 0 else { throw Errno(rawValue: errno) } }
}

/// What an action throws, if it does.
func failure(_ body: () throws(MappingError) -> Void) -> MappingError? {
  do throws(MappingError) {
    try body()
    return nil
  } catch { return error }
}

extension FileReport {
  func row(_ kind: Access.Kind) -> AccessResult? { results.first { $0.access.kind == kind } }
  var hazards: [Hazard.Code] { file.hazards.map(\.code) }
  var rounds: Int { results.flatMap(\.cells).reduce(0) { $0 + $1.rounds } }
}
