// SPDX-License-Identifier: Apache-2.0

extension FileBytes {
  /// What was chosen for a file, and on what grounds.
  public struct Decision: Sendable, CustomStringConvertible {
    /// What is done.
    public let strategy: Strategy
    /// What it was chosen for.
    public let access: AccessPattern
    /// The choice and its reason in one plain sentence.
    public let sentence: String
    /// The numbers behind it.
    public let evidence: [Evidence]
    /// What each strategy is expected to cost beyond the program's own work, in seconds. Empty where nothing was computed,
    /// because a rule decided.
    public let estimates: [Strategy: Double]

    public var description: String { sentence }
  }

  /// One number of a decision.
  public struct Evidence: Sendable, Hashable {
    /// Stable, for programs: `size`, `resident`, `pages_per_fault`...
    public let name: String
    public let value: Double
    /// `bytes`, `fraction`, `pages`, `seconds`, `reads`.
    public let unit: String

    public init(name: String, value: Double, unit: String) {
      self.name = name
      self.value = value
      self.unit = unit
    }
  }

  /// Chooses a strategy from facts alone: no system call, the same answer for the same input.
  ///
  /// The rules, in order: what has no place to seek to is streamed; /proc, empty, network and FUSE files are read; what does
  /// not fit into the address space is read; a small file that is wanted whole is read; else the cheapest by estimate.
  ///
  /// - Parameters:
  ///   - facts: what is known of the file. A nil stands for the usual: in memory, 16 pages a fault, room enough.
  ///   - access: what the program will do.
  ///   - calibration: what the steps cost here.
  /// - Complexity: about a microsecond, most of it for the words.
  public static func decide(
    facts: FileFacts, access: AccessPattern, calibration: Calibration = .builtIn
  ) -> Decision {
    Decision(plan(facts, access, calibration), facts, access)
  }
}

extension FileBytes.Decision {
  internal init(_ plan: FileBytes.Plan, _ facts: FileFacts, _ access: FileBytes.AccessPattern) {
    self.strategy = plan.strategy
    self.access = access
    self.sentence = Self.sentence(plan, facts)
    self.evidence = Self.evidence(plan, facts)
    var estimates: [FileBytes.Strategy: Double] = [:]
    if let computed = plan.estimates {
      for strategy in FileBytes.Strategy.allCases where computed[strategy].isFinite {
        estimates[strategy] = computed[strategy]
      }
    }
    self.estimates = estimates
  }

  private static func evidence(_ plan: FileBytes.Plan, _ facts: FileFacts) -> [FileBytes.Evidence] {
    var list = [FileBytes.Evidence(name: "size", value: Double(facts.size), unit: "bytes")]
    func add(_ name: String, _ value: Double?, _ unit: String) {
      if let value { list.append(.init(name: name, value: value, unit: unit)) }
    }
    add("resident", facts.residentFraction, "fraction")
    add("pages_per_fault", facts.pagesPerFault.map(Double.init), "pages")
    add("read_ahead", facts.readAhead.map(Double.init), "bytes")
    add("memory_room", facts.memoryRoom.map(Double.init), "bytes")
    add("address_space_room", facts.addressSpaceRoom.map(Double.init), "bytes")
    add("review_after", plan.reviewAfter == .max ? nil : Double(plan.reviewAfter), "reads")
    return list
  }

  private static func sentence(_ plan: FileBytes.Plan, _ facts: FileFacts) -> String {
    var verb: String
    switch plan.strategy {
    case .map: verb = "Mapped"
    case .mapPopulate: verb = "Mapped and loaded"
    case .read: verb = plan.isWholeBuffer ? "Read into one buffer" : "Read piece by piece"
    case .stream: verb = "Streamed"
    }
    verb += ": "
    switch plan.reason {
    case .notSeekable: return verb + "a \(facts.type.words) has no place to map or to seek to."
    case .empty: return verb + "the file is empty."
    case .synthetic: return verb + "files\(on(facts)) have no true size, so they are read until they end."
    default: break
    }
    verb += Figures.bytes(facts.size) + on(facts)
    if !facts.isResidencyPermitted { verb += ", residency hidden from this user" }
    if let share = facts.residentFraction { verb += ", \(Figures.number(share * 100)) % resident" }
    if let pages = facts.pagesPerFault, pages > 1 { verb += " in \(pages)-page folios" }
    return verb + "; " + because(plan, facts) + "."
  }

  private static func because(_ plan: FileBytes.Plan, _ facts: FileFacts) -> String {
    switch plan.reason {
    case .asked: return "the options ask for it"
    case .small: return "for a file this small one read call is the fastest"
    case .fileSystem: return "faults on \(facts.fileSystem?.name ?? "it") are slow or can lose pages"
    case .noAddressSpace:
      return "the address space has no room to map it"
        + (facts.addressSpaceRoom.map { " (\(Figures.bytes($0)) left)" } ?? "")
    case .noMemory:
      return "loading it whole does not fit into the \(Figures.bytes(facts.memoryRoom ?? 0)) of free memory"
    case .mappingFailed(let code, let errno):
      return "mapping failed (\(code)\(errno.map { ", \($0)" } ?? "")), so it is read"
    case .switched(let count): return "mapping pays after \(count) single reads"
    case .foundCold(let count):
      return "read \(count) found it not in memory, and \(costs(plan))"
    case .countUnknown:
      return plan.reviewAfter == .max
        ? "the number of reads is unknown"
        : "the number of reads is unknown, and it is mapped once they show that it pays"
    case .cheapest, .notSeekable, .empty, .synthetic: return costs(plan)
    }
  }

  private static func costs(_ plan: FileBytes.Plan) -> String {
    guard let estimates = plan.estimates else { return "no estimate" }
    var parts = ["mapping costs \(Figures.seconds(min(estimates.map, estimates.mapPopulate)))"]
    parts.append("reading \(Figures.seconds(min(estimates.read, estimates.stream)))")
    return parts.joined(separator: ", ")
  }

  private static func on(_ facts: FileFacts) -> String { facts.fileSystem.map { " on \($0.name)" } ?? "" }
}

extension FileFacts.FileType {
  internal var words: String {
    switch self {
    case .regular: "regular file"
    case .directory: "directory"
    case .pipe: "pipe"
    case .socket: "socket"
    case .characterDevice: "character device"
    case .blockDevice: "block device"
    case .other: "special file"
    }
  }
}
