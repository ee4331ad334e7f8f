// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser

/// The command line tool: arguments in, tables and JSON out.
@main
struct Pagewise: ParsableCommand {
  static let version = "0.1.0"

  static let configuration = CommandConfiguration(
    commandName: "pagewise",
    abstract: "Tells how a file is best read: mapped, loaded, read or streamed.",
    version: version,
    subcommands: [AdviseCommand.self])
}
