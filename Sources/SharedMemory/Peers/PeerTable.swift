// SPDX-License-Identifier: Apache-2.0
//
// The peer table: `capacity` places of 128 bytes behind the header.
//
//   offset  size
//        0     8  token of who has the place; 0 while nobody has
//        8     8  how often it was taken
//       16     8  process, in its PID namespace
//       24     8  PID namespace (inode)
//       32     8  when it attached, nanoseconds since 1970
//       40    48  label, UTF-8, filled up with NUL
//       88    40  0
//
// A place belongs to whoever holds the lock of its byte (`PeerTable.firstLock` + place) by an open file description. The holder alone
// writes it. So:
//
//   - Taking a place needs no compare-and-swap: who gets the lock knows that the one before is gone, and that the kernel says so.
//   - A peer is dead when its token no longer stands in its place, or nobody holds the lock. While a place changes hands its lock is
//     held and the old token may still stand there: the old one then looks alive for a moment, which errs on the safe side.
//   - Being killed anywhere leaves nothing to repair: the lock is free, and the next holder writes all fields.

internal import CPlatform
internal import MemoryMapping
internal import Synchronization
internal import SystemPackage

/// The region stays mapped for as long as the storage that hands this out, and places are below `capacity`.
@safe
internal struct PeerTable {
  internal static let stride = 128
  /// Everybody who is attached holds it together; who gets it alone knows that nobody is.
  internal static let attachedLock: UInt64 = 0
  internal static let firstLock: UInt64 = 16
  private static let labelOffset = 40
  private static let labelSize = 48

  internal let base: UnsafeMutableRawPointer
  internal let capacity: Int
  internal let descriptor: CInt
  internal let own: PeerToken

  private func word(_ place: Int, _ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + place * Self.stride + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// Takes a place whose lock is free.
  internal func claim(label: String, region: String?) throws(SharedMemoryError) -> PeerToken {
    for place in 0..<capacity {
      KillPoints.pass("peers.claim.lock")
      guard pgw_token_lock(descriptor, Self.firstLock + UInt64(place), true) == 0 else {
        if Errno.current == .resourceTemporarilyUnavailable { continue }
        throw .last("attach to", region: region)
      }
      // 48 bits; a place that was taken so often has been hurt by somebody, and begins again.
      let before = unsafe word(place, 8).pointee.load(ordering: .relaxed)
      let taking = before < 1 << 47 ? before + 1 : 1
      // Readers of `entry(_:)` see the token before the other fields or none.
      KillPoints.pass("peers.claim.empty")
      unsafe word(place, 0).pointee.store(0, ordering: .relaxed)
      atomicMemoryFence(ordering: .releasing)
      store(taking, at: place, 8)
      store(UInt64(pgw_process_id()), at: place, 16)
      store(pgw_pid_namespace(), at: place, 24)
      store(pgw_wall_ns(), at: place, 32)
      storeLabel(label, at: place)
      let token = PeerToken(place: place, taking: taking)
      KillPoints.pass("peers.claim.token")
      // Pairs with the acquiring load in `entry(_:)`.
      unsafe word(place, 0).pointee.store(token.rawValue, ordering: .releasing)
      return token
    }
    throw SharedMemoryError(.peersExhausted, "attach to", region: region, note: "\(capacity) places")
  }

  private func store(_ value: UInt64, at place: Int, _ offset: Int) {
    KillPoints.pass("peers.claim.field")
    unsafe word(place, offset).pointee.store(value, ordering: .relaxed)
  }

  private func storeLabel(_ label: String, at place: Int) {
    var words = [UInt64](repeating: 0, count: Self.labelSize / 8)
    for (index, byte) in label.utf8.prefix(Self.labelSize).enumerated() {
      words[index / 8] |= UInt64(byte) << UInt64(index % 8 * 8)
    }
    for (index, value) in words.enumerated() { store(value.littleEndian, at: place, Self.labelOffset + index * 8) }
  }

  /// Gives the own place back.
  internal func release() {
    KillPoints.pass("peers.release.token")
    unsafe word(own.place, 0).pointee.store(0, ordering: .releasing)
    KillPoints.pass("peers.release.lock")
    _ = pgw_token_unlock(descriptor, Self.firstLock + UInt64(own.place))
  }

  /// Whether the kernel, or the table, proves that this peer is gone. An error of the kernel proves nothing.
  internal func isDead(_ token: PeerToken) -> Bool {
    if token == own { return false }
    // Not a token of this table: there is no such peer.
    guard token.place < capacity else { return true }
    if unsafe word(token.place, 0).pointee.load(ordering: .acquiring) != token.rawValue { return true }
    return pgw_token_is_held(descriptor, Self.firstLock + UInt64(token.place)) == 0
  }

  /// What stands in a place: nil where nobody does. Reads what others may be writing.
  internal func entry(_ place: Int) -> SharedRegion.Peer? {
    // Pairs with the release in `claim`: the fields are at least as new as the token.
    let first = unsafe word(place, 0).pointee.load(ordering: .acquiring)
    guard first != 0, first & 0xFFFF == UInt64(place) else { return nil }
    let process = unsafe word(place, 16).pointee.load(ordering: .relaxed)
    let space = unsafe word(place, 24).pointee.load(ordering: .relaxed)
    let attached = unsafe word(place, 32).pointee.load(ordering: .relaxed)
    var label: [UInt8] = []
    for index in 0..<Self.labelSize / 8 {
      let value = UInt64(
        littleEndian: unsafe word(place, Self.labelOffset + index * 8).pointee.load(ordering: .relaxed))
      for shift in 0..<8 { label.append(UInt8(truncatingIfNeeded: value >> UInt64(shift * 8))) }
    }
    atomicMemoryFence(ordering: .acquiring)
    guard unsafe word(place, 0).pointee.load(ordering: .relaxed) == first else { return nil }
    let token = PeerToken(rawValue: first)
    return SharedRegion.Peer(
      token: token, process: Int32(exactly: process) ?? 0, pidNamespace: space, attachedNanoseconds: attached,
      label: String(decoding: label.prefix { $0 != 0 }, as: UTF8.self), isDead: isDead(token))
  }
}

extension PeerTable {
  internal func entries() -> [SharedRegion.Peer] {
    var found: [SharedRegion.Peer] = []
    for place in 0..<capacity {
      if let entry = entry(place) { found.append(entry) }
    }
    return found
  }
}
