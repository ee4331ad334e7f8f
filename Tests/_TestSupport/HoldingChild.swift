// SPDX-License-Identifier: Apache-2.0

public import SystemPackage
public import _CTestSupport

/// A child that holds a file in a known way until the scope ends.
public struct HoldingChild: ~Copyable {
  public let id: Int32
  /// Where each mapping lies in it.
  public let addresses: [UInt64]

  /// Which threads it has.
  public enum Threads: CInt, Sendable {
    case one
    case two
    /// Two, and the main thread has ended: a zombie by its own folder in /proc, with a thread that lives and holds all.
    case mainEnded
  }

  public init(_ path: FilePath, _ holds: [pgt_hold] = [], opens: Int = 0, threads: Threads = .one) throws {
    var holds = holds
    id = path.withPlatformString { pgt_fork_holder($0, &holds, CInt(holds.count), CInt(opens), threads.rawValue) }
    addresses = holds.map { UInt64($0.address) }
    guard id > 0 else { throw Errno(rawValue: -id) }
  }

  /// Kills it and leaves it a zombie until the scope ends.
  public func becomeZombie() throws {
    let failure = pgt_kill_unawaited(id)
    guard failure == 0 else { throw Errno(rawValue: -failure) }
  }

  deinit { _ = pgt_kill(id) }
}

extension pgt_hold {
  public init(
    _ offset: Int64 = 0, _ length: Int64, reads: Int64 = 0, stores: Int64 = 0, shared: Bool = true,
    writable: Bool = false, locked: Bool = false
  ) {
    self.init(
      offset: offset, length: length, reads: reads, stores: stores, shared: shared, writable: writable, locked: locked,
      address: 0)
  }
}
