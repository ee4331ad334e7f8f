// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
internal import Synchronization
public import SystemPackage

/// Ends with the channel's end that armed a descriptor, so that the wait does not keep the region.
internal struct Arming: ~Copyable {
  private let descriptor: ReadinessDescriptor.Storage
  private let number: UInt64

  internal init(_ descriptor: ReadinessDescriptor.Storage) {
    self.descriptor = descriptor
    number = descriptor.arming.wrappingAdd(1, ordering: .relaxed).newValue
  }

  deinit {
    // Unless it was armed for something else since.
    if descriptor.arming.load(ordering: .relaxed) == number { Reactor.disarm(descriptor) }
  }
}

/// A descriptor that becomes readable when a channel may have something, for event loops (SwiftNIO, epoll, libuv).
///
/// ```swift
/// let readiness = try ReadinessDescriptor()
/// // register readiness.descriptor with the loop; whenever it is readable:
/// readiness.clear()
/// repeat {
///   while try consumer.tryReceive({ bytes, type in handle(bytes) }) != nil {}
/// } while try !consumer.arm(readiness)
/// ```
///
/// Armed, it becomes readable once, when there may be a message; rarely also for no reason. It is armed for one channel at a time, the last one, and for as long as that end
/// lives. One thread of the process waits for all of its descriptors and tasks; a loop that is never armed costs nothing.
///
/// C counterpart: `eventfd`.
@safe
public struct ReadinessDescriptor: ~Copyable, Sendable {
  internal final class Storage: Sendable {
    internal let owned: OwnedDescriptor
    internal let identifier = Reactor.newIdentifier()
    /// The last time that it was armed.
    internal let arming = Atomic<UInt64>(0)

    internal init() throws(SharedMemoryError) {
      owned = OwnedDescriptor(number: pgw_event_descriptor())
      guard owned.number >= 0 else { throw .last("wait for a region") }
    }

    internal func signal() { _ = pgw_event_signal(owned.number) }
  }

  internal let storage: Storage

  /// - Throws: ``SharedMemoryError``: `tooManyDescriptors`; `notSupported` where the platform has none (Darwin).
  public init() throws(SharedMemoryError) { storage = try Storage() }

  deinit { Reactor.disarm(storage) }

  /// Readable while something was signalled and not cleared. It stays this value's; a loop that closes what it is given gets a duplicate.
  public var descriptor: FileDescriptor { FileDescriptor(rawValue: storage.owned.number) }

  /// Makes it unreadable until the next signal.
  public borrowing func clear() { _ = pgw_event_clear(storage.owned.number) }
}
