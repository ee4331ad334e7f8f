// SPDX-License-Identifier: Apache-2.0

@_spi(Testing) import SharedMemory
import Testing
import _TestSupport

/// The event in every order of its steps: nobody sleeps for ever, and who wakes sees what was stored before the signal.
@Suite struct EventModelTests {
  static let event = 0
  static let data = 64
  static let words: [(offset: Int, value: UInt64)] = [(0, 0), (4, 0), (8, 0), (64, 0)]

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
    case signalWithoutFence, waitWithoutFence, noWake, waitWithoutCheck, countRelaxed, wokenBeforeWake, wokenTooHigh,
      wantedLowered
    /// A flag that sleepers set and signallers clear: how this event was written first.
    case clearedFlag
  }

  static func signal(_ words: ModelWords, _ plant: Plant?) {
    guard let plant else { return EventProtocol(words: words, offset: event).signal() }
    var now = words.loadCount(event, "load") + 1
    if plant == .countRelaxed {
      words.storeRelaxed(UInt64(now), event, "signal.add")
    } else {
      now = words.addCount(event, "signal.add")
    }
    if plant != .signalWithoutFence { words.fence("signal.fence") }
    if plant == .clearedFlag {
      guard words.loadHint(event + 4, "signal.flag") != 0 else { return }
      words.storeHint(0, event + 4, "signal.clear")
      return words.wake(event, "signal.wake")
    }
    guard words.loadHint(event + 4, "signal.wanted") > words.loadHint(event + 8, "signal.woken") else { return }
    if plant == .wokenBeforeWake { words.storeHint(now, event + 8, "signal.store") }
    if plant != .noWake { words.wake(event, "signal.wake") }
    if plant != .wokenBeforeWake { words.storeHint(plant == .wokenTooHigh ? now + 1 : now, event + 8, "signal.store") }
  }

  static func wait(_ words: ModelWords, _ seen: UInt32, _ plant: Plant?) -> UInt32 {
    guard let plant else { return EventProtocol(words: words, offset: event).wait(after: seen, until: .never) }
    let now = words.loadCount(event, "wait.spin")
    if now != seen { return now }
    if plant == .clearedFlag || plant == .wantedLowered {
      words.storeHint(plant == .clearedFlag ? 1 : seen + 1, event + 4, "wait.wanted")
    } else {
      while true {
        let wanted = words.loadHint(event + 4, "wait.announce")
        if wanted > seen || words.compareExchangeHint(wanted, seen + 1, event + 4, "wait.raise") { break }
      }
    }
    if plant != .waitWithoutFence { words.fence("wait.fence") }
    if plant != .waitWithoutCheck {
      let now = words.loadCount(event, "wait.check")
      if now != seen { return now }
    }
    // The kernel's own comparison is no help where the count was taken too late.
    let value = plant == .waitWithoutCheck ? words.loadCount(event, "wait.late") : seen
    words.sleep(event, while: value, until: .never, "wait.sleep")
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
    #expect(exploration.states > 50 && exploration.isComplete)
  }

  @Test(arguments: Plant.allCases) func `a planted mistake is found`(_ plant: Plant) {
    var found = false
    // A second waiter only where it takes one: it makes a hundred times as many states.
    let scenes: [(UInt64, Int)] = plant == .wantedLowered ? [(2, 2)] : [(1, 1), (2, 1)]
    for (signals, waiters) in scenes where !found {
      let actors = [Self.signaller(signals, plant)] + (0..<waiters).map { _ in Self.waiter(signals, plant) }
      let exploration = Exploration()
      found =
        exploration.violation(words: Self.words, actors: actors) {
          Self.complaint($0, waiters: Array(1...waiters), last: signals)
        } != nil
    }
    #expect(found || plant == .wokenBeforeWake)
  }

  /// Stored before the wake, it tells the next signaller of a wake that does not come: where this one is killed in between.
  @Test(arguments: [nil, Plant.wokenBeforeWake])
  func `a sleeper is woken by the next when a signaller dies before its wake`(
    _ plant: Plant?
  ) {
    let once: (ModelWords) -> Void = { words in _ = Self.wait(words, 0, plant) }
    let signaller: (ModelWords) -> Void = { words in Self.signal(words, plant) }
    let story = Exploration().violation(
      words: Self.words, limits: .init(crashes: 1, mortal: 0, timeouts: 0), actors: [signaller, once, signaller],
      check: { _ in nil })
    #expect((story != nil) == (plant != nil), "\(story ?? "")")
  }
}
