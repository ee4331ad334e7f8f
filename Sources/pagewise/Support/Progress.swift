// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage

/// One line on standard error that is written over, once the work has taken a second.
final class Progress {
  private let name: String
  private let isShown: Bool
  private let overwrites: Bool
  private let begin = Standard.now
  private var last = 0.0
  private var isOnScreen = false

  init(name: String, isForced: Bool) {
    overwrites = Standard.isTerminal(.standardError)
    isShown = isForced || overwrites
    self.name = name.count <= 40 ? name : "…" + name.suffix(39)
  }

  func show(_ share: Double, _ what: String) {
    guard isShown else { return }
    let now = Standard.now
    guard now - begin >= 1, now - last >= (overwrites ? 0.1 : 1) else { return }
    last = now
    let percent = share > 0 ? " \(Int(share * 100)) %" : ""
    let line = "\(name): \(what)\(percent)"
    Standard.error(overwrites ? "\r\u{1B}[K\(line)" : "\(line)\n")
    isOnScreen = true
  }

  /// Takes the line away.
  func end() {
    if isOnScreen, overwrites { Standard.error("\r\u{1B}[K") }
    isOnScreen = false
  }
}
