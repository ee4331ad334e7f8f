// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CBaselines

@main struct Benchmarks: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pagewise-benchmarks",
    abstract: "Times Pagewise beside the same work in C, in alternating pairs of one run.",
    discussion: "Exit status 1 means that the two sides did not do the same work; no time is ever judged.")

  @Flag(help: "Tiny inputs and few rounds: shows that everything runs and does the same work.")
  var quick = false

  @Flag(help: "The rows as JSON.")
  var json = false

  @Flag(help: "In the grid, also the times of each fixed strategy, and what FileBytes chose and why.")
  var detail = false

  @Option(help: "In the grid, only files of this size in bytes. May be given several times.")
  var size: [Int] = []

  @Option(help: "Only this group: \(Self.names). May be given several times.")
  var filter: [String] = []

  @Option(help: "In stream, the size of the file in bytes.")
  var streamSize = 4 << 30

  @Option(help: "For commit, append, flush and stream: make the files below this folder instead of the current one.")
  var folder: String?

  @Option(help: "In ring, only what has this in its name, as 'polling: round trip'. May be given several times.")
  var table: [String] = []

  @Option(help: "In ring: the folder of the programs that Rivals/ipc/build makes; without it, nobody else's are run.")
  var rivals: String?

  @Flag(
    inversion: .prefixedNo,
    help: "For root: count what reaches the device on an ext4 image that nobody else writes to, behind a loop device.")
  var loop = true

  private static let names = "scan, open, guard, lines, grid, ring, commit, append, flush, stream"

  func run() throws {
    let groups: [(String, (Harness, borrowing Workplace) throws -> Void)] = [
      ("scan", benchmarkScan), ("open", benchmarkOpen), ("guard", benchmarkGuard), ("lines", benchmarkLines),
      ("grid", { try benchmarkGrid($0, $1, sizes: size) }),
      ("ring", { try benchmarkRings($0, $1, rivals: rivals, tables: table) }),
    ]
    // Those need a device below their files, not just any place.
    let storage: [(String, (Harness, borrowing StoragePlace) throws -> Void)] = [
      ("commit", benchmarkCommit), ("append", benchmarkAppend), ("flush", benchmarkFlush),
      ("stream", { try benchmarkStream($0, $1, size: streamSize) }),
    ]
    for name in filter where !(groups.map(\.0) + storage.map(\.0)).contains(name) {
      throw ValidationError("there is no group '\(name)': \(Self.names)")
    }
    let harness = Harness(isQuick: quick, isJSON: json, isDetailed: detail)
    let place = Workplace()
    harness.printHeader()
    for (name, body) in groups where filter.isEmpty || filter.contains(name) { try body(harness, place) }
    let chosen = storage.filter { filter.isEmpty || filter.contains($0.0) }
    if !chosen.isEmpty {
      let storagePlace = try StoragePlace(
        parent: folder, usesImage: loop && chosen.contains { $0.0 != "stream" }, isQuick: quick)
      for (_, body) in chosen { try body(harness, storagePlace) }
    }
    if json { harness.printJSON() }
    for failure in harness.failures { print("NOT THE SAME WORK: \(failure)") }
    if !harness.failures.isEmpty { throw ExitCode(1) }
  }
}
