// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser

/// `pagewise ring`: rings of shared memory, from the shell.
struct RingCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ring",
    abstract: "Sends and receives messages through rings in shared memory, watches them, measures them.",
    discussion: """
      A ring is a part of a region: up to 64 producers send messages to one
      consumer. It keeps what was sent and not received, whoever is killed,
      for as long as the machine runs and the region is not removed.

      EXAMPLES:
        pagewise ring create jobs                a ring of 1 MiB
        pagewise ring receive jobs | worker      in one terminal
        producer | pagewise ring send jobs       in another
        pagewise ring top                        who is behind, and how much
        pagewise ring tail -f jobs               what passes, without taking it
        pagewise ring bench                      what this machine gives
      """,
    subcommands: [
      RingCreateCommand.self, RingSendCommand.self, RingReceiveCommand.self, RingTopCommand.self, RingTailCommand.self,
      RingBenchCommand.self, RingBenchPeerCommand.self,
    ])
}
