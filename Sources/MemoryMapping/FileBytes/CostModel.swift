// SPDX-License-Identifier: Apache-2.0

/// What each strategy costs beyond the program's own work on the bytes. Pure arithmetic, some tens of nanoseconds.
///
/// The parts, all from ``Calibration``:
///
/// - reading: calls x cost of a call + bytes x copy rate (+ a new buffer's pages, when it is too large to be kept);
/// - mapping: map and unmap + faults x (fault + pages per fault x page) + bytes that the program fetches by itself;
/// - what is not in memory: bytes from the device in a pass, or one request for each place that is touched.
internal struct CostModel {
  internal let calibration: Calibration
  internal let byteCount: Int64
  internal let size: Double
  internal let pageSize: Double
  internal let pages: Double
  /// Share that is not in memory.
  internal let missing: Double
  internal let readAhead: Double
  /// Bytes that one fault maps, in pages, and its cost.
  internal let unit: (pages: Double, cost: Double)
  /// Seconds to map one page, beside the fault.
  internal let pageCost: Double
  /// Seconds for a byte that a read call copies from a file of this size.
  internal let copyRate: Double

  internal init(facts: borrowing FileFacts, calibration: Calibration) {
    self.calibration = calibration
    byteCount = facts.size
    size = Double(facts.size)
    pageSize = Double(SystemPage.size)
    pages = max(1, (size / pageSize).rounded(.up))
    missing = 1 - (facts.residentFraction ?? 1)
    readAhead = Double(facts.readAhead ?? (128 << 10))
    let known = Double(max(1, facts.pagesPerFault ?? Self.usualPagesPerFault))
    // Up to what the kernel maps around a fault the pages are folios of their own, each with its price; above they are
    // parts of a large one. A whole huge unit is one entry.
    pageCost = known <= Double(Self.usualPagesPerFault) ? calibration.populatePage : calibration.faultPage
    let modelled =
      known * pageSize >= Double(Self.hugeUnit)
      ? 2 * calibration.fault : calibration.fault + min(known, pages) * pageCost
    unit = (known, facts.faultSeconds ?? modelled)
    // From the second-level cache to beyond the third.
    let doublings = byteCount <= Self.keptBuffer ? 0 : Self.log2(size / Double(Self.keptBuffer))
    copyRate =
      calibration.copyByte + min(1, doublings / Self.farDoublings) * (calibration.copyByteFar - calibration.copyByte)
  }

  /// The largest file that is held in a buffer that is kept and used again.
  internal static let keptBuffer: Int64 = 1 << 20
  /// One piece of a streamed pass. Large enough to hide the call, small enough to stay in the CPU's second-level cache.
  internal static let streamPiece = 128 << 10
  /// What a fault maps around itself when nothing is known (`fault_around_bytes` of the kernel).
  internal static let usualPagesPerFault = 16
  /// How much dearer a fault is at a random place than in a pass, where the kernel's tables are in the CPU's cache.
  internal static let scatter = 1.35
  /// From a kept buffer to a size that no cache holds, in doublings: 1 MiB to 64 MiB.
  internal static let farDoublings = 6.0
  /// At 2 MiB the hardware maps a whole unit by one entry, and a fault costs no more for it.
  internal static let hugeUnit: Int64 = 2 << 20

  /// The estimates for all strategies, in seconds.
  internal func estimates(_ access: FileBytes.AccessPattern) -> Estimates {
    guard let scattered = access.scattered else {
      var estimates = pass()
      // A stream does not give all bytes in one span.
      if access == .onceWhole { estimates.stream = .infinity }
      return estimates
    }
    return self.scattered(readSize: scattered.size, count: Double(scattered.count ?? 1))
  }

  /// Every byte once.
  private func pass() -> Estimates {
    let device = missing * size * calibration.deviceByte + (missing > 0 ? calibration.deviceRequest : 0)
    let touch = size * calibration.touchByte
    // Unmapped, a miss stalls the program; a read call overlaps the device with its copy.
    let stall = device * 0.15
    let wholeRead = readWhole + device * (size > Double(Self.keptBuffer) ? 1.3 : 1)
    let streamCalls = max(1, size / Double(Self.streamPiece))
    let streamed =
      streamCalls * calibration.readCall
      + size * copyRate * 1.1 + device
    return Estimates(
      map: mapAll + touch + device + stall, mapPopulate: populateAll + touch + device + stall * 1.3, read: wholeRead,
      stream: streamed, isWholeBuffer: true)
  }

  internal func scattered(readSize: Int, count: Double) -> Estimates {
    let spanned = min(Double(readSize), size)
    let isFar = size > 4 * Double(Self.keptBuffer)
    // The copy itself costs the same by every way; only what comes on top differs.
    let call = isFar ? calibration.readCallFar : calibration.readCall
    let byte = copyRate
    let loads = count * (calibration.load + spanned * byte)
    let mapped = loads + count * calibration.load * 0.6
    let units = max(1, (pages / unit.pages).rounded(.up))
    let touchedUnits = Self.distinct(of: units, count: count * max(1, spanned / (unit.pages * pageSize)))
    let touchedPages = Self.distinct(of: pages, count: count * max(1, (spanned / pageSize).rounded(.up)))

    let device = missing * size * calibration.deviceByte + (missing > 0 ? calibration.deviceRequest : 0)
    // A fault on a missing page reads around it as far as the device reads ahead.
    let window = readAhead
    let windows = max(1, (size / window).rounded(.up))
    let mapDevice =
      missing
      * min(
        Self.distinct(of: windows, count: count)
          * (calibration.deviceRequest + min(window, size) * calibration.deviceByte),
        device * 1.3 + calibration.deviceRequest)
    let misses = missing * touchedPages / max(1, (spanned / pageSize).rounded(.up))

    let each = count * (call + spanned * byte) + misses * calibration.deviceRequest
    let whole =
      byteCount <= Self.keptBuffer ? readWhole + device + loads : Double.infinity
    return Estimates(
      map: calibration.mapping + touchedUnits * unit.cost * Self.scatter + mapped + mapDevice,
      mapPopulate: populateAll + mapped + device, read: min(each, whole), stream: each,
      isWholeBuffer: whole < each)
  }

  /// The number of single reads from which mapping (or one buffer) is cheaper than reading each by itself. Nil: never.
  internal func breakEven(readSize: Int) -> Int? {
    var count = 4.0
    while count <= 4e6 {
      let estimates = scattered(readSize: readSize, count: count)
      let alternative = min(estimates.map, estimates.mapPopulate, estimates.isWholeBuffer ? estimates.read : .infinity)
      if alternative < estimates.stream { return Int(count) }
      count *= 1.5
    }
    return nil
  }

  private var mapAll: Double {
    calibration.mapping + max(0, pages / unit.pages - 1) * unit.cost
  }

  private var populateAll: Double {
    // The kernel finds each page for itself and then maps it: no trap, but no neighbours for nothing either.
    calibration.mapping + pages * (calibration.populatePage + pageCost)
  }

  private var readWhole: Double {
    if byteCount <= Self.keptBuffer {
      // Above half of the second-level cache the program fetches the bytes a second time.
      let again = size > Double(Self.keptBuffer) / 2 ? size * calibration.touchByte : 0
      return calibration.readCall + size * calibration.copyByte + again
    }
    return calibration.readCall + size * (copyRate + calibration.freshByte)
  }

  /// The binary logarithm of a ratio above 1, linear between powers of two: no libm, exact enough for an estimate.
  private static func log2(_ ratio: Double) -> Double { Double(ratio.exponent) + ratio.significand - 1 }

  /// How many different ones of `total` are expected after `count` random picks.
  internal static func distinct(of total: Double, count: Double) -> Double {
    if count <= 1 { return min(count, total) }
    if count >= total * 8 { return total }
    if count * 64 <= total { return count }
    // total * (1 - e^(-count / total)), with five terms of the series of e^x: no libm, exact enough for an estimate.
    let x = count / total
    let power = 1 + x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5))))
    return total * (1 - 1 / power)
  }

  /// Seconds for each strategy.
  internal struct Estimates: Sendable, Hashable {
    internal var map, mapPopulate, read, stream: Double
    /// Whether ``read`` stands for one buffer with the whole file.
    internal var isWholeBuffer: Bool

    internal subscript(strategy: FileBytes.Strategy) -> Double {
      switch strategy {
      case .map: map
      case .mapPopulate: mapPopulate
      case .read: read
      case .stream: stream
      }
    }
  }
}
