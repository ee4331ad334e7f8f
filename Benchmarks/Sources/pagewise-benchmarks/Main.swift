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

  @Option(help: "Only this group: scan, open, guard, lines or grid. May be given several times.")
  var filter: [String] = []

  func run() throws {
    let groups: [(String, (Harness, borrowing Workplace) throws -> Void)] = [
      ("scan", benchmarkScan), ("open", benchmarkOpen), ("guard", benchmarkGuard), ("lines", benchmarkLines),
      ("grid", benchmarkGrid),
    ]
    for name in filter where !groups.contains(where: { $0.0 == name }) {
      throw ValidationError("there is no group '\(name)': scan, open, guard, lines, grid")
    }
    let harness = Harness(isQuick: quick, isJSON: json)
    let place = Workplace()
    harness.printHeader()
    for (name, body) in groups where filter.isEmpty || filter.contains(name) { try body(harness, place) }
    if json { harness.printJSON() }
    for failure in harness.failures { print("NOT THE SAME WORK: \(failure)") }
    if !harness.failures.isEmpty { throw ExitCode(1) }
  }
}
