// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import Synchronization
public import Testing
internal import _CTestSupport

/// What could not be tried here, and why. Each skip is printed when it happens, with a running count.
public enum Skips {
  private static let count = Atomic<Int>(0)

  /// Prints the skip. Call it before leaving a test or a cell of a table early.
  public static func note(_ what: String, install remedy: String) {
    let number = count.add(1, ordering: .relaxed).newValue
    let line = Array("*** SKIPPED [\(number)] \(what): \(remedy)\n".utf8)
    _ = write(2, line, line.count)
  }

  /// True, or false after a note.
  public static func require(_ condition: Bool, _ what: String, install remedy: String) -> Bool {
    if !condition { note(what, install: remedy) }
    return condition
  }

  /// True when a program stands in PATH or in one of the folders of system programs.
  public static func hasProgram(_ name: String) -> Bool {
    let path = (getenv("PATH").map { String(cString: $0) } ?? "") + ":/usr/sbin:/sbin"
    return path.split(separator: ":").contains { access("\($0)/\(name)", X_OK) == 0 }
  }
}

extension Trait where Self == ConditionTrait {
  /// Only as root: mounts, loop devices, other users. Says so loudly where it is skipped.
  public static func rootOnly(_ what: String) -> Self {
    .enabled("needs root") {
      Skips.require(pgt_is_root(), what, install: "run the tests as root")
    }
  }
}
