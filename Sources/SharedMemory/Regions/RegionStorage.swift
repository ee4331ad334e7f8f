// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
internal import Synchronization
internal import SystemPackage

/// One attachment to a region: an open file description of its own, the mapping, and this process's place among the peers. Everything that
/// works inside the region holds it, so the memory stays mapped for as long as anything can touch it.
///
/// It is never unmapped while a thread is inside a call on one of its parts: the call borrows the handle that holds this object. The
/// kernel's list of robust mutexes relies on that.
@safe
internal final class RegionStorage: @unchecked Sendable {
  internal let range: MappedRange
  internal let header: RegionFormat.Header
  /// The name or path, for messages.
  internal let name: String?
  internal let canWrite: Bool
  /// Nobody can make the file shorter.
  internal let isSealed: Bool
  /// Zero for a reader, which has no place.
  internal let token: PeerToken
  /// The fork after which it was made: see `isForeign`.
  internal let generation: UInt64

  internal var descriptor: CInt { range.descriptor }
  internal var base: UnsafeMutableRawPointer { unsafe range.base }
  internal var peers: PeerTable {
    unsafe PeerTable(
      base: base + RegionFormat.headerSize, capacity: header.peerCapacity, descriptor: descriptor, own: token)
  }
  /// True in a child of the process that made it: the child has the memory and not the place among the peers.
  internal var isForeign: Bool { pgw_fork_generation() != generation }

  /// Attaches to the region in an open file.
  ///
  /// A mapping keeps its file's description alive, and a forked child has the mapping. So the memory is mapped through a second description, and
  /// the first, whose lock is the proof of life, ends with the process. Where no second one can be had the child keeps it until it ends, calls exec
  /// or unmaps: it errs on the side of life.
  ///
  /// - Parameters:
  ///   - owned: a description that nobody else uses; closed on failure.
  ///   - second: another description to map through; nil to open one.
  ///   - claims: whether to take a place among the peers: handles that write do.
  internal init(
    attaching owned: consuming OwnedDescriptor, mapping second: consuming OwnedDescriptor? = nil, name: String?,
    canWrite: Bool,
    label: String
  ) throws(SharedMemoryError) {
    let file = owned.number
    // Before it locks anything: a fork by another thread in between would leave the child with the lock.
    guard pgw_token_watch_fork(file) else {
      throw SharedMemoryError(.tooManyDescriptors, "attach to", region: name, note: "4,096 regions are attached")
    }
    let header: RegionFormat.Header
    let isSealed: Bool
    let mapped: OwnedDescriptor
    do throws(SharedMemoryError) {
      // Readers and writers share this lock: whoever gets it alone has the proof that nobody is attached.
      // Who takes the name of an unused region away has it alone for some microseconds.
      let patience = Deadline.after(.seconds(2))
      KillPoints.pass("region.attach.lock")
      while pgw_token_lock(file, PeerTable.attachedLock, false) != 0 {
        guard Errno.current == .resourceTemporarilyUnavailable else { throw .last("attach to", region: name) }
        guard !patience.hasPassed else {
          throw SharedMemoryError(.inUse, "attach to", region: name, note: "a process that removes it has stopped")
        }
        Deadline.nap(.after(.microseconds(50)))
      }
      (header, isSealed) = try Self.readHeader(file, name: name)
      mapped = try Self.mappingDescription(second, of: file, canWrite, name)
    } catch {
      pgw_token_forget(file)
      throw error
    }
    KillPoints.pass("region.attach.map")
    let protection: CInt = canWrite ? 3 : 1
    let through = mapped.number >= 0 ? mapped.number : file
    guard let base = unsafe pgw_map(nil, header.byteCount, protection, CInt(PGW_MAP_SHARED), through, 0) else {
      let error = SharedMemoryError.last("map", region: name)
      pgw_token_forget(file)
      throw error
    }
    let range: MappedRange
    do throws(MappingError) {
      // From here on the range closes the descriptor.
      range = unsafe try MappedRange(
        adopting: base, length: header.byteCount, descriptor: owned.release(), fileOffset: 0, protection: protection,
        fillByte: 0, path: nil)
    } catch {
      pgw_token_forget(file)
      throw SharedMemoryError(error, "map", region: name)
    }
    var token = PeerToken.none
    if canWrite {
      let table = unsafe PeerTable(
        base: range.base + RegionFormat.headerSize, capacity: header.peerCapacity, descriptor: file, own: .none)
      do throws(SharedMemoryError) {
        token = try table.claim(label: label, region: name)
      } catch {
        pgw_token_forget(file)
        throw error
      }
    }
    self.range = range
    self.header = header
    self.name = name
    self.canWrite = canWrite
    self.isSealed = isSealed
    self.token = token
    generation = pgw_fork_generation()
  }

  /// What to map through, which must be the same file. None (-1) where there is none to be had.
  private static func mappingDescription(
    _ given: consuming OwnedDescriptor?, of file: CInt, _ canWrite: Bool, _ name: String?
  ) throws(SharedMemoryError) -> OwnedDescriptor {
    guard let given else { return OwnedDescriptor(number: pgw_token_describe(file, canWrite)) }
    var first = pgw_stat()
    var second = pgw_stat()
    guard unsafe pgw_fstat(file, &first) == 0, unsafe pgw_fstat(given.number, &second) == 0,
      first.device == second.device,
      first.inode == second.inode
    else {
      throw SharedMemoryError(.notARegion, "attach to", region: name, note: "its two descriptors are of two files")
    }
    return given
  }

  /// The header as it stands in the file, copied once and checked.
  internal static func readHeader(
    _ file: CInt, name: String?
  ) throws(SharedMemoryError) -> (RegionFormat.Header, isSealed: Bool) {
    var found = pgw_stat()
    guard unsafe pgw_fstat(file, &found) == 0 else { throw .last("open", region: name) }
    var bytes = [UInt8](repeating: 0, count: RegionFormat.headerSize)
    var filled = 0
    while filled < bytes.count {
      let wanted = bytes.count - filled
      let got = unsafe bytes.withUnsafeMutableBytes {
        unsafe pgw_pread(file, $0.baseAddress! + filled, wanted, Int64(filled))
      }
      guard got >= 0 else { throw .last("open", region: name) }
      if got == 0 { break }
      filled += got
    }
    let header = try RegionFormat.decode(Array(bytes.prefix(filled)), fileSize: found.size, region: name)
    return (header, MemoryFile.Seals(rawValue: max(0, pgw_get_seals(file))).contains(.shrink))
  }

  deinit {
    // Given back by name, because a child between fork and exec may have the description for a moment longer than we do.
    if !isForeign {
      if token != .none { peers.release() }
      _ = pgw_token_unlock(descriptor, PeerTable.attachedLock)
    }
    pgw_token_forget(descriptor)
  }

  /// The part of this name and kind.
  internal func part(_ name: String, _ kind: RegionLayout.Kind, _ operation: String) throws(SharedMemoryError)
    -> RegionFormat.PlacedPart
  {
    if isForeign { throw SharedMemoryError(.forked, operation, region: self.name, part: name) }
    guard let placed = header.part(name) else {
      throw SharedMemoryError(.noSuchPart, operation, region: self.name, part: name)
    }
    guard placed.part.kind == kind else {
      throw SharedMemoryError(
        .layoutDiffers, operation, region: self.name, part: name, note: "it is \(placed.part.kind), wanted is \(kind)")
    }
    return placed
  }

  /// Throws when a page was lost since the region was attached.
  internal func checkFault(_ operation: String) throws(SharedMemoryError) {
    if range.flag.isRaised { throw SharedMemoryError(.faulted, operation, region: name) }
  }
}
