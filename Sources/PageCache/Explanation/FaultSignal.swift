// SPDX-License-Identifier: Apache-2.0

/// The signal that ended a process, as its core has it. C: `siginfo_t`.
public struct FaultSignal: Sendable, Hashable {
  /// The number, as on Linux. C: `si_signo`.
  public let number: Int32
  /// What kind of fault; 0 and below when somebody sent the signal. C: `si_code`.
  public let code: Int32
  /// The address that was touched; nil for signals that have none. C: `si_addr`.
  public let address: UInt64?

  package static let bus: Int32 = 7
  package static let segmentation: Int32 = 11

  package init(number: Int32, code: Int32, address: UInt64?) {
    self.number = number
    self.code = code
    // Illegal instruction, trap, bus error, arithmetic, segmentation: the others have no address, nor have those that were sent.
    self.address = [4, 5, 7, 8, 11].contains(number) && code > 0 ? address : nil
  }

  /// For instance `SIGBUS`.
  public var name: String {
    switch number {
    case 3: "SIGQUIT"
    case 4: "SIGILL"
    case 5: "SIGTRAP"
    case 6: "SIGABRT"
    case 7: "SIGBUS"
    case 8: "SIGFPE"
    case 9: "SIGKILL"
    case 11: "SIGSEGV"
    case 15: "SIGTERM"
    case 24: "SIGXCPU"
    case 25: "SIGXFSZ"
    case 31: "SIGSYS"
    default: "signal \(number)"
    }
  }

  /// What the code says, for instance `BUS_ADRERR`; nil for codes that say nothing about memory.
  public var codeName: String? {
    switch (number, code) {
    case (7, 1): "BUS_ADRALN"
    case (7, 2): "BUS_ADRERR"
    case (7, 3): "BUS_OBJERR"
    case (7, 4): "BUS_MCEERR_AR"
    case (7, 5): "BUS_MCEERR_AO"
    case (11, 1): "SEGV_MAPERR"
    case (11, 2): "SEGV_ACCERR"
    case (11, 3): "SEGV_BNDERR"
    case (11, 4): "SEGV_PKUERR"
    case (_, 128): "SI_KERNEL"
    case (_, ...0): "sent by a process"
    default: nil
    }
  }
}
