// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
public import SystemPackage

/// Word of the kernel that a peer has ended.
///
/// Where the peer is in the same PID namespace, the kernel tells at once (`pidfd`, which means this process and no later one with its number). Elsewhere,
/// and for a peer that calls exec or gives its handle up, the lock that is its proof of life is asked ten times a second.
@safe
public struct PeerWatch: ~Copyable, Sendable {
  private let storage: RegionStorage
  private let process: OwnedDescriptor
  /// Whom it watches.
  public let token: PeerToken

  internal init(_ storage: RegionStorage, _ token: PeerToken) {
    self.storage = storage
    self.token = token
    var descriptor: CInt = -1
    if token.place < storage.header.peerCapacity, let entry = storage.peers.entry(token.place), entry.token == token,
      entry.process > 0, entry.pidNamespace == pgw_pid_namespace()
    {
      descriptor = pgw_process_descriptor(entry.process)
      // The number may have gone to another process between the two looks, unless the peer lives now.
      if descriptor >= 0, storage.peers.isDead(token) {
        _ = pgw_close(descriptor)
        descriptor = -1
      }
    }
    process = OwnedDescriptor(number: descriptor)
  }

  /// For an event loop: becomes readable when the peer's process ends. Nil where the kernel has no such notice. It stays this value's.
  public var descriptor: FileDescriptor? { process.number >= 0 ? FileDescriptor(rawValue: process.number) : nil }

  /// Waits until the peer is gone.
  ///
  /// - Returns: false when the deadline passed before.
  @available(*, noasync, message: "it blocks the thread")
  public borrowing func wait(until deadline: Deadline = .never) -> Bool {
    while true {
      if storage.peers.isDead(token) { return true }
      if deadline.hasPassed { return false }
      let slice = min(deadline, .after(.milliseconds(100)))
      if process.number < 0 {
        pgw_sleep_until(slice.nanoseconds)
      } else if pgw_wait_for_either(process.number, -1, slice.nanoseconds) == 1, !storage.peers.isDead(token) {
        // Its process has ended, and another one (a child that a raw system call made) keeps its token.
        pgw_sleep_until(min(deadline, .after(.milliseconds(10))).nanoseconds)
      }
    }
  }
}

extension SharedRegion {
  /// Watches a peer.
  public borrowing func watch(_ token: PeerToken) -> PeerWatch { PeerWatch(storage, token) }
}

extension SharedRegionReader {
  /// Watches a peer.
  public borrowing func watch(_ token: PeerToken) -> PeerWatch { PeerWatch(storage, token) }
}
