// SPDX-License-Identifier: Apache-2.0

import CBaselines

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// One way to move messages between processes.
struct Side: Sendable {
  let name: String
  /// Whether others are compared with it.
  var isOurs = false
  /// Whether its sum is that of all others: the bare words have no messages.
  var hasWork = true
  /// A program of somebody else, whose failure is not ours.
  var isRival = false
  /// Does the scenario once, in processes of its own.
  let run: @Sendable (Scenario) throws -> Measured
}

extension Side {
  /// A side of CBaselines.
  static func control(_ side: base_side, _ name: String, inPlace: Bool = false) -> Side {
    Side(name: name, hasWork: side != BASE_WORDS) { scenario in
      let run = base_run_make(scenario.raw(inPlace: inPlace), nil)!
      defer { base_run_free(run) }
      guard base_run_side(Int32(side.rawValue), run) == 0 else {
        throw WorkDiffers(description: "\(name): a process failed")
      }
      return Measured(run, processes: scenario.processes)
    }
  }

  static let spinningWords = control(BASE_WORDS, "C, two lines, no message")
  static let sleepingWords = control(BASE_WORDS, "C, futex, no message")
  static let ring = control(BASE_RING, "C ring")
  static let ringInPlace = control(BASE_RING, "C ring, in place", inPlace: true)
  static let pipe = control(BASE_PIPE, "pipe")
  static let socket = control(BASE_SOCKET, "Unix socket")
  static let queue = control(BASE_QUEUE, "POSIX mq")
}

/// The programs of Rivals/ipc.
struct Rivals {
  /// Where they are; nil for none.
  let folder: String?
  private let place: String

  init(folder: String?, place: borrowing Workplace) {
    self.folder = folder
    self.place = place.path
  }

  var boost: Side? { program("boost", "Boost message_queue") }
  var zeroMQ: Side? { program("zeromq", "ZeroMQ ipc") }
  var iceoryx: Side? { program("iceoryx", "iceoryx, in place", inPlace: true) }

  private static let programs = [
    ("boost", "Boost message_queue", "libboost-dev"), ("zeromq", "ZeroMQ", "libzmq3-dev"),
    ("iceoryx", "iceoryx", "libiceoryx-posh-dev and iceoryx"),
  ]

  private func program(_ program: String, _ name: String, inPlace: Bool = false) -> Side? {
    guard let path = path(program) else { return nil }
    let file = "\(place)/run"
    return Side(name: name, isRival: true) { scenario in
      let run = base_run_make(scenario.raw(inPlace: inPlace), file)!
      defer {
        base_run_free(run)
        unlink(file)
      }
      let status = base_run_program(path, file)
      guard status == 0 else { throw WorkDiffers(description: "\(path) ended with \(status)") }
      return Measured(run, processes: scenario.processes)
    }
  }

  private func path(_ program: String) -> String? {
    guard let folder, access("\(folder)/\(program)", X_OK) == 0 else { return nil }
    // It waits for its daemon for a minute, and then ends without a word of it.
    if program == "iceoryx", access("/tmp/roudi", F_OK) != 0 { return nil }
    return "\(folder)/\(program)"
  }

  /// Those that are not there, in words.
  func absent() -> [String] {
    guard let folder else {
      return ["not run: Boost, ZeroMQ, iceoryx: build them (Rivals/ipc/build) and give --rivals"]
    }
    return Self.programs.compactMap { program, name, package in
      if path(program) != nil { return nil }
      if access("\(folder)/\(program)", X_OK) == 0 { return "not run: \(name): start its daemon, iox-roudi" }
      return "not run: \(name): install \(package), and build again"
    }
  }
}
