// SPDX-License-Identifier: Apache-2.0

internal import SharedMemory
internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// What `ring bench` found out.
struct RingBenchReport: Report {
  let trips: RingBench.RoundTrips
  let streams: [RingBench.Stream]
  let processors = Int(sysconf(CInt(_SC_NPROCESSORS_ONLN)))

  func text(_ style: Style) -> String {
    var out = FactLines("a ring between two processes", style)
    out.add("processors", "\(processors)")
    out.add("capacity", Figures.bytes(Int64(RingBench.capacity)))
    out.add(raw: "")
    out.add(
      raw: style.dim(
        "  " + "".padded(to: 22) + "median".aligned(to: 11) + "99 %".aligned(to: 11) + "rounds/s".aligned(to: 12)
          + "cpu here".aligned(to: 10) + "there".aligned(to: 8)))
    out.add(
      raw: "  " + "round trip, 64 B".padded(to: 22) + time(trips.percentile(0.5), style).aligned(to: 11)
        + time(trips.percentile(0.99), style).aligned(to: 11)
        + rate(Double(trips.sortedNanoseconds.count) / trips.seconds).aligned(to: 12)
        + Figures.percent(trips.cpu.own / trips.seconds).aligned(to: 10)
        + Figures.percent(trips.cpu.other / trips.seconds).aligned(to: 8))
    out.add(raw: "")
    out.add(
      raw: style.dim(
        "  " + "".padded(to: 22) + "messages/s".aligned(to: 22) + "bytes/s".aligned(to: 12) + "cpu here".aligned(to: 10)
          + "there".aligned(to: 8)))
    for stream in streams {
      let perSecond = Double(stream.messages) / stream.seconds
      out.add(
        raw: "  " + "stream, \(Figures.size(stream.messageSize))".padded(to: 22) + rate(perSecond).aligned(to: 22)
          + Figures.bytes(Int64(perSecond * Double(stream.messageSize))).aligned(to: 12)
          + Figures.percent(stream.cpu.own / stream.seconds).aligned(to: 10)
          + Figures.percent(stream.cpu.other / stream.seconds).aligned(to: 8))
    }
    return out.lines.joined(separator: "\n") + "\n"
  }

  private func time(_ nanoseconds: Double, _ style: Style) -> String {
    nanoseconds.isFinite ? Figures.nanoseconds(nanoseconds, style) : style.none
  }

  private func rate(_ perSecond: Double) -> String { Figures.grouped(Int64(perSecond.rounded())) }

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.add("kind", "ring_bench")
    json.add("processors", processors)
    json.add("capacity_bytes", RingBench.capacity)
    json.beginObject("round_trip")
    json.add("message_bytes", RingBench.pingSize)
    json.add("rounds", trips.sortedNanoseconds.count)
    json.add("seconds", trips.seconds)
    json.add("median_ns", trips.percentile(0.5))
    json.add("p99_ns", trips.percentile(0.99))
    json.add("cpu_here_seconds", trips.cpu.own)
    json.add("cpu_there_seconds", trips.cpu.other)
    json.endObject()
    json.beginArray("streams")
    for stream in streams {
      json.beginObject()
      json.add("message_bytes", stream.messageSize)
      json.add("messages", stream.messages)
      json.add("seconds", stream.seconds)
      json.add("messages_per_second", Double(stream.messages) / stream.seconds)
      json.add("bytes_per_second", Double(stream.messages * stream.messageSize) / stream.seconds)
      json.add("cpu_here_seconds", stream.cpu.own)
      json.add("cpu_there_seconds", stream.cpu.other)
      json.endObject()
    }
    json.endArray()
    json.endObject()
  }
}

extension Figures {
  /// A size that is a power of two, without decimals: `64 B`, `1 KiB`.
  fileprivate static func size(_ bytes: Int) -> String { bytes < 1024 ? "\(bytes) B" : "\(bytes >> 10) KiB" }
}
