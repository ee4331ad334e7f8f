// SPDX-License-Identifier: Apache-2.0

@_spi(Testing) import SharedMemory
import Testing
import _TestSupport

/// The event in every order of its steps: nobody sleeps for ever, and who wakes sees what was stored before the signal.
@Suite struct EventModelTests {
  static let event = 0
  static let data = 64
  static let words: [(offset: Int, value: UInt64)] = [(0, 0), (4, 0), (64, 0)]

  /// Stores and signals, so many times.
  static func signaller(_ times: UInt64 = 1, _ plant: Plant? = nil) -> (ModelWords) -> Void {
    { words in
      for value in 1...times {
        words.storeRelaxed(value, data, "data.store")
        signal(words, plant)
      }
    }
  }

  /// Waits until the data is `last`, noting what it saw. Gives up where it cannot be woken any more, as a real one looks for proof of death.
  static func waiter(_ last: UInt64 = 1, _ plant: Plant? = nil) -> (ModelWords) -> Void {
    { words in
      var seen: UInt32 = 0
      for _ in 0..<6 {
        let now = wait(words, seen, plant)
        if now == seen, words.isDead(0) { return }
        let value = words.loadRelaxed(data, "data.load")
        // As many values as signals were seen, at least.
        if value < UInt64(now) { words.note(1000 + value) }
        seen = now
        if value == last { return words.note(value) }
      }
    }
  }

  /// Mistakes that the exploration must find.
  enum Plant: CaseIterable, Sendable {
    case signalWithoutFence, waitWithoutFence, clearAfterWake, noWake, waitWithoutCheck, countRelaxed
  }

  static func signal(_ words: ModelWords, _ plant: Plant?) {
    guard let plant else { return EventProtocol(words: words, offset: event).signal() }
    if plant == .countRelaxed {
      words.storeRelaxed(UInt64(words.loadCount(event, "load")) + 1, event, "signal.add")
    } else {
      _ = words.addCount(event, "signal.add")
    }
    if plant != .signalWithoutFence { words.fence("signal.fence") }
    guard words.loadFlag(event + 4, "signal.flag") != 0 else { return }
    if plant != .clearAfterWake { words.storeFlag(0, event + 4, "signal.clear") }
    if plant != .noWake { words.wake(event, "signal.wake") }
    if plant == .clearAfterWake { words.storeFlag(0, event + 4, "signal.clear") }
  }

  static func wait(_ words: ModelWords, _ seen: UInt32, _ plant: Plant?) -> UInt32 {
    guard let plant else { return EventProtocol(words: words, offset: event).wait(after: seen, until: .never) }
    let now = words.loadCount(event, "wait.spin")
    if now != seen { return now }
    words.storeFlag(1, event + 4, "wait.flag")
    if plant != .waitWithoutFence { words.fence("wait.fence") }
    if plant != .waitWithoutCheck {
      let now = words.loadCount(event, "wait.check")
      if now != seen { return now }
    }
    // The kernel's own comparison is no help where the count was taken too early.
    words.sleep(
      event, while: plant == .waitWithoutCheck ? words.loadCount(event, "wait.late") : seen, until: .never, "wait.sleep"
    )
    return words.loadCount(event, "wait.woken")
  }

  static func complaint(_ model: Model, waiters: [Int], last: UInt64) -> String? {
    for waiter in waiters where !model.isDead(waiter) {
      let notes = model.notes(of: waiter)
      if let stale = notes.first(where: { $0 >= 1000 }) { return "woke and read the old \(stale - 1000)" }
      if notes != [last], model.crashes == 0 { return "ended without the last value: \(notes)" }
    }
    return nil
  }

  struct Scene: Sendable, CustomStringConvertible {
    let description: String
    let signals: [UInt64]
    let waiters: Int
    var crashes = 0
  }

  static let scenes = [
    Scene(description: "one signal, one waiter", signals: [1], waiters: 1),
    Scene(description: "two signals, one waiter", signals: [2], waiters: 1),
    Scene(description: "one signal, two waiters", signals: [1], waiters: 2),
    Scene(description: "one signal, one waiter, one death", signals: [1], waiters: 1, crashes: 1),
    Scene(description: "two signals, one waiter, one death", signals: [2], waiters: 1, crashes: 1),
    Scene(description: "one signal, two waiters, one death", signals: [1], waiters: 2, crashes: 1),
  ]

  @Test(arguments: scenes) func `nobody sleeps for ever and nobody reads what was before the signal`(_ scene: Scene) {
    let exploration = Exploration()
    let waiters = Array(scene.signals.count..<scene.signals.count + scene.waiters)
    let story = exploration.violation(
      words: Self.words, limits: .init(crashes: scene.crashes),
      actors: scene.signals.map { Self.signaller($0) } + waiters.map { _ in Self.waiter(scene.signals[0]) }
    ) { Self.complaint($0, waiters: waiters, last: scene.signals[0]) }
    #expect(story == nil, "\(story ?? "")")
    print(
      "event, \(scene): \(exploration.states) states, \(exploration.steps) steps, \(exploration.runs) runs, \(exploration.ends) ends"
    )
    #expect(exploration.states > 50)
  }

  @Test(arguments: Plant.allCases) func `a planted mistake is found`(_ plant: Plant) {
    var found = false
    for signals in 1...2 as ClosedRange<UInt64> where !found {
      let exploration = Exploration()
      found =
        exploration.violation(
          words: Self.words, actors: [Self.signaller(signals, plant), Self.waiter(signals, plant)]
        ) { Self.complaint($0, waiters: [1], last: signals) } != nil
    }
    #expect(found)
  }
}
