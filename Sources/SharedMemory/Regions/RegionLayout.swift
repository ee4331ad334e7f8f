// SPDX-License-Identifier: Apache-2.0

/// What a region holds: named parts, room for peers, and how far its peers are trusted.
///
/// ```swift
/// var layout = RegionLayout()
/// layout.add(.counters("served", count: 8))
/// layout.add(.bytes("table", count: 1 << 20))
/// let region = try SharedRegion(creating: layout)
/// ```
///
/// The layout is written into the region's header. Whoever opens the region reads it from there, and names the part that it wants.
public struct RegionLayout: Sendable, Hashable {
  /// The parts, in the order in which they lie in the region.
  public private(set) var parts: [Part] = []
  /// How many processes (more exactly: open read-write handles) can take part at once. 1 to 4,096.
  public var peerCapacity = 64

  public init() {}

  /// A layout of one part after the other.
  public init(_ parts: Part...) { self.parts = parts }

  /// Adds a part behind the others.
  public mutating func add(_ part: Part) { parts.append(part) }

  /// One part of a region.
  public struct Part: Sendable, Hashable {
    /// 1 to 48 bytes of UTF-8, unique in its region.
    public var name: String
    public var kind: Kind
    /// Bytes, without the rounding up to the next part.
    public var byteCount: Int
    /// Bytes of each element; 0 where there are none.
    public var elementSize: Int
    /// What the elements are, as a number that both sides compute from their own declaration; 0 for plain bytes.
    public var layoutHash: UInt64

    public init(_ name: String, kind: Kind, byteCount: Int, elementSize: Int = 0, layoutHash: UInt64 = 0) {
      self.name = name
      self.kind = kind
      self.byteCount = byteCount
      self.elementSize = elementSize
      self.layoutHash = layoutHash
    }

    /// Plain bytes, zero at first: see ``SharedRegion/bytes(_:_:)``.
    public static func bytes(_ name: String, count: Int) -> Part { Part(name, kind: .bytes, byteCount: count) }

    /// `count` numbers that any peer may add to: see ``SharedCounters``.
    public static func counters(_ name: String, count: Int) -> Part {
      let (bytes, overflow) = count.multipliedReportingOverflow(by: SharedCounters.stride)
      return Part(name, kind: .counters, byteCount: overflow ? -1 : bytes, elementSize: SharedCounters.stride)
    }

    /// A count of signals to sleep on: see ``SharedEvent``.
    public static func event(_ name: String) -> Part { Part(name, kind: .event, byteCount: SharedEvent.byteCount) }
  }

  /// What a part is. The number stands in the header; unknown ones are kept and cannot be opened.
  public struct Kind: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let bytes = Kind(rawValue: 1)
    public static let counters = Kind(rawValue: 2)
    public static let event = Kind(rawValue: 3)
    public static let mutex = Kind(rawValue: 4)
    public static let cell = Kind(rawValue: 5)
    public static let ring = Kind(rawValue: 6)
    public static let broadcast = Kind(rawValue: 7)

    /// What a part's size has to be made of.
    internal var limits: String {
      switch self {
      case .ring: "a ring has 1 to 64 producers with 64 bytes to 64 GiB each, 1 TiB in all"
      case .broadcast: "a broadcast keeps 64 bytes to 64 GiB, and has 0 to 256 followers"
      default: "a part has 1 byte to 1 TiB"
      }
    }

    public var description: String {
      switch self {
      case .bytes: "bytes"
      case .counters: "counters"
      case .event: "event"
      case .mutex: "mutex"
      case .cell: "cell"
      case .ring: "ring"
      case .broadcast: "broadcast"
      default: "unknown (\(rawValue))"
      }
    }
  }
}

extension RegionLayout {
  /// Parts begin at multiples of it: two cache lines, which processors fetch together.
  internal static let alignment = 128
  internal static let partLimit = 500
  internal static let nameLimit = 48
  internal static let peerLimit = 4096
  /// 1 TiB.
  internal static let sizeLimit = 1 << 40

  /// Where each part lies, and how long the whole is; or why there can be no such region.
  internal func placed(pageSize: Int) throws(SharedMemoryError) -> (offsets: [Int], total: Int) {
    func refuse(_ note: String, _ part: String? = nil) -> SharedMemoryError {
      SharedMemoryError(.invalidArgument, "lay out", part: part, note: note)
    }
    guard 1...Self.peerLimit ~= peerCapacity else {
      throw refuse("a region has places for 1 to \(Self.peerLimit) peers")
    }
    guard parts.count <= Self.partLimit else { throw refuse("a region has at most \(Self.partLimit) parts") }
    var offset = RegionFormat.headerSize + peerCapacity * PeerTable.stride
    var offsets: [Int] = []
    var names: Set<String> = []
    for part in parts {
      guard 1...Self.nameLimit ~= part.name.utf8.count, !part.name.utf8.contains(0) else {
        throw refuse("a part's name has 1 to \(Self.nameLimit) bytes, none of them NUL", part.name)
      }
      guard names.insert(part.name).inserted else { throw refuse("two parts have this name", part.name) }
      guard 1...Self.sizeLimit ~= part.byteCount else { throw refuse(part.kind.limits, part.name) }
      guard 0...Self.sizeLimit ~= part.elementSize else { throw refuse("an element has 0 bytes to 1 TiB", part.name) }
      offsets.append(offset)
      offset += (part.byteCount + Self.alignment - 1) & ~(Self.alignment - 1)
      guard offset <= Self.sizeLimit else { throw refuse("a region has at most 1 TiB", part.name) }
    }
    return (offsets, (offset + pageSize - 1) & ~(pageSize - 1))
  }
}
