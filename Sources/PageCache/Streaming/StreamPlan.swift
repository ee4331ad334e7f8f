// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
internal import SystemPackage

/// Sizes and methods of a pass, from the device, the memory that is left, and what was asked.
internal struct StreamPlan {
  internal let chunkSize: Int
  internal let windowSize: Int
  /// How far beyond a window the kernel may read by itself, in bytes.
  internal let lead: Int64
  /// Bytes that the ledger tells of together.
  internal let unit: Int
  /// The kernel reads ahead too little, or too much for the memory that is left: each window is asked for beforehand.
  internal let asksAhead: Bool
  /// Too much: its own read-ahead is off.
  internal let asksItself: Bool
  /// How far beyond the present window is asked for, in bytes.
  internal let ahead: Int64
  /// Bytes of one such question.
  internal let askStep: Int64
  internal let fixed: StreamedFile.Method?
  /// By the caller.
  internal let isAsked: Bool
  internal let cold: [StreamedFile.Method]
  internal let warm: [StreamedFile.Method]
  /// Bytes that a method is tried with.
  internal let trial: Int64
  internal let offset: Int64
  internal let length: Int64?
  /// Advice is for this pass alone.
  internal let hasOwnOpening: Bool
  /// A read may have to wait.
  internal let mustWait: Bool

  /// No folio of the page cache is larger.
  private static let folio = 2 << 20
  private static let mostWindow = 8 << 20
  /// Asked for at a time where the kernel would ask for less: keeps a fast device busy.
  private static let usualAhead: Int64 = 8 << 20
  private static let usualChunk = 1 << 20
  private static let mostChunk = 1 << 30
  /// What the kernel takes where nothing else is said.
  private static let unknownReadAhead: Int64 = 4 << 20
  /// Less is more noise than answer.
  private static let leastTrial: Int64 = 16 << 20
  /// More is not believed, and not tried with.
  private static let mostReadAhead: Int64 = 64 << 20

  internal init(_ file: borrowing StreamedFile, hasOwnOpening: Bool) {
    self.hasOwnOpening = hasOwnOpening
    let page = SystemPage.size
    var mostBytes = file.count ?? Int64(Self.usualChunk)
    if file.count == nil, case .bytes(let bytes) = file.chunk { mostBytes = Int64(bytes) }
    // Not worth the questions.
    let isSmall = mostBytes <= StreamedFile.small
    let facts = isSmall ? nil : try? FileFacts(loadingNothing: file.file.descriptor)
    let room = facts?.memoryRoom ?? .max
    let kernelAhead = min(facts?.readAhead ?? Self.unknownReadAhead, Self.mostReadAhead)
    // A sixteenth of what is left, and at least a little.
    let share = Self.powerOfTwo(atMost: min(max(Int(clamping: room / 16), 64 << 10), Self.mostChunk))
    let usual = Self.powerOfTwo(
      atMost: Int(min(max(kernelAhead, Int64(Self.folio)), Int64(Self.mostWindow))))
    var chunk = min(Self.usualChunk, share)
    if case .bytes(let bytes) = file.chunk {
      let whole = bytes.addingReportingOverflow(page - 1)
      chunk = min(whole.overflow ? share : whole.partialValue / page * page, max(share, page))
    }
    // A file that is read at once needs no more than itself.
    if let count = file.count { chunk = min(chunk, Int(clamping: (count + Int64(page)) / Int64(page) * Int64(page))) }
    chunk = max(chunk, page)
    var window = max(min(usual, share), Self.powerOfTwo(atLeast: chunk))
    // Two of the kernel's read-aheads, the window, and the one before that is being dropped.
    let isScarce = hasOwnOpening && 2 * kernelAhead + 2 * Int64(window) > room / 3
    if isScarce { window = max(min(window, share / 2), Self.powerOfTwo(atLeast: chunk)) }
    chunkSize = chunk
    windowSize = window
    unit = max(min(Self.folio, window), page)
    asksItself = isScarce
    asksAhead = isScarce || kernelAhead < Int64(Self.folio)
    // Under scarcity a quarter of the room in all: six windows of a thirty-second, the present one, and the one before.
    ahead = !asksAhead ? 0 : isScarce ? 6 * Int64(window) : max(Int64(window), min(Self.usualAhead, Int64(share)))
    askStep = max(min(kernelAhead, Int64(window)), Int64(page))
    // The kernel has at most two of its read-aheads under way, and rounds up to folios.
    lead =
      isScarce ? ahead : max(2 * kernelAhead, ahead) + Int64(2 * Self.folio)
    trial = isScarce ? max(2 * ahead, Self.leastTrial) : max(2 * kernelAhead, Int64(window), Self.leastTrial)
    offset = file.offset
    length = file.length
    mustWait = file.kind != .regular && file.kind != .blockDevice
    let prefersReading = facts?.fileSystem?.prefersReading ?? false
    // Trials of less than that many windows would be most of the pass.
    let isLong = (file.count ?? 0) >= 16 * trial
    isAsked = file.method != .measured
    fixed = file.method == .measured ? isLong ? nil : .read : file.method
    // Those that leave read-ahead for the next one come last.
    cold = prefersReading ? [.direct, .dontCache, .read] : [.direct, .dontCache, .map, .read]
    warm = prefersReading ? [.read] : [.map, .read]
  }

  private static func powerOfTwo(atMost bytes: Int) -> Int {
    1 << (Int.bitWidth - 1 - max(bytes, 1).leadingZeroBitCount)
  }

  private static func powerOfTwo(atLeast bytes: Int) -> Int {
    let lower = powerOfTwo(atMost: bytes)
    return lower < bytes && lower < 1 << (Int.bitWidth - 3) ? lower << 1 : lower
  }
}

/// A file opened past the page cache.
internal struct DirectFile: ~Copyable {
  private let number: CInt
  /// What offsets, lengths and addresses are multiples of; nil when the file system refuses.
  internal let alignment: Int64?
  internal let failure: Errno?

  internal init(_ file: borrowing ObservedFile) {
    number = pgw_reopen(file.number, true)
    guard number >= 0 else {
      failure = MappingError.currentErrno
      alignment = nil
      return
    }
    var found = pgw_direct_alignment()
    guard unsafe pgw_get_direct_alignment(number, &found) == 0 else {
      // Nobody tells: a page suits nearly every device, and the first read is the trial.
      failure = nil
      alignment = Int64(SystemPage.size)
      return
    }
    // Our memory is page aligned.
    let isPossible = found.offset > 0 && found.memory <= SystemPage.size && found.offset <= 1 << 20
    failure = isPossible ? nil : .notSupported
    alignment = isPossible ? Int64(max(found.offset, found.memory)) : nil
  }

  deinit { if number >= 0 { _ = pgw_close(number) } }

  internal borrowing func read(_ target: UnsafeMutableRawPointer, _ count: Int, _ offset: Int64) -> Int {
    unsafe pgw_pread(number, target, count, offset)
  }
}
