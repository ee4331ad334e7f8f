// SPDX-License-Identifier: Apache-2.0

import SharedMemory
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A lock whose owner may die.
@Suite struct MutexTests {
  struct Scene: ~Copyable {
    let folder: TemporaryDirectory
    let region: SharedRegion
    let mutex: SharedMutex

    init() throws {
      let folder = try NamedRegionTests.folder()
      let region = try SharedRegion(
        creating: RegionLayout(.mutex("account", protecting: 64)), named: "r", in: RuntimeFolder(folder.path))
      mutex = try region.mutex("account")
      self.folder = folder
      self.region = region
    }

    func peer(_ verb: String) throws -> RunningChild {
      try RunningChild([RegionScene.peer, verb, folder.path.string, "r"])
    }
  }

  @Test func `a lock is held by one, who is not asked about deaths that were none`() throws {
    let scene = try Scene()
    let mutex = scene.mutex
    #expect(mutex.byteCount == 64)
    let value = try mutex.withLock { bytes in
      bytes.storeBytes(of: 5, toByteOffset: 56, as: UInt64.self)
      return bytes.byteCount
    } recovering: { _ in
      .broken
    }
    #expect(value == 64)
    let nested = try mutex.withLock { _ in
      code {
        try mutex.withLock { _ in
        } recovering: { _ in
          .broken
        }
      }
    } recovering: { _ in
      .broken
    }
    #expect(nested == .deadlock)
    let totals = Locked<Int>(0)
    withWatchdog("threads with a lock") {
      onThreads(4) { _ in
        for _ in 0..<5_000 {
          try? mutex.withLock { bytes in
            bytes.storeBytes(of: bytes.unsafeLoad(as: UInt64.self) + 1, as: UInt64.self)
          } recovering: { _ in
            .broken
          }
        }
        totals.withLock { $0 += 5_000 }
      }
    }
    #expect(
      try mutex.tryLock {
        $0.unsafeLoad(as: UInt64.self)
      } recovering: { _ in
        .broken
      } == 20_000)
    #expect(totals.withLock { $0 } == 20_000)
  }

  @Test func `while another has it, a try is nothing and a deadline passes`() throws {
    let scene = try Scene()
    let mutex = scene.mutex
    var child = try scene.peer("lock")
    #expect(child.line("locked") != nil, "\(child.output)")
    #expect(
      try mutex.tryLock { _ in
        1
      } recovering: { _ in
        .broken
      } == nil)
    let start = pgt_now_ns()
    #expect(
      code {
        try mutex.withLock(until: .after(.milliseconds(50))) { _ in
        } recovering: { _ in
          .broken
        }
      } == .timedOut)
    #expect(pgt_now_ns() - start >= 50_000_000)
    // Stopped is not dead.
    #expect(kill(child.pid, SIGSTOP) == 0)
    #expect(
      code {
        try mutex.withLock(until: .after(.seconds(1))) { _ in
        } recovering: { _ in
          .broken
        }
      } == .timedOut)
    #expect(kill(child.pid, SIGCONT) == 0)
    child.kill()
    var recoveries = 0
    try withWatchdog("a lock of a dead one") {
      try mutex.withLock { _ in
      } recovering: { _ in
        recoveries += 1
        return .repaired
      }
      try mutex.withLock { _ in
      } recovering: { _ in
        .broken
      }
    }
    #expect(recoveries == 1)
  }

  @Test func `what cannot be repaired is broken for everybody, for ever`() throws {
    let scene = try Scene()
    let mutex = scene.mutex
    let child = try scene.peer("lock")
    #expect(child.line("locked") != nil, "\(child.output)")
    // A zombie is as dead as it gets.
    child.killUnawaited()
    #expect(
      code {
        try mutex.withLock { _ in
        } recovering: { _ in
          .broken
        }
      } == .broken)
    #expect(
      code {
        try mutex.withLock { _ in
        } recovering: { _ in
          .repaired
        }
      } == .broken)
    #expect(
      code {
        _ = try mutex.tryLock { _ in
        } recovering: { _ in
          .repaired
        }
      } == .broken)
    var other = try scene.peer("count")
    #expect(other.wait(seconds: 20) == 1 && other.output.contains("could not be repaired"), "\(other.output)")
  }

  @Test func `owners killed at random leave what the next one makes right`() throws {
    let scene = try Scene()
    let mutex = scene.mutex
    var random = Random(seed: 31)
    let kills = RegionScene.kills
    var before: UInt64 = 0
    try withWatchdog("killed owners", seconds: RegionScene.isLong ? 3600 : 240) {
      var witness = try scene.peer("count")
      for _ in 0..<kills {
        var victim = try scene.peer("count")
        #expect(victim.line("attached ") != nil, "\(victim.output)")
        pgt_sleep_us(UInt32(random.below(5_000)))
        victim.kill()
        let (first, second) = try mutex.withLock { bytes in
          (bytes.unsafeLoad(as: UInt64.self), bytes.unsafeLoad(fromByteOffset: 8, as: UInt64.self))
        } recovering: { bytes in
          bytes.storeBytes(
            of: bytes.unsafeLoad(fromByteOffset: 16, as: UInt64.self) + 1, toByteOffset: 16, as: UInt64.self)
          bytes.storeBytes(of: bytes.unsafeLoad(as: UInt64.self), toByteOffset: 8, as: UInt64.self)
          return .repaired
        }
        #expect(first == second && first > before)
        before = first
      }
      witness.kill()
    }
    let deaths = try mutex.withLock {
      $0.unsafeLoad(fromByteOffset: 16, as: UInt64.self)
    } recovering: { _ in
      .repaired
    }
    print("killed owners: \(kills), \(deaths) of them with the lock, \(before) times locked")
    #expect(deaths > 0)
  }

  @Test(.rootOnly("PID namespaces")) func `a mutex is used within one PID namespace at a time`() throws {
    guard Skips.require(Skips.hasProgram("unshare"), "PID namespaces", install: "apt-get install util-linux") else {
      return
    }
    let folder = try NamedRegionTests.folder()
    let region = try SharedRegion(
      creating: RegionLayout(.mutex("account", protecting: 64)), named: "r", in: RuntimeFolder(folder.path))
    func elsewhere() throws -> RunningChild {
      try RunningChild([
        "/usr/bin/env", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", RegionScene.peer, "count",
        folder.path.string, "r",
      ])
    }
    var first = try elsewhere()
    #expect(first.line("attached ") != nil, "\(first.output)")
    // There and here the numbers of threads mean different ones.
    #expect(code { _ = try region.mutex("account") } == .notSupported)
    var second = try elsewhere()
    #expect(second.wait(seconds: 20) != 0 && second.output.contains("PID namespace"), "\(second.output)")
    // Where nobody of the first is left, another one has it.
    first.kill()
    #expect(RegionScene.eventually { code { _ = try region.mutex("account") } == nil })
    var third = try elsewhere()
    #expect(third.wait(seconds: 20) != 0 && third.output.contains("PID namespace"), "\(third.output)")
  }
}
