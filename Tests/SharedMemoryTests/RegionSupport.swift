// SPDX-License-Identifier: Apache-2.0

import SharedMemory
import SystemPackage
import Testing
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

enum RegionScene {
  static let isLong = getenv("PAGEWISE_LONG") != nil
  /// Processes that each soak kills at random moments.
  static let kills = isLong ? 10_000 : 500

  /// The program that takes part, which stands beside the tests.
  static let peer: String = {
    var path = [UInt8](repeating: 0, count: 4096)
    let count = path.withUnsafeMutableBytes {
      readlink("/proc/self/exe", $0.baseAddress!.assumingMemoryBound(to: CChar.self), 4096)
    }
    let own = FilePath(String(decoding: path.prefix(max(0, count)), as: UTF8.self))
    return own.removingLastComponent().appending("_RegionPeer").string
  }()

  static func layout(peers: Int = 64) -> RegionLayout {
    var layout = RegionLayout(
      .counters("served", count: 4), .event("ping"), .event("pong"), .bytes("table", count: 1000))
    layout.peerCapacity = peers
    return layout
  }

  /// Waits for something that the kernel or another process brings about.
  static func eventually(_ condition: () -> Bool) -> Bool {
    for _ in 0..<20_000 {
      if condition() { return true }
      usleep(1000)
    }
    return false
  }

  static func token(_ text: String?) -> PeerToken? {
    guard let parts = text?.split(separator: "."), parts.count == 2, let place = UInt64(parts[0]),
      let taking = UInt64(parts[1])
    else { return nil }
    return PeerToken(rawValue: taking << 16 | place)
  }
}

/// The code of the error that `body` throws; nil when it throws none.
func code(_ body: () throws -> Void) -> SharedMemoryError.Code? {
  do {
    try body()
    return nil
  } catch let error as SharedMemoryError {
    #expect(!error.description.isEmpty)
    return error.code
  } catch {
    Issue.record("another error: \(error)")
    return nil
  }
}
