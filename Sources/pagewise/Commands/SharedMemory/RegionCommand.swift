// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser

/// `pagewise region`: the shared memory regions that have a name.
struct RegionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "region",
    abstract: "Lists shared memory regions, shows what is in one and who uses it, removes unused ones.",
    discussion: """
      A region is memory that processes have in common: SharedRegion of the
      library, or 'pagewise ring create'. Those with a name are files in a
      folder in memory, which belongs to one user alone.

      EXAMPLES:
        pagewise region list                     which are there, and who lives
        pagewise region inspect orders           everything about one
        pagewise region gc                       what nobody uses
        pagewise region gc --remove              and away with it
      """,
    subcommands: [RegionListCommand.self, RegionInspectCommand.self, RegionGCCommand.self])
}
