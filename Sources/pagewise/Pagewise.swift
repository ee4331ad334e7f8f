// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser

/// The command line tool: arguments in, tables and JSON out.
@main
struct Pagewise: ParsableCommand {
  static let version = "0.1.0"

  static let configuration = CommandConfiguration(
    commandName: "pagewise",
    abstract: """
      Measures how files are best read; shows and changes what of them is in memory, on disk and mapped; \
      looks after memory that processes share.
      """,
    version: version,
    subcommands: [
      AdviseCommand.self, ResidencyCommand.self, WarmCommand.self, EvictCommand.self, LockCommand.self,
      StreamCommand.self, WhoCommand.self, HazardsCommand.self, ExplainCommand.self, DirtyCommand.self,
      FlushCommand.self, VerifyCommand.self, AppendCommand.self, RegionCommand.self, RingCommand.self,
    ])
}
