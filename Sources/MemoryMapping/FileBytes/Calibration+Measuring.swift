// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import Synchronization
internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

extension Calibration {
  /// Measures this machine on an unnamed file of 8 MiB, in some 30 ms. Nothing is left behind.
  ///
  /// Each step runs several times and the fastest counts, since everything else on the machine can only add. Figures that a
  /// short run cannot see (costs on data far larger than the CPU's caches) follow their near counterparts in proportion.
  ///
  /// - Throws: ``MappingError`` when there is no place for the file at all.
  public static func measured() throws(MappingError) -> Calibration {
    let file = try MeasuringFile.make()
    let builtIn = Calibration.builtIn
    var found = builtIn
    let size = MeasuringFile.size
    let pages = Double(size / SystemPage.size)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 4096)
    defer { unsafe buffer.deallocate() }
    let base = buffer.baseAddress!

    found.readCall = fastest(of: 20, repeating: 20) { unsafe _ = pgw_pread(file.descriptor, base, 1, 0) }
    let piece = fastest(of: 20) { unsafe _ = pgw_pread(file.descriptor, base, 64 << 10, 1 << 20) }
    found.copyByte = max(0, piece - found.readCall) / Double(64 << 10)

    let single = fastest(of: 20) { file.map(length: SystemPage.size, touching: true) }
    let bare = fastest(of: 20) { file.map(length: SystemPage.size, touching: false) }
    let all = fastest(of: 5) { file.map(length: size, touching: true) }
    let populated = fastest(of: 5) { file.map(length: size, touching: false, populating: true) }
    found.mapping = single
    let unit = Double(FileFacts.samplePagesPerFault(file.descriptor, size: Int64(size)) ?? 1)
    let faults = max(1, pages / unit)
    let perFault = max(0, all - bare) / faults
    // One page's fault is known from `single`, the large one's from `perFault`: the difference is the price of its pages.
    found.faultPage = unit > 1 ? (perFault - builtIn.fault) / unit : builtIn.faultPage
    if found.faultPage < builtIn.faultPage / 4 { found.faultPage = builtIn.faultPage / 4 }
    found.fault = perFault - found.faultPage * unit
    found.populatePage = max(0, populated - bare) / pages

    found.freshByte = fastest(of: 3) { fresh(1 << 20) } / Double(1 << 20)
    found.readCallFar = builtIn.readCallFar * found.readCall / builtIn.readCall
    found.copyByteFar = builtIn.copyByteFar * found.copyByte / builtIn.copyByte
    found.touchByte = builtIn.touchByte * found.copyByte / builtIn.copyByte
    if let device = unsafe file.measureDevice(base) {
      found.deviceRequest = device.request
      found.deviceByte = device.byte
    }
    // A disturbed run must not send every later choice astray.
    for field in fields {
      let usual = builtIn[keyPath: field.path]
      let low = field.path == \.deviceRequest || field.path == \.deviceByte ? usual / 50 : usual / 8
      let high = field.path == \.deviceRequest || field.path == \.deviceByte ? usual * 500 : usual * 8
      found[keyPath: field.path] = min(max(found[keyPath: field.path], low), high)
    }
    found.isMeasured = true
    return found
  }

  private static func fastest(of rounds: Int, repeating count: Int = 1, _ body: () -> Void) -> Double {
    var best = UInt64.max
    for _ in 0..<rounds {
      let start = pgw_now_ns()
      for _ in 0..<count { body() }
      best = min(best, pgw_now_ns() - start)
    }
    return Double(max(1, best)) * 1e-9 / Double(count)
  }

  /// New memory from the kernel, each page touched, given back.
  private static func fresh(_ length: Int) {
    let flags = CInt(PGW_MAP_PRIVATE | PGW_MAP_ANONYMOUS)
    guard let base = unsafe pgw_map(nil, length, 3, flags, -1, 0) else { return }
    var at = 0
    while at < length {
      unsafe base.storeBytes(of: 1, toByteOffset: at, as: UInt8.self)
      at += SystemPage.size
    }
    unsafe pgw_unmap(base, length)
  }
}

/// A file without a name, on a disk where there is one.
private struct MeasuringFile: ~Copyable {
  static let size = 8 << 20
  let descriptor: CInt
  let isOnDisk: Bool

  private init(_ descriptor: CInt, isOnDisk: Bool) {
    self.descriptor = descriptor
    self.isOnDisk = isOnDisk
  }

  static func make() throws(MappingError) -> MeasuringFile {
    var opened: CInt = -1
    var isOnDisk = false
    let temporary = unsafe getenv("TMPDIR").map { unsafe FilePath(platformString: $0) }
    let cache = CalibrationStore.folder?.removingLastComponent()
    for place in [cache, temporary, "/var/tmp", "/tmp"] {
      guard let place else { continue }
      opened = unsafe place.withPlatformString { unsafe pgw_open_unnamed($0) }
      if opened >= 0 {
        isOnDisk = true
        break
      }
    }
    if opened < 0 { opened = unsafe pgw_memfd_create("pagewise-calibration", UInt32(PGW_MEMFD_CLOEXEC)) }
    guard opened >= 0 else { throw .last(.calibrate) }
    let file = MeasuringFile(opened, isOnDisk: isOnDisk)
    let piece = [UInt8](repeating: 0x5A, count: 256 << 10)
    var at = 0
    while at < size {
      let put = unsafe pgw_pwrite(opened, piece, piece.count, Int64(at))
      guard put > 0 else { throw .last(.calibrate) }
      at += put
    }
    return file
  }

  deinit { _ = pgw_close(descriptor) }

  borrowing func map(length: Int, touching: Bool, populating: Bool = false) {
    var options = MappedFile.Options()
    options.populate = populating
    guard let map = try? MappedFile(descriptor: FileDescriptor(rawValue: descriptor), length: length, options: options)
    else { return }
    guard touching else { return }
    let sum = try? map.withBytes { span in
      var sum: UInt8 = 0
      var at = 0
      while at < span.byteCount {
        sum &+= unsafe span.unsafeLoad(fromByteOffset: at, as: UInt8.self)
        at += SystemPage.size
      }
      return sum
    }
    // Used, so that the loop is not optimized away.
    Self.sink.store(sum ?? 0, ordering: .relaxed)
  }

  private static let sink = Atomic<UInt8>(0)

  /// Drops the file from the page cache and reads it again: one request, and a pass. Nil where that does not work.
  borrowing func measureDevice(_ base: UnsafeMutableRawPointer) -> (request: Double, byte: Double)? {
    guard isOnDisk, fsync(descriptor) == 0, evict() else { return nil }
    let requests = 6
    var start = pgw_now_ns()
    // Descending and far apart, so that nothing is read ahead.
    for index in 0..<requests {
      let offset = Int64(Self.size - (index + 1) * (Self.size / (requests + 1)))
      guard unsafe pgw_pread(descriptor, base, 512, offset) == 512 else { return nil }
    }
    let request = Double(pgw_now_ns() - start) * 1e-9 / Double(requests)
    guard evict() else { return nil }
    start = pgw_now_ns()
    var at: Int64 = 0
    while at < Int64(Self.size) {
      let got = unsafe pgw_pread(descriptor, base, 64 << 10, at)
      guard got > 0 else { return nil }
      at += Int64(got)
    }
    let pass = Double(pgw_now_ns() - start) * 1e-9
    return (request, max(0, pass - request) / Double(Self.size))
  }

  private borrowing func evict() -> Bool {
    guard pgw_fadvise(descriptor, 0, 0, CInt(PGW_FADV_DONTNEED)) == 0 else { return false }
    var state = pgw_cache_state()
    guard unsafe pgw_cachestat(descriptor, 0, UInt64(Self.size), &state) == 0 else { return false }
    return Int(state.cached) * SystemPage.size < Self.size / 10
  }
}
