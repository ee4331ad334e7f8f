// SPDX-License-Identifier: Apache-2.0

internal import SharedMemory
internal import SystemPackage

/// Everything that can be told of a region from outside.
struct RegionInspection {
  let listing: RegionListing
  private(set) var rings: [(part: String, status: RingStatus)] = []
  private(set) var broadcasts: [(part: String, status: BroadcastStatus)] = []
  private(set) var counters: [(part: String, values: [UInt64], count: Int)] = []
  /// Of parts that could not be looked at.
  private(set) var problems: [SharedMemoryError] = []

  /// Values of each part that are shown.
  static let valueLimit = 1024

  init(of name: String, in folder: RuntimeFolder) throws(SharedMemoryError) {
    for _ in 0..<100 {
      guard let listing = try folder.region(named: name) else {
        throw SharedMemoryError(.notFound, "inspect", region: name)
      }
      if let problem = listing.problem { throw problem }
      // Who uses it was asked before this reader does.
      let reader = try SharedRegionReader(named: name, in: folder)
      // Another one of the name came meanwhile: look again.
      guard reader.identifier == listing.identifier else { continue }
      self.listing = listing
      for part in reader.layout.parts { look(at: part, reader) }
      return
    }
    throw SharedMemoryError(.other, "inspect", region: name, note: "it is made anew all the time")
  }

  private mutating func look(at part: RegionLayout.Part, _ reader: borrowing SharedRegionReader) {
    do throws(SharedMemoryError) {
      switch part.kind {
      case .ring: rings.append((part.name, try reader.ringStatus(part.name)))
      case .broadcast: broadcasts.append((part.name, try reader.broadcastStatus(part.name)))
      case .counters:
        let found = try reader.counters(part.name)
        counters.append((part.name, (0..<min(found.count, Self.valueLimit)).map { found[$0] }, found.count))
      default: break
      }
    } catch {
      problems.append(error)
    }
  }
}

extension RegionInspection: Report {
  func text(_ style: Style) -> String {
    let now = Standard.wallNanoseconds
    var out = FactLines(listing.name, style)
    out.add("file", PathText.shown(listing.path))
    out.add("identifier", listing.identifier.map { "\($0)" } ?? style.none)
    out.add("size", Figures.exact(listing.byteCount))
    out.add("made", listing.age(at: now).map { Figures.age($0) + " ago" } ?? "in the future, says its header")
    let dead = listing.peers.count { $0.isDead }
    out.add("used", listing.isUsed.map { $0 ? "yes" : "no: 'pagewise region gc --remove' removes it" } ?? "unknown")
    out.add(
      "peers",
      "\(Figures.grouped(listing.peers.count - dead)) alive"
        + (dead > 0 ? ", \(Figures.grouped(dead)) dead (places that the next peers take)" : "")
        + ", of \(Figures.count(listing.layout?.peerCapacity ?? 0, "place", "places"))")
    if !listing.peers.isEmpty { out.add(raw: [""] + peerLines(style, now)) }
    out.add(raw: [""] + partLines(style))
    for (part, status) in rings { out.add(raw: [""] + ringLines(part, status, style)) }
    for (part, status) in broadcasts { out.add(raw: [""] + broadcastLines(part, status, style)) }
    for (part, values, count) in counters { out.add(raw: [""] + counterLines(part, values, count, style)) }
    return out.lines.joined(separator: "\n") + "\n"
  }

  private func peerLines(_ style: Style, _ now: UInt64) -> [String] {
    let here = ProcessNamespace.own
    var lines = [
      style.dim(
        "  " + "peer".padded(to: 10) + "process".padded(to: 10) + "attached".aligned(to: 10) + "  "
          + "state".padded(to: 6)
          + "  label")
    ]
    for peer in listing.peers {
      let since =
        peer.attachedNanoseconds > now ? style.none : Figures.age(Double(now - peer.attachedNanoseconds) / 1e9)
      let state = peer.isDead ? style.yellow("dead".padded(to: 6)) : "alive".padded(to: 6)
      lines.append(
        "  " + "\(peer.token)".padded(to: 10) + "\(peer.process)".padded(to: 10) + since.aligned(to: 10)
          + "  \(state)  "
          + peer.shownLabel + (peer.pidNamespace == here ? "" : style.dim("  (PID namespace \(peer.pidNamespace))")))
    }
    return lines
  }

  private func partLines(_ style: Style) -> [String] {
    let parts = listing.layout?.parts ?? []
    guard !parts.isEmpty else { return ["  no parts"] }
    let names = parts.map { PathText.escaped(Array($0.name.utf8)) }
    let width = max(8, names.map(\.count).max() ?? 0)
    var lines = [
      style.dim(
        "  " + "part".padded(to: width) + "  " + "kind".padded(to: 10) + "size".aligned(to: 10)
          + "element".aligned(to: 12))
    ]
    for (part, name) in zip(parts, names) {
      lines.append(
        "  " + name.padded(to: width) + "  " + "\(part.kind)".padded(to: 10)
          + Figures.bytes(Int64(part.byteCount)).aligned(to: 10)
          + (part.elementSize == 0 ? style.none : Figures.bytes(Int64(part.elementSize))).aligned(to: 12))
    }
    return lines
  }

  private func ringLines(_ part: String, _ status: RingStatus, _ style: Style) -> [String] {
    var lines = [
      "  " + style.bold("ring '\(PathText.escaped(Array(part.utf8)))'")
        + ": \(Figures.bytes(Int64(status.capacity))) for each producer; consumer: "
        + owner(status.consumer, status.isConsumerDead, style),
      style.dim(
        "  " + "lane".aligned(to: 4) + "waiting".aligned(to: 12) + "sent".aligned(to: 12) + "received".aligned(to: 12)
          + "dropped".aligned(to: 10) + "  producer"),
    ]
    for (index, lane) in status.lanes.enumerated() {
      lines.append(
        "  " + "\(index)".aligned(to: 4) + Figures.bytes(Int64(clamping: lane.waitingBytes)).aligned(to: 12)
          + Figures.bytes(Int64(clamping: lane.sentBytes)).aligned(to: 12)
          + Figures.bytes(Int64(clamping: lane.receivedBytes)).aligned(to: 12)
          + Figures.grouped(lane.droppedMessages).aligned(to: 10) + "  "
          + owner(lane.producer, lane.isProducerDead, style))
    }
    return lines
  }

  private func broadcastLines(_ part: String, _ status: BroadcastStatus, _ style: Style) -> [String] {
    let sent = Figures.bytes(Int64(clamping: status.sentBytes))
    let dropped = Figures.grouped(status.droppedMessages)
    var lines = [
      "  " + style.bold("broadcast '\(PathText.escaped(Array(part.utf8)))'")
        + ": the last \(Figures.bytes(Int64(status.capacity))); writer: "
        + owner(status.writer, status.isWriterDead, style),
      "  sent \(sent), messages dropped \(dropped), followers \(status.followers.count) of \(status.followerLimit)",
    ]
    guard !status.followers.isEmpty else { return lines }
    lines.append(style.dim("  " + "waiting".aligned(to: 12) + "  follower"))
    for follower in status.followers {
      lines.append(
        "  " + Figures.bytes(Int64(clamping: follower.waitingBytes)).aligned(to: 12) + "  "
          + owner(follower.token, follower.isDead, style))
    }
    return lines
  }

  private func counterLines(_ part: String, _ values: [UInt64], _ count: Int, _ style: Style) -> [String] {
    let shown = values.prefix(64).map { Figures.grouped($0) }.joined(separator: " ")
    let more = count > 64 ? " and \(Figures.grouped(count - 64)) more" : ""
    return [
      "  " + style.bold("counters '\(PathText.escaped(Array(part.utf8)))'") + ": "
        + (shown + more).wrapped(width: style.width - 4, indent: 4)
    ]
  }

  private func owner(_ token: PeerToken, _ isDead: Bool, _ style: Style) -> String {
    RingOwner(token: token, isDead: isDead, peers: listing.peers).text(style)
  }

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.addMembers(listing)
    json.beginArray("rings")
    for (part, status) in rings {
      json.beginObject()
      json.add("part", part)
      json.add("capacity_bytes", status.capacity)
      json.addOwner("consumer", RingOwner(token: status.consumer, isDead: status.isConsumerDead, peers: listing.peers))
      json.beginArray("lanes")
      for lane in status.lanes {
        json.beginObject()
        json.addOwner("producer", RingOwner(token: lane.producer, isDead: lane.isProducerDead, peers: listing.peers))
        json.add("waiting_bytes", lane.waitingBytes)
        json.add("sent_bytes", lane.sentBytes)
        json.add("received_bytes", lane.receivedBytes)
        json.add("dropped_messages", lane.droppedMessages)
        json.endObject()
      }
      json.endArray()
      json.endObject()
    }
    json.endArray()
    json.beginArray("broadcasts")
    for (part, status) in broadcasts {
      json.beginObject()
      json.add("part", part)
      json.add("capacity_bytes", status.capacity)
      json.addOwner("writer", RingOwner(token: status.writer, isDead: status.isWriterDead, peers: listing.peers))
      json.add("sent_bytes", status.sentBytes)
      json.add("dropped_messages", status.droppedMessages)
      json.add("follower_limit", status.followerLimit)
      json.beginArray("followers")
      for follower in status.followers {
        json.beginObject()
        json.addOwner("peer", RingOwner(token: follower.token, isDead: follower.isDead, peers: listing.peers))
        json.add("waiting_bytes", follower.waitingBytes)
        json.endObject()
      }
      json.endArray()
      json.endObject()
    }
    json.endArray()
    json.beginArray("counters")
    for (part, values, count) in counters {
      json.beginObject()
      json.add("part", part)
      json.add("count", count)
      json.beginArray("values")
      for value in values { json.add(nil, value) }
      json.endArray()
      json.endObject()
    }
    json.endArray()
    json.endObject()
  }
}

/// Who has an end of a ring.
struct RingOwner {
  let token: PeerToken
  let isDead: Bool
  let peers: [SharedRegion.Peer]

  private var peer: SharedRegion.Peer? { peers.first { $0.token == token } }

  func text(_ style: Style) -> String {
    guard token != .none else { return style.none }
    let who = peer.map { "\($0.process) \($0.shownLabel)" } ?? "peer \(token)"
    return isDead ? style.yellow("\(who) (dead)") : who
  }

  fileprivate var process: Int64? { peer.map { Int64($0.process) } }
  fileprivate var label: String? { peer?.label }
}

extension JSONWriter {
  /// Null for nobody.
  mutating func addOwner(_ key: String, _ owner: RingOwner) {
    guard owner.token != .none else { return add(key, String?.none) }
    beginObject(key)
    add("token", "\(owner.token)")
    add("pid", owner.process)
    add("label", owner.label)
    add("dead", owner.isDead)
    endObject()
  }
}

extension SharedRegion.Peer {
  /// On one line, whatever it calls itself.
  var shownLabel: String { PathText.escaped(Array(label.utf8)) }
}
