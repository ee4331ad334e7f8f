// SPDX-License-Identifier: Apache-2.0

internal import SharedMemory
internal import SystemPackage

/// The regions of a folder as rows.
struct RegionRows {
  let folder: RuntimeFolder
  let listings: [RegionListing]

  func text(_ style: Style) -> String {
    guard !listings.isEmpty else { return "no regions in \(PathText.shown(folder.path))\n" }
    let now = Standard.wallNanoseconds
    let width = min(max(8, listings.map(\.name.count).max() ?? 0), 40)
    var lines = [
      style.bold(PathText.shown(folder.path)),
      style.dim(
        "  " + "name".padded(to: width) + "size".aligned(to: 10) + "age".aligned(to: 10) + "alive".aligned(to: 7)
          + "dead".aligned(to: 6) + "used".aligned(to: 6) + "  parts"),
    ]
    for listing in listings {
      let dead = listing.peers.count { $0.isDead }
      let isKnown = listing.problem == nil
      lines.append(
        "  " + listing.name.padded(to: width) + Figures.bytes(listing.byteCount).aligned(to: 10)
          + (listing.age(at: now).map(Figures.age) ?? style.none).aligned(to: 10)
          + (isKnown ? "\(listing.peers.count - dead)" : style.none).aligned(to: 7)
          + (isKnown ? "\(dead)" : style.none).aligned(to: 6) + listing.usedText.aligned(to: 6) + "  "
          + (listing.problem.map { style.yellow($0.reason) } ?? listing.layout?.summary ?? style.none))
    }
    return lines.joined(separator: "\n") + "\n"
  }
}

extension RegionListing {
  /// Seconds since it was made; nil when that is not known, or lies in the future.
  func age(at now: UInt64) -> Double? {
    createdNanoseconds == 0 || createdNanoseconds > now ? nil : Double(now - createdNanoseconds) / 1e9
  }

  var usedText: String { isUsed.map { $0 ? "yes" : "no" } ?? "?" }
}

extension RegionLayout {
  /// For instance `2 rings, 1 mutex`: how many parts there are of each kind, in the order of their first.
  fileprivate var summary: String {
    var kinds: [RegionLayout.Kind] = []
    for part in parts where !kinds.contains(part.kind) { kinds.append(part.kind) }
    if kinds.isEmpty { return "none" }
    return kinds.map { kind in "\(parts.count { $0.kind == kind }) \(kind)" }.joined(separator: ", ")
  }
}

extension Figures {
  /// All of it, also what no signed number holds.
  static func grouped(_ value: UInt64) -> String { Int64(exactly: value).map { grouped($0) } ?? "\(value)" }

  /// `12.3 s`, `45 min`, `7.25 h`, `12 d`.
  static func age(_ seconds: Double) -> String {
    if seconds < 100 { return "\(decimals(seconds, 1)) s" }
    if seconds < 6000 { return "\(Int(seconds / 60)) min" }
    return seconds < 172_800 ? "\(threeDigits(seconds / 3600)) h" : "\(grouped(Int64(seconds / 86_400))) d"
  }
}

/// One region in JSON, as `list` prints it.
struct RegionReport: Report {
  let listing: RegionListing

  func text(_ style: Style) -> String { "" }

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.addMembers(listing)
    json.endObject()
  }
}

extension JSONWriter {
  /// Members of the object that is open.
  mutating func addMembers(_ listing: RegionListing) {
    let now = Standard.wallNanoseconds
    add("kind", "region")
    add("name", listing.name)
    addPath(listing.path)
    add("identifier", listing.identifier.map { "\($0)" })
    add("size_bytes", listing.byteCount)
    add("waiting_bytes", listing.identifier == nil ? nil : Int64(clamping: listing.waitingBytes))
    add("created_ns", listing.identifier == nil ? nil : Int64(clamping: listing.createdNanoseconds))
    add("age_seconds", listing.age(at: now))
    if let isUsed = listing.isUsed { add("used", isUsed) } else { add("used", String?.none) }
    add("peer_places", listing.layout.map { Int64($0.peerCapacity) })
    beginArray("peers")
    for peer in listing.peers { add(peer) }
    endArray()
    beginArray("parts")
    for part in listing.layout?.parts ?? [] {
      beginObject()
      add("name", part.name)
      add("kind", "\(part.kind)")
      add("size_bytes", part.byteCount)
      add("element_bytes", part.elementSize)
      endObject()
    }
    endArray()
    if let problem = listing.problem { add(problem, key: "problem") } else { add("problem", String?.none) }
  }

  private mutating func add(_ peer: SharedRegion.Peer) {
    beginObject()
    add("token", "\(peer.token)")
    add("pid", Int(peer.process))
    add("pid_namespace", peer.pidNamespace)
    add("label", peer.label)
    add("attached_ns", peer.attachedNanoseconds)
    add("dead", peer.isDead)
    endObject()
  }

  mutating func add(_ error: SharedMemoryError, key: String? = nil) {
    beginObject(key)
    add("code", "\(error.code)")
    add("operation", error.operation)
    add("region", error.region)
    add("part", error.part)
    add("errno", error.errno.map { Int64($0.rawValue) })
    add("message", "\(error)")
    endObject()
  }
}
