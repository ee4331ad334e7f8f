// SPDX-License-Identifier: Apache-2.0

internal import SharedMemory
internal import SystemPackage

/// One run of a verb that passes messages: its end, and the exit status.
enum RingRun {
  enum Ending {
    case done
    /// With a sentence each.
    case failed(String)
    case timedOut(String)
    case interrupted(String)
    /// Standard output took no more.
    case outputFailed
  }

  /// As timeout(1) has it.
  static let timedOutStatus: Int32 = 124

  struct Interrupted: Error {}

  /// Runs the verb, says how it ended, and gives the status.
  static func status(_ ring: RingArguments, _ body: () throws -> Ending) -> Int32 {
    let ending: Ending
    do { ending = try body() } catch let error as SharedMemoryError {
      Standard.error("pagewise: \(ring.place.located(error))\n")
      return error.code == .invalidArgument ? 64 : 1
    } catch {
      Standard.error("pagewise: \(error)\n")
      return 1
    }
    switch ending {
    case .done where Standard.outputFailure == nil: return 0
    case .failed(let sentence):
      Standard.error("pagewise: \(sentence)\n")
      return 1
    case .timedOut(let sentence):
      Standard.error("pagewise: \(sentence)\n")
      return timedOutStatus
    case .interrupted(let sentence):
      Standard.error("pagewise: \(sentence)\n")
      return 130
    case .done, .outputFailed:
      // A reader that went away has what it wanted.
      if let reason = Standard.outputFailure, reason != .brokenPipe {
        Standard.error("pagewise: cannot write to standard output: \(reason).\n")
      }
      return 1
    }
  }

  /// A wait in slices of a tenth of a second, between which interruptions are looked for.
  struct Wait {
    private let end: Double

    /// - Parameter seconds: nil for as long as it takes.
    init(seconds: Double?) { end = seconds.map { Standard.now + $0 } ?? .infinity }

    var isOver: Bool { Standard.now >= end }

    /// The end of the next slice.
    var slice: Deadline { .after(.seconds(min(max(end - Standard.now, 0), 0.1))) }
  }
}
