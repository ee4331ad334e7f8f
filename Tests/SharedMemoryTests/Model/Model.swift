// SPDX-License-Identifier: Apache-2.0

@_spi(Testing) import SharedMemory
import _CTestSupport
import _TestSupport

/// A machine of two or three processes and some words of shared memory, on which a protocol is run step by step.
///
/// Memory is weaker than that of any processor we know of and as weak as the orderings that the code asks for: a load may return any value that the
/// word has had since the last one its actor must know of. Who must know what follows the release/acquire rules of C11, by views: each store carries
/// what its actor knew if it releases; a load that acquires adds that to what its own actor knows; a fence exchanges it with all other fences. Stores to one word have
/// the order in which they are run, and no load returns a value that is stored later. What a load that runs late could do wrong is found another way:
/// bytes that no atomic access protects (`plainLoad`, `plainStore`: payloads) must not be written before it is certain that all earlier reads of them are over,
/// nor read before their writing is. That is told from clocks, as a race detector does.
final class Model {
  struct Message {
    var value: UInt64
    /// What an acquiring load of it learns: for each word the oldest value that may still be read.
    var view: [Int]
    /// And of each actor the time up to which it knows what that one has done.
    var clock: [Int]
  }

  enum State: Hashable {
    case ready
    case sleeping(Int)
    case ended, dead
  }

  struct Actor {
    var state = State.ready
    var view: [Int]
    /// All that it has observed: with the program it determines what the actor is going to do.
    var trace: UInt64 = 1
    var clock: [Int]
    var timeouts = 0
    /// What its relaxed loads were told, for an acquiring fence; what it knew at its last releasing fence, for its relaxed stores.
    var told: (view: [Int], clock: [Int])
    var released: (view: [Int], clock: [Int])
  }

  private let offsets: [Int]
  private(set) var words: [[Message]]
  private(set) var actors: [Actor]
  private var fences: [Int]
  private var fenceClock: [Int]
  /// Of each word and actor the time of its last plain read and write.
  private var reads: [[Int]]
  private var writes: [[Int]]
  /// The first access to plain bytes that nothing orders with another one.
  private(set) var race: String? = nil
  private unowned let exploration: Exploration
  fileprivate var coroutines: [OpaquePointer] = []
  /// What has been done, for the report of a violation.
  private(set) var log: [(actor: Int, step: String, value: UInt64)] = []
  /// What actors have noted, in the order of their notes.
  private(set) var notes: [(actor: Int, value: UInt64)] = []
  private(set) var crashes = 0
  /// For planted mistakes: the last sequence that an actor has loaded.
  var lastSequence: [Int: UInt64] = [:]
  /// A store that a planted mistake holds back.
  var late: (value: UInt64, offset: Int)? = nil

  init(_ exploration: Exploration, words: [(offset: Int, value: UInt64)], actors: Int) {
    self.exploration = exploration
    offsets = words.map(\.offset)
    let start = [Int](repeating: 0, count: words.count)
    let clock = [Int](repeating: 0, count: actors)
    self.words = words.map { [Message(value: $0.value, view: start, clock: clock)] }
    self.actors = (0..<actors).map { actor in
      var own = clock
      own[actor] = 1
      return Actor(view: start, clock: own, told: (start, clock), released: (start, clock))
    }
    fences = start
    fenceClock = clock
    reads = [[Int]](repeating: clock, count: words.count)
    writes = reads
  }

  // MARK: What actors do

  private func index(_ offset: Int) -> Int {
    guard let index = offsets.firstIndex(of: offset) else { fatalError("Model: no word at \(offset)") }
    return index
  }

  private func observe(_ actor: Int, _ value: UInt64, _ step: StaticString) {
    actors[actor].trace = (actors[actor].trace &* 0x9E37_79B9_7F4A_7C15) ^ (value &+ 0x5851_F42D)
    actors[actor].trace ^= actors[actor].trace >> 29
    log.append((actor, "\(step)", value))
  }

  private func join(_ view: inout [Int], _ other: [Int]) {
    for i in view.indices { view[i] = max(view[i], other[i]) }
  }

  fileprivate func pause(_ actor: Int) { pgt_coroutine_yield(coroutines[actor]) }

  fileprivate func load(_ actor: Int, _ offset: Int, acquiring: Bool, _ step: StaticString) -> UInt64 {
    pause(actor)
    let word = index(offset)
    let oldest = actors[actor].view[word]
    let latest = words[word].count - 1
    let chosen = latest - exploration.choose(latest - oldest + 1)
    actors[actor].view[word] = chosen
    let message = words[word][chosen]
    join(&actors[actor].told.view, message.view)
    join(&actors[actor].told.clock, message.clock)
    if acquiring {
      join(&actors[actor].view, message.view)
      join(&actors[actor].clock, message.clock)
    }
    observe(actor, message.value, step)
    return message.value
  }

  private func append(_ actor: Int, _ word: Int, _ value: UInt64, releasing: Bool, after read: Message?) {
    actors[actor].view[word] = words[word].count
    var view = releasing ? actors[actor].view : actors[actor].released.view
    view[word] = words[word].count
    var clock = releasing ? actors[actor].clock : actors[actor].released.clock
    // A read-modify-write carries on what the store it read has released.
    if let read {
      join(&view, read.view)
      join(&clock, read.clock)
    }
    words[word].append(Message(value: value, view: view, clock: clock))
    if releasing { actors[actor].clock[actor] += 1 }
  }

  fileprivate func store(_ actor: Int, _ value: UInt64, _ offset: Int, releasing: Bool, _ step: StaticString) {
    pause(actor)
    append(actor, index(offset), value, releasing: releasing, after: nil)
    observe(actor, value, step)
  }

  fileprivate func modify(_ actor: Int, _ offset: Int, _ step: StaticString, _ body: (UInt64) -> UInt64?) -> Bool {
    pause(actor)
    let word = index(offset)
    let read = words[word].last!
    join(&actors[actor].view, read.view)
    join(&actors[actor].clock, read.clock)
    actors[actor].view[word] = words[word].count - 1
    let desired = body(read.value)
    if let desired { append(actor, word, desired, releasing: true, after: read) }
    observe(actor, desired == nil ? read.value : ~read.value, step)
    return desired != nil
  }

  fileprivate func latest(_ offset: Int) -> UInt64 { words[index(offset)].last!.value }

  fileprivate func fence(_ actor: Int, _ step: StaticString) {
    pause(actor)
    // It is an acquiring and a releasing one, too.
    join(&actors[actor].view, actors[actor].told.view)
    join(&actors[actor].clock, actors[actor].told.clock)
    join(&actors[actor].view, fences)
    fences = actors[actor].view
    join(&actors[actor].clock, fenceClock)
    fenceClock = actors[actor].clock
    actors[actor].released = (actors[actor].view, actors[actor].clock)
    actors[actor].clock[actor] += 1
    observe(actor, 0, step)
  }

  fileprivate func fenceAcquiring(_ actor: Int, _ step: StaticString) {
    pause(actor)
    join(&actors[actor].view, actors[actor].told.view)
    join(&actors[actor].clock, actors[actor].told.clock)
    observe(actor, 0, step)
  }

  fileprivate func fenceReleasing(_ actor: Int, _ step: StaticString) {
    pause(actor)
    actors[actor].released = (actors[actor].view, actors[actor].clock)
    actors[actor].clock[actor] += 1
    observe(actor, 0, step)
  }

  /// The kernel compares and falls asleep in one step, and sees what was stored last.
  fileprivate func sleep(_ actor: Int, _ offset: Int, while expected: UInt64, _ step: StaticString) {
    pause(actor)
    // Nobody reads an older value of a word after the kernel has read a newer one for him.
    actors[actor].view[index(offset)] = words[index(offset)].count - 1
    guard latest(offset) == expected else { return observe(actor, 1, step) }
    observe(actor, 2, step)
    actors[actor].state = .sleeping(index(offset))
    pause(actor)
  }

  fileprivate func wake(_ actor: Int, _ offset: Int, _ step: StaticString) {
    pause(actor)
    let word = index(offset)
    for other in actors.indices where actors[other].state == .sleeping(word) { actors[other].state = .ready }
    observe(actor, 0, step)
  }

  /// Proof of death, as the kernel gives it: of an actor that is killed, never of one that is slow.
  fileprivate func askDead(_ actor: Int, _ other: Int) -> Bool {
    pause(actor)
    let answer = actors[other].state == .dead
    // Whoever knows of a death knows all that the dead one did.
    if answer {
      join(&actors[actor].view, actors[other].view)
      join(&actors[actor].clock, actors[other].clock)
    }
    observe(actor, answer ? 1 : 0, "is dead")
    return answer
  }

  fileprivate func plainLoad(_ actor: Int, _ offset: Int, _ step: StaticString) -> UInt64 {
    pause(actor)
    let word = index(offset)
    for other in actors.indices where other != actor && writes[word][other] > actors[actor].clock[other] {
      race = race ?? "actor \(actor) reads at \(offset) while actor \(other) may be writing there"
    }
    reads[word][actor] = actors[actor].clock[actor]
    observe(actor, words[word].last!.value, step)
    return words[word].last!.value
  }

  fileprivate func plainStore(_ actor: Int, _ value: UInt64, _ offset: Int, _ step: StaticString) {
    pause(actor)
    let word = index(offset)
    for other in actors.indices
    where other != actor && max(reads[word][other], writes[word][other]) > actors[actor].clock[other] {
      race = race ?? "actor \(actor) writes at \(offset) while actor \(other) may be there"
    }
    writes[word][actor] = actors[actor].clock[actor]
    append(actor, word, value, releasing: false, after: nil)
    observe(actor, value, step)
  }

  fileprivate func note(_ actor: Int, _ value: UInt64) { notes.append((actor, value)) }

  // MARK: Running

  enum Outcome { case done, known, stuck }

  fileprivate func run(_ bodies: [(ModelWords) -> Void], _ limits: Exploration.Limits) -> Outcome {
    final class Start {
      let body: () -> Void
      init(_ body: @escaping () -> Void) { self.body = body }
    }
    let starts = bodies.enumerated().map { actor, body in
      Start { [unowned self] in
        body(ModelWords(model: self, actor: actor))
        actors[actor].state = .ended
      }
    }
    coroutines = starts.map { start in
      pgt_coroutine_new(
        { Unmanaged<Start>.fromOpaque($0!).takeUnretainedValue().body() },
        Unmanaged.passUnretained(start).toOpaque())!
    }
    defer {
      for coroutine in coroutines { pgt_coroutine_free(coroutine) }
      coroutines = []
      // The coroutines hold them unretained.
      withExtendedLifetime(starts) {}
    }
    // To the first step of each: nothing before it is shared.
    for actor in actors.indices { _ = pgt_coroutine_resume(coroutines[actor]) }
    while race == nil {
      if !exploration.isReplaying, !exploration.isNew(state) { return .known }
      var options: [(actor: Int, event: Int)] = []
      for (actor, one) in actors.enumerated() {
        if one.state == .ready { options.append((actor, 0)) }
        if case .sleeping = one.state, crashes > 0 || limits.timesOut, one.timeouts < limits.timeouts {
          options.append((actor, 1))
        }
      }
      if options.isEmpty {
        return actors.contains { if case .sleeping = $0.state { true } else { false } } ? .stuck : .done
      }
      if crashes < limits.crashes {
        for (actor, one) in actors.enumerated()
        where one.state != .ended && one.state != .dead && limits.mortal ?? actor == actor {
          options.append((actor, 2))
        }
      }
      let (actor, event) = options[exploration.chooseEvent(options.count, kills: options.count { $0.event == 2 })]
      switch event {
      case 0: _ = pgt_coroutine_resume(coroutines[actor])
      case 1:
        actors[actor].timeouts += 1
        actors[actor].state = .ready
        log.append((actor, "wakes by its deadline", 0))
      default:
        actors[actor].state = .dead
        crashes += 1
        log.append((actor, "is killed", 0))
      }
      exploration.steps += 1
    }
    return .done
  }

  /// A number for all that decides what can still happen. Two different states share one with a probability of 2^-64 for each pair.
  private var state: Int {
    var hasher = Hasher()
    for word in words {
      hasher.combine(word.count)
      for message in word {
        hasher.combine(message.value)
        hasher.combine(message.view)
        hasher.combine(message.clock)
      }
    }
    for actor in actors {
      hasher.combine(actor.state)
      hasher.combine(actor.view)
      hasher.combine(actor.clock)
      hasher.combine(actor.trace)
      hasher.combine(actor.timeouts)
      hasher.combine(actor.told.view)
      hasher.combine(actor.told.clock)
      hasher.combine(actor.released.view)
      hasher.combine(actor.released.clock)
    }
    hasher.combine(fences)
    hasher.combine(fenceClock)
    hasher.combine(reads)
    hasher.combine(writes)
    return hasher.finalize()
  }

  func isDead(_ actor: Int) -> Bool { actors[actor].state == .dead }

  func notes(of actor: Int) -> [UInt64] { notes.filter { $0.actor == actor }.map(\.value) }

  /// The last value of a word.
  subscript(offset: Int) -> UInt64 { latest(offset) }

  var story: String {
    log.map { "  actor \($0.actor): \($0.step) \($0.value)" }.joined(separator: "\n")
  }
}

/// The words of a model, for one actor.
struct ModelWords: SharedWords {
  unowned(unsafe) let model: Model
  let actor: Int

  func loadRelaxed(_ offset: Int, _ step: StaticString) -> UInt64 { model.load(actor, offset, acquiring: false, step) }
  func loadAcquiring(_ offset: Int, _ step: StaticString) -> UInt64 { model.load(actor, offset, acquiring: true, step) }
  func storeRelaxed(_ value: UInt64, _ offset: Int, _ step: StaticString) {
    model.store(actor, value, offset, releasing: false, step)
  }
  func storeReleasing(_ value: UInt64, _ offset: Int, _ step: StaticString) {
    model.store(actor, value, offset, releasing: true, step)
  }
  func compareExchange(_ expected: UInt64, _ desired: UInt64, _ offset: Int, _ step: StaticString) -> Bool {
    model.modify(actor, offset, step) { $0 == expected ? desired : nil }
  }
  func loadCount(_ offset: Int, _ step: StaticString) -> UInt32 {
    UInt32(truncatingIfNeeded: model.load(actor, offset, acquiring: true, step))
  }
  func addCount(_ offset: Int, _ step: StaticString) -> UInt32 {
    var value: UInt64 = 0
    _ = model.modify(actor, offset, step) {
      value = $0 + 1
      return value
    }
    return UInt32(truncatingIfNeeded: value)
  }
  func storeHint(_ value: UInt32, _ offset: Int, _ step: StaticString) {
    model.store(actor, UInt64(value), offset, releasing: false, step)
  }
  func loadHint(_ offset: Int, _ step: StaticString) -> UInt32 {
    UInt32(truncatingIfNeeded: model.load(actor, offset, acquiring: false, step))
  }
  func compareExchangeHint(_ expected: UInt32, _ desired: UInt32, _ offset: Int, _ step: StaticString) -> Bool {
    model.modify(actor, offset, step) { $0 == UInt64(expected) ? UInt64(desired) : nil }
  }
  func sleep(_ offset: Int, while expected: UInt32, until deadline: Deadline, _ step: StaticString) {
    model.sleep(actor, offset, while: UInt64(expected), step)
  }
  func wake(_ offset: Int, _ step: StaticString) { model.wake(actor, offset, step) }
  func fence(_ step: StaticString) { model.fence(actor, step) }
  func fenceAcquiring(_ step: StaticString) { model.fenceAcquiring(actor, step) }
  func fenceReleasing(_ step: StaticString) { model.fenceReleasing(actor, step) }
  func spin(_ round: Int, of limit: Int) -> Bool { false }
  func spinBriefly(_ round: Int) -> Bool { false }
  /// Time has no measure here: a deadline passes for an actor whose sleep has ended by one.
  func hasPassed(_ deadline: Deadline) -> Bool {
    deadline != .never && (deadline == .now || model.actors[actor].timeouts > 0)
  }
  func slice(_ deadline: Deadline) -> Deadline { deadline }

  /// Bytes of a payload: no atomic access, so nothing but the protocol keeps two processes apart there.
  func plainLoad(_ offset: Int, _ step: StaticString) -> UInt64 { model.plainLoad(actor, offset, step) }
  func plainStore(_ value: UInt64, _ offset: Int, _ step: StaticString) { model.plainStore(actor, value, offset, step) }

  func isDead(_ other: Int) -> Bool { model.askDead(actor, other) }

  /// For the check at the end.
  func note(_ value: UInt64) { model.note(actor, value) }
}

/// Every way in which some actors can run: each order of their steps, each value that a load may return, each place where one is killed.
final class Exploration {
  struct Limits {
    var crashes = 0
    /// Who may be killed; nil for any.
    var mortal: Int? = nil
    /// How often an actor's sleep may end by its deadline, once another was killed.
    var timeouts = 2
    /// Whether sleeps end by their deadlines also while all live.
    var timesOut = false
    /// Steps after which the exploration ends without having seen all; see `isComplete`.
    var steps = Int.max
    /// Then so many steps of runs that are chosen at random: they come to places that are far from the first run.
    var randomSteps = 0
  }

  private var path: [(chosen: Int, count: Int)] = []
  private var depth = 0
  private var known: Set<Int> = []
  fileprivate(set) var steps = 0
  private(set) var runs = 0
  private(set) var ends = 0
  /// False when the limit of steps ended it.
  private(set) var isComplete = true
  var states: Int { known.count }

  /// Chooses when not nil.
  private var random: Random? = nil

  fileprivate var isReplaying: Bool { random != nil || depth < path.count }

  fileprivate func isNew(_ state: Int) -> Bool { known.insert(state).inserted }

  fileprivate func choose(_ count: Int) -> Int {
    precondition(count > 0, "a choice has an alternative")
    if random != nil { return random!.below(count) }
    if depth == path.count { path.append((0, count)) }
    defer { depth += 1 }
    return path[depth].chosen
  }

  /// One of the steps that can come next, the last `kills` of which end an actor. At random these are rare, so that runs come far.
  fileprivate func chooseEvent(_ count: Int, kills: Int) -> Int {
    if random != nil, kills > 0, kills < count, random!.below(16) > 0 { return random!.below(count - kills) }
    return choose(count)
  }

  /// Runs all. The story of the first run that `check` objects to, or in which somebody sleeps for ever; nil when there is none.
  func violation(
    words: [(offset: Int, value: UInt64)], limits: Limits = Limits(), actors: [(ModelWords) -> Void],
    check: (Model) -> String?
  ) -> String? {
    while true {
      depth = 0
      runs += 1
      let model = Model(self, words: words, actors: actors.count)
      let outcome = model.run(actors, limits)
      if outcome == .stuck { return "an actor sleeps for ever:\n" + model.story }
      if outcome == .done {
        ends += 1
        if let race = model.race { return race + ":\n" + model.story }
        if let complaint = check(model) { return complaint + ":\n" + model.story }
      }
      if steps > limits.steps {
        isComplete = false
        if random == nil { random = Random(seed: 77) }
        if steps > limits.steps + limits.randomSteps { return nil }
        continue
      }
      while let last = path.last, last.chosen + 1 == last.count { path.removeLast() }
      guard let last = path.last else { return nil }
      path[path.count - 1] = (last.chosen + 1, last.count)
    }
  }
}
