// SPDX-License-Identifier: Apache-2.0

internal import SharedMemory
internal import SystemPackage

/// What the rings of a folder were doing at one moment.
struct RingLook {
  struct Ring {
    let region: String
    let identifier: RegionIdentifier
    let part: String
    let status: RingStatus
    let peers: [SharedRegion.Peer]
    /// Seconds of the monotonic clock.
    let time: Double

    func isSame(as other: Ring) -> Bool {
      region == other.region && identifier == other.identifier && part == other.part
    }
  }

  let wallNanoseconds = Standard.wallNanoseconds
  let time = Standard.now
  private(set) var rings: [Ring] = []
  private(set) var failures: [SharedMemoryError] = []

  /// - Parameter region: nil for all.
  init(in folder: RuntimeFolder, region: String?) {
    do throws(SharedMemoryError) {
      var names = [region].compactMap { $0 }
      if region == nil {
        for listing in try folder.regions() {
          if let problem = listing.problem { failures.append(problem) }
          if listing.layout?.parts.contains(where: { $0.kind == .ring }) == true { names.append(listing.name) }
        }
      }
      for name in names { look(at: name, in: folder, isNamed: region != nil) }
    } catch {
      failures.append(error)
    }
  }

  private mutating func look(at name: String, in folder: RuntimeFolder, isNamed: Bool) {
    do throws(SharedMemoryError) {
      let reader = try SharedRegionReader(named: name, in: folder)
      let peers = reader.peers()
      for part in reader.layout.parts where part.kind == .ring {
        do throws(SharedMemoryError) {
          rings.append(
            Ring(
              region: name, identifier: reader.identifier, part: part.name, status: try reader.ringStatus(part.name),
              peers: peers, time: Standard.now))
        } catch {
          failures.append(error)
        }
      }
    } catch {
      // One that went away meanwhile is no failure, unless it is the one that was asked for.
      if error.code != .notFound || isNamed { failures.append(error) }
    }
  }
}

/// What passed between two looks.
struct RingRates {
  private let now: RingLook
  private let seconds: Double
  private let rows: [Row]

  private struct Row {
    let ring: RingLook.Ring
    let lane: Int
    let before: (ring: RingLook.Ring, lane: RingStatus.Lane)?

    var status: RingStatus.Lane { ring.status.lanes[lane] }
    var producer: RingOwner { RingOwner(token: status.producer, isDead: status.isProducerDead, peers: ring.peers) }
    var consumer: RingOwner {
      RingOwner(token: ring.status.consumer, isDead: ring.status.isConsumerDead, peers: ring.peers)
    }
    var sent: Double? { rate(\.sentBytes) }
    var received: Double? { rate(\.receivedBytes) }
    var dropped: Double? { rate(\.droppedMessages) }
    var fill: Double { min(Double(status.waitingBytes) / Double(max(1, ring.status.capacity)), 1) }

    /// Nil where there is nothing to compare with. Numbers that run backwards are no ring's.
    private func rate(_ count: KeyPath<RingStatus.Lane, UInt64>) -> Double? {
      guard let before else { return nil }
      let (difference, isBackwards) = status[keyPath: count].subtractingReportingOverflow(before.lane[keyPath: count])
      let seconds = ring.time - before.ring.time
      return isBackwards || seconds <= 0 ? nil : Double(difference) / seconds
    }

    var isIdle: Bool {
      status.producer == .none && status.waitingBytes == 0 && (sent ?? 0) == 0 && (received ?? 0) == 0
    }
  }

  init(from before: RingLook, to now: RingLook) {
    self.now = now
    seconds = now.time - before.time
    rows = now.rings.flatMap { ring in
      let old = before.rings.first { $0.isSame(as: ring) }
      return ring.status.lanes.indices.map { lane in
        Row(
          ring: ring, lane: lane,
          before: old.flatMap { old in old.status.lanes.indices.contains(lane) ? (old, old.status.lanes[lane]) : nil })
      }
    }
  }

  func text(_ style: Style, folder: FilePath) -> String {
    let named = rows.map { row in
      // A ring of the tool's own is known by its region.
      let part = row.ring.part == RingArguments.partName ? "" : "/" + PathText.escaped(Array(row.ring.part.utf8))
      return row.ring.region + part + (row.ring.status.lanes.count > 1 ? " \(row.lane)" : "")
    }
    let shown = zip(named, rows).filter { _, row in !(row.isIdle && row.ring.status.lanes.count > 1) }
    guard !shown.isEmpty else {
      return rows.isEmpty
        ? "no rings in \(PathText.shown(folder))\n"
        : "no ring in \(PathText.shown(folder)) has a producer, or anything in it\n"
    }
    let width = min(max(8, shown.map(\.0.count).max() ?? 0), 28)
    var lines = [
      style.dim(
        "ring".padded(to: width) + "sent/s".aligned(to: 10) + "recv/s".aligned(to: 10) + "waiting".aligned(to: 10)
          + "full".aligned(to: 9) + "drop/s".aligned(to: 8) + "  producer > consumer")
    ]
    for (name, row) in shown {
      func rate(_ value: Double?) -> String { value.map { Figures.bytes(Int64(min($0, 9e18))) } ?? style.none }
      lines.append(
        name.padded(to: width) + rate(row.sent).aligned(to: 10) + rate(row.received).aligned(to: 10)
          + Figures.bytes(Int64(clamping: row.status.waitingBytes)).aligned(to: 10)
          + Figures.percent(row.fill).aligned(to: 9)
          + (row.dropped.map { Figures.grouped(Int64(min($0, 9e18).rounded(.up))) } ?? style.none).aligned(to: 8)
          + "  \(row.producer.text(style)) > \(row.consumer.text(style))")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// One line.
  var json: String {
    var json = JSONWriter(isOnOneLine: true)
    json.beginObject()
    json.add("pagewise", Pagewise.version)
    json.add("format", 1)
    json.add("time_ns", now.wallNanoseconds)
    json.add("interval_seconds", seconds)
    json.beginArray("rings")
    for ring in now.rings {
      json.beginObject()
      json.add("region", ring.region)
      json.add("part", ring.part)
      json.add("identifier", "\(ring.identifier)")
      json.add("capacity_bytes", ring.status.capacity)
      json.addOwner(
        "consumer", RingOwner(token: ring.status.consumer, isDead: ring.status.isConsumerDead, peers: ring.peers))
      json.beginArray("lanes")
      for row in rows where row.ring.isSame(as: ring) {
        json.beginObject()
        json.addOwner("producer", row.producer)
        json.add("sent_bytes", row.status.sentBytes)
        json.add("received_bytes", row.status.receivedBytes)
        json.add("waiting_bytes", row.status.waitingBytes)
        json.add("dropped_messages", row.status.droppedMessages)
        json.add("sent_bytes_per_second", row.sent)
        json.add("received_bytes_per_second", row.received)
        json.add("dropped_messages_per_second", row.dropped)
        json.endObject()
      }
      json.endArray()
      json.endObject()
    }
    json.endArray()
    json.beginArray("errors")
    for failure in now.failures { json.add(failure) }
    json.endArray()
    json.endObject()
    return json.take()
  }
}
