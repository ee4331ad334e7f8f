// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
public import SystemPackage

/// A region with a name, as it was found from outside: nothing was attached, and nobody can tell that it was looked at.
public struct RegionListing: Sendable, Hashable {
  public let name: String
  public let path: FilePath
  /// Nil when the header could not be read: see ``problem``.
  public let identifier: RegionIdentifier?
  /// Bytes of the file.
  public let byteCount: Int64
  public let layout: RegionLayout?
  /// Nanoseconds since 1970; 0 when the header could not be read.
  public let createdNanoseconds: UInt64
  /// Who has a place, dead or alive.
  public let peers: [SharedRegion.Peer]
  /// Bytes that were sent into its rings and not received, with the words before each message. They are lost with the region.
  public let waitingBytes: UInt64
  /// Whether anybody is attached, to write or to read, as the kernel says. Nil when it does not.
  public let isUsed: Bool?
  /// Why it is not a region, or could not be read.
  public let problem: SharedMemoryError?
}

/// What was done, or would be, about one region.
public struct RegionRemoval: Sendable, Hashable {
  public enum Outcome: Sendable, Hashable {
    /// Nobody is attached; its name was taken away, unless it was asked only.
    case unused
    /// Somebody is attached.
    case inUse
    /// Somebody else took the name away meanwhile.
    case isGone
    /// It could not be proved that nobody is attached, or the name could not be taken away. Nothing was done.
    case failed(SharedMemoryError)
  }
  public let name: String
  public let byteCount: Int64
  /// Bytes that were sent into its rings and not received when it was looked at.
  public let waitingBytes: UInt64
  public let outcome: Outcome
}

extension RuntimeFolder {
  /// The regions in the folder, by name. Without the folder there are none.
  ///
  /// - Throws: ``SharedMemoryError``: `insecureFolder`, `permissionDenied`.
  public func regions() throws(SharedMemoryError) -> [RegionListing] {
    guard let open = try openIfThere("list") else { return [] }
    var found: [RegionListing] = []
    for name in try names(open.number) {
      if let listing = look(at: name, in: open.number) { found.append(listing) }
    }
    return found
  }

  /// One region; nil when there is none of the name.
  ///
  /// - Throws: ``SharedMemoryError``: `insecureFolder`, `permissionDenied`, `invalidArgument`.
  public func region(named name: String) throws(SharedMemoryError) -> RegionListing? {
    _ = try Self.fileName(name, "look at")
    guard let open = try openIfThere("look at") else { return nil }
    return look(at: name, in: open.number)
  }

  /// Takes away the names of regions that nobody is attached to, by proof of the kernel.
  ///
  /// - Parameter isDryRun: only says what would be done.
  /// - Throws: ``SharedMemoryError``: `insecureFolder`, `permissionDenied`.
  public func removeUnused(isDryRun: Bool) throws(SharedMemoryError) -> [RegionRemoval] {
    guard let open = try openIfThere("clean") else { return [] }
    var done: [RegionRemoval] = []
    for name in try names(open.number) {
      guard let listing = look(at: name, in: open.number) else { continue }
      done.append(
        RegionRemoval(
          name: name, byteCount: listing.byteCount, waitingBytes: listing.waitingBytes,
          outcome: outcome(listing, in: open.number, isDryRun)))
    }
    return done
  }

  private func outcome(_ listing: RegionListing, in folder: CInt, _ isDryRun: Bool) -> RegionRemoval.Outcome {
    // What is no region is nobody's leftover that we know of.
    if let problem = listing.problem { return .failed(problem) }
    guard let isUsed = listing.isUsed else {
      return .failed(SharedMemoryError(.other, "ask who uses", region: listing.name))
    }
    if isUsed { return .inUse }
    if isDryRun { return .unused }
    do throws(SharedMemoryError) {
      switch try SharedRegion.removeUnused(listing.name + Self.suffix, in: folder, name: listing.name) {
      case .removed: return .unused
      case .inUse: return .inUse
      case .isGone: return .isGone
      }
    } catch {
      return .failed(error)
    }
  }

  private func openIfThere(_ operation: String) throws(SharedMemoryError) -> OwnedDescriptor? {
    do throws(SharedMemoryError) { return try open(making: false, operation) } catch {
      if error.code == .notFound { return nil }
      throw error
    }
  }

  private func names(_ folder: CInt) throws(SharedMemoryError) -> [String] {
    var size = 0
    guard let text = unsafe pgw_list_folder(folder, &size) else { throw .last("list", note: "the folder \(path)") }
    defer { unsafe pgw_free(text) }
    let bytes = unsafe UnsafeRawBufferPointer(start: text, count: size)
    return unsafe bytes.split(separator: 0).compactMap {
      let file = unsafe String(decoding: $0, as: UTF8.self)
      guard file.hasSuffix(Self.suffix) else { return nil }
      let name = String(file.dropLast(Self.suffix.utf8.count))
      return Self.isValid(name) ? name : nil
    }.sorted()
  }

  /// Nil when it is gone.
  private func look(at name: String, in folder: CInt) -> RegionListing? {
    let path = path.appending(name + Self.suffix)
    func broken(_ problem: SharedMemoryError, _ size: Int64 = 0, isUsed: Bool? = nil) -> RegionListing {
      RegionListing(
        name: name, path: path, identifier: nil, byteCount: size, layout: nil, createdNanoseconds: 0, peers: [],
        waitingBytes: 0, isUsed: isUsed, problem: problem)
    }
    let file = OwnedDescriptor(number: unsafe pgw_open_in(folder, name + Self.suffix, false))
    guard file.number >= 0 else {
      return Errno.current == .noSuchFileOrDirectory ? nil : broken(.last("open", region: name))
    }
    var found = pgw_stat()
    guard unsafe pgw_fstat(file.number, &found) == 0 else { return broken(.last("open", region: name)) }
    let held = pgw_token_is_held(file.number, PeerTable.attachedLock)
    let isUsed = held < 0 ? nil : held == 1
    do throws(SharedMemoryError) {
      let (header, _) = try RegionStorage.readHeader(file.number, name: name)
      return RegionListing(
        name: name, path: path, identifier: header.identifier, byteCount: found.size, layout: header.layout,
        createdNanoseconds: header.createdNanoseconds, peers: Self.peers(of: header, in: file.number),
        waitingBytes: Self.waiting(in: header, of: file.number), isUsed: isUsed, problem: nil)
    } catch {
      return broken(error, found.size, isUsed: isUsed)
    }
  }

  /// What waits in all rings together. Numbers that no ring holds count for nothing.
  private static func waiting(in header: RegionFormat.Header, of file: CInt) -> UInt64 {
    var sum: UInt64 = 0
    for placed in header.parts where placed.part.kind == .ring {
      guard let shape = RingShape(of: placed.part) else { continue }
      for index in 0..<shape.laneCount {
        let lane = placed.offset + shape.lane(index)
        // The head first: what is received is never more than what is sent.
        guard let head = word(lane + RingLane.head, in: file), let tail = word(lane + RingLane.tail, in: file),
          tail > head, tail - head <= UInt64(shape.capacity)
        else { continue }
        sum += tail - head
      }
    }
    return sum
  }

  private static func word(_ offset: Int, in file: CInt) -> UInt64? {
    var word: UInt64 = 0
    let got = unsafe withUnsafeMutableBytes(of: &word) { unsafe pgw_pread(file, $0.baseAddress!, 8, Int64(offset)) }
    return got == 8 ? UInt64(littleEndian: word) : nil
  }

  /// The peer table, read into memory of our own: a mapping could lose its pages.
  private static func peers(of header: RegionFormat.Header, in file: CInt) -> [SharedRegion.Peer] {
    let size = header.peerCapacity * PeerTable.stride
    let copy = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: PeerTable.stride)
    defer { unsafe copy.deallocate() }
    unsafe copy.initializeMemory(as: UInt8.self, repeating: 0, count: size)
    var filled = 0
    while filled < size {
      let got = unsafe pgw_pread(file, copy + filled, size - filled, Int64(RegionFormat.headerSize + filled))
      guard got > 0 else { break }
      filled += got
    }
    return unsafe PeerTable(base: copy, capacity: header.peerCapacity, descriptor: file, own: .none).entries()
  }
}
