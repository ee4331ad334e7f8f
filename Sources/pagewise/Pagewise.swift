// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser

/// The command line tool: arguments in, tables and JSON out.
@main
struct Pagewise: ParsableCommand {
  static let version = "0.1.0"

  static let configuration = CommandConfiguration(
    commandName: "pagewise",
    abstract: "Measures how files are best read, and shows, flushes, checks and appends what is written.",
    version: version,
    subcommands: [
      AdviseCommand.self, DirtyCommand.self, FlushCommand.self, VerifyCommand.self, AppendCommand.self,
      StreamCommand.self,
    ])
}
