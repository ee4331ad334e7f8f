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

/// Regions that have a name in a folder.
@Suite struct NamedRegionTests {
  static func folder() throws -> TemporaryDirectory {
    try TemporaryDirectory(in: access("/dev/shm", W_OK) == 0 ? "/dev/shm" : nil)
  }

  @Test func `a name finds the region while somebody uses it, and is taken over when nobody does`() throws {
    let folder = try Self.folder()
    let runtime = RuntimeFolder(folder.path)
    #expect(code { _ = try SharedRegion(named: "a", in: runtime) } == .notFound)
    var first = try SharedRegion(creating: RegionScene.layout(), named: "a", in: runtime)
    let second = try SharedRegion(named: "a", in: runtime)
    #expect(second.identifier == first.identifier && second.name == "a" && !second.isSealed)
    #expect(code { _ = try SharedRegion(creating: RegionScene.layout(), named: "a", in: runtime) } == .alreadyExists)
    #expect(code { try SharedRegion.remove(named: "a", in: runtime) } == .inUse)
    // A reader counts as a user too.
    do {
      let reader = try SharedRegionReader(named: "a", in: runtime)
      first = try SharedRegion(creating: RegionScene.layout(), named: "b", in: runtime)
      #expect(reader.identifier == second.identifier)
    }
    try useUp(second)
    #expect(
      code { _ = try SharedRegion(creating: RegionScene.layout(), named: "a", leftover: .refuse, in: runtime) }
        == .alreadyExists)
    let third = try SharedRegion(creating: RegionScene.layout(), named: "a", in: runtime)
    #expect(third.peers().count == 1)
    try SharedRegion.remove(named: "a", in: runtime, isForced: true)
    #expect(code { try SharedRegion.remove(named: "a", in: runtime) } == .notFound)
    // Whoever has it goes on.
    #expect(try third.counters("served").add(1, at: 0) == 1)
  }

  private func useUp(_ region: consuming SharedRegion) throws { try region.counters("served").add(1, at: 0) }

  @Test func `what a killed process left is taken over by the next, and names nobody uses go`() throws {
    let folder = try Self.folder()
    let runtime = RuntimeFolder(folder.path)
    let token: PeerToken
    do {
      let region = try SharedRegion(creating: RegionScene.layout(), named: "left", in: runtime)
      var child = try RunningChild([RegionScene.peer, "attach", folder.path.string, "left"])
      token = try #require(RegionScene.token(child.line("attached ")), "\(child.output)")
      try useUp(region)
      #expect(code { try SharedRegion.remove(named: "left", in: runtime) } == .inUse, "the child uses it")
      child.kill()
    }
    #expect(RegionScene.eventually { code { try SharedRegion.remove(named: "left", in: runtime) } == nil })
    #expect(token != .none)
  }

  @Test func `a folder that has nothing above it is told with what to do`() throws {
    let folder = try Self.folder()
    let runtime = RuntimeFolder(folder.path.appending("none").appending("deeper"))
    do {
      _ = try SharedRegion(creating: RegionScene.layout(), named: "r", in: runtime)
      Issue.record("it was made")
    } catch {
      #expect(error.code == .notFound && error.remedy.contains("Make that folder"), "\(error)")
      #expect(error.description.contains("\(runtime.path)") && !error.description.contains("region list"), "\(error)")
    }
  }

  @Test func `what is no region is not taken for a leftover`() throws {
    let folder = try Self.folder()
    let runtime = RuntimeFolder(folder.path)
    let path = folder.appending("junk.region")
    let file = try FileDescriptor.open(path, .writeOnly, options: .create, permissions: .ownerReadWrite)
    _ = try file.writeAll("somebody's notes".utf8)
    try file.close()
    #expect(code { _ = try SharedRegion(creating: RegionScene.layout(), named: "junk", in: runtime) } == .notARegion)
    #expect(code { try SharedRegion.remove(named: "junk", in: runtime) } == .notARegion)
    let fifo = folder.appending("fifo.region")
    #expect(fifo.withPlatformString { mkfifo($0, 0o600) } == 0)
    #expect(code { _ = try SharedRegion(creating: RegionScene.layout(), named: "fifo", in: runtime) } == .notARegion)
    #expect(access(path.string, F_OK) == 0 && access(fifo.string, F_OK) == 0)
  }

  @Test func `names that are none are refused`() throws {
    let folder = try Self.folder()
    let names = ["", ".", "..", ".a", "a/b", "a b", "ä", "a\0", String(repeating: "x", count: 201)]
    withEvery("name", in: names) { name in
      check(
        code { _ = try SharedRegion(creating: RegionScene.layout(), named: name, in: RuntimeFolder(folder.path)) }
          == .invalidArgument)
      check(code { _ = try SharedRegion(named: name, in: RuntimeFolder(folder.path)) } == .invalidArgument)
    }
  }

  @Test func `a folder that others can change is refused`() throws {
    let folder = try Self.folder()
    let layout = RegionScene.layout()
    let link = folder.appending("link")
    let real = folder.appending("real")
    #expect(mkdir(real.string, 0o700) == 0 && symlink(real.string, link.string) == 0)
    #expect(code { _ = try SharedRegion(creating: layout, named: "a", in: RuntimeFolder(link)) } == .insecureFolder)
    #expect(chmod(real.string, 0o770) == 0)
    #expect(code { _ = try SharedRegion(creating: layout, named: "a", in: RuntimeFolder(real)) } == .insecureFolder)
    #expect(chmod(real.string, 0o700) == 0)
    if pgt_is_root() {
      #expect(chown(real.string, 65534, 65534) == 0)
      #expect(code { _ = try SharedRegion(creating: layout, named: "a", in: RuntimeFolder(real)) } == .insecureFolder)
      #expect(chown(real.string, 0, 0) == 0)
    }
    // A folder that is missing is made, for this user alone.
    let made = folder.appending("made")
    let region = try SharedRegion(creating: layout, named: "a", in: RuntimeFolder(made))
    var found = stat()
    #expect(stat(made.string, &found) == 0 && found.st_mode & 0o777 == 0o700)
    #expect(stat(made.appending("a.region").string, &found) == 0 && found.st_mode & 0o777 == 0o600)
    #expect(region.peers().count == 1)
    // In the place of a region stands something else.
    #expect(symlink("/etc/passwd", made.appending("l.region").string) == 0)
    #expect(code { _ = try SharedRegion(named: "l", in: RuntimeFolder(made)) } != nil)
    #expect(mkdir(made.appending("d.region").string, 0o700) == 0)
    #expect(code { _ = try SharedRegion(named: "d", in: RuntimeFolder(made)) } != nil)
    #expect(made.appending("f.region").withPlatformString { pgt_make_fifo($0) } == 0)
    #expect(code { _ = try SharedRegion(named: "f", in: RuntimeFolder(made)) } == .notARegion)
  }

  @Test func `a demoted name is opened for reading alone`() throws {
    let folder = try Self.folder()
    let runtime = RuntimeFolder(folder.path)
    do {
      let region = try SharedRegion(creating: RegionScene.layout(), named: "a", in: runtime)
      try region.demote()
      var found = stat()
      #expect(stat(folder.appending("a.region").string, &found) == 0 && found.st_mode & 0o777 == 0o400)
      #expect(try region.counters("served").add(1, at: 0) == 1)
      #expect(try SharedRegionReader(named: "a", in: runtime).counters("served")[0] == 1)
    }
    // The leftover is replaced all the same.
    _ = try SharedRegion(creating: RegionScene.layout(), named: "a", in: runtime)
  }

  @Test func `a file that somebody cuts is an error and not the end`() throws {
    let folder = try Self.folder()
    let runtime = RuntimeFolder(folder.path)
    let region = try SharedRegion(creating: RegionScene.layout(), named: "a", in: runtime)
    let reader = try SharedRegionReader(named: "a", in: runtime)
    #expect(truncate(folder.appending("a.region").string, 0) == 0)
    #expect(code { _ = try reader.bytes("table", 0..<10) } == .faulted)
    #expect(
      code { try region.withBytes("table") { $0.storeBytes(of: 1, toByteOffset: 0, as: UInt8.self) } } == .faulted)
    #expect(code { _ = try SharedRegion(named: "a", in: runtime) } == .notARegion)
    let event = try region.event("ping")
    #expect(code { _ = try event.wait(after: event.count, until: .after(.seconds(20))) } == .faulted)
  }

  @Test func `of many who make one name at once one makes it, and nobody sees it half made`() throws {
    let folder = try Self.folder()
    let runtime = RuntimeFolder(folder.path)
    let rounds = RegionScene.isLong ? 500 : 50
    for round in 0..<rounds {
      let outcomes = Locked<[RegionIdentifier]>([])
      let seen = Locked<[RegionIdentifier]>([])
      let failures = Locked<[SharedMemoryError.Code]>([])
      let arrived = Locked<Int>(0)
      withWatchdog("one maker") {
        onThreads(4) { thread in
          do {
            let name = "r\(round)"
            if thread < 2 {
              let region = try SharedRegion(creating: RegionScene.layout(peers: 8), named: name, in: runtime)
              outcomes.withLock { $0.append(region.identifier) }
              // Until all have tried, so that the name stays in use.
              arrived.withLock { $0 += 1 }
              while arrived.withLock({ $0 }) < 4 { usleep(100) }
            } else {
              var region: SharedRegionReader? = nil
              while region == nil {
                do { region = try SharedRegionReader(named: name, in: runtime) } catch let error as SharedMemoryError
                  where error.code == .notFound
                {}
              }
              if let region { seen.withLock { $0.append(region.identifier) } }
              arrived.withLock { $0 += 1 }
            }
          } catch let error as SharedMemoryError {
            failures.withLock { $0.append(error.code) }
            arrived.withLock { $0 += 1 }
          } catch {}
        }
      }
      let made = outcomes.withLock { $0 }
      #expect(made.count == 1 && failures.withLock { $0 } == [.alreadyExists])
      #expect(seen.withLock { $0 } == [made[0], made[0]])
    }
  }

  @Test func `while somebody is attached by a name it means that region, whoever removes and makes beside`() throws {
    let folder = try Self.folder()
    let runtime = RuntimeFolder(folder.path)
    let end = pgt_now_ns() + (RegionScene.isLong ? 60_000_000_000 : 3_000_000_000)
    let wrong = Locked<[String]>([])
    let attached = Locked<Int>(0)
    withWatchdog("one name", seconds: 120) {
      onThreads(4) { thread in
        while pgt_now_ns() < end {
          do {
            if thread == 0 {
              _ = try runtime.removeUnused(isDryRun: false)
              continue
            }
            let region =
              thread == 1
              ? try SharedRegion(creating: RegionScene.layout(peers: 8), named: "r", in: runtime)
              : try SharedRegion(named: "r", in: runtime)
            // Asked twice, so that a removal that has begun before the attachment is over.
            for _ in 0..<2 {
              sched_yield()
              let now = try? SharedRegionReader(named: "r", in: runtime).identifier
              if now != region.identifier {
                wrong.withLock { $0.append("\(thread): \(region.identifier), \(now as Any)") }
              }
            }
            attached.withLock { $0 += 1 }
          } catch let error as SharedMemoryError
            where [.notFound, .alreadyExists, .peersExhausted].contains(error.code)
          {
          } catch {
            wrong.withLock { $0.append("\(thread): \(error)") }
          }
        }
      }
    }
    #expect(wrong.withLock { $0.prefix(3) } == [])
    #expect(attached.withLock { $0 } > 100)
  }

  static let makerSteps: [(String, [Int])] = [
    ("region.build.size", [1]), ("region.build.room", [1]), ("region.build.write", [1]), ("region.attach.lock", [1]),
    ("region.attach.map", [1]), ("peers.claim.field", [1, 8]), ("peers.claim.token", [1]), ("region.create.link", [1]),
  ]

  @Test(.enabled("debug builds only") { EventTests.killPointsAreThere() }, arguments: makerSteps)
  func `a maker killed at a step leaves a whole region or none, and the next one makes it`(
    _ step: String, _ passes: [Int]
  ) throws {
    for pass in passes {
      let folder = try Self.folder()
      let runtime = RuntimeFolder(folder.path)
      var victim = try RunningChild(
        [RegionScene.peer, "make", folder.path.string, "a"], environment: ["PAGEWISE_KILL_AT": "\(step):\(pass)"])
      #expect(victim.wait(seconds: 20) == 256 + Int(SIGKILL), "\(step):\(pass) was not reached")
      // Each of these comes before the name.
      #expect(try runtime.regions() == [])
      let region = try SharedRegion(creating: RegionScene.layout(), named: "a", leftover: .refuse, in: runtime)
      let found = try SharedRegion(named: "a", in: runtime)
      #expect(found.identifier == region.identifier)
    }
  }

  static let removerSteps = ["region.remove.opened", "region.remove.locked", "region.remove.unlink"]

  @Test(.enabled("debug builds only") { EventTests.killPointsAreThere() }, arguments: removerSteps)
  func `a cleaner killed at a step leaves the name to the next one`(_ step: String) throws {
    for pass in [1, 2] {
      let folder = try Self.folder()
      let runtime = RuntimeFolder(folder.path)
      let used = try SharedRegion(creating: RegionScene.layout(), named: "used", in: runtime)
      var victim = try RunningChild(
        [RegionScene.peer, "clean", folder.path.string, "-"], environment: ["PAGEWISE_KILL_AT": "\(step):\(pass)"])
      #expect(victim.wait(seconds: 20) == 256 + Int(SIGKILL), "\(step):\(pass) was not reached")
      let left = try runtime.regions().map(\.name)
      #expect(left.count == 2 && left.contains("used"), "\(left)")
      // Found by its name while it is there, and then replaced, or removed.
      if pass == 1 {
        let name = try #require(left.first { $0 != "used" })
        _ = try SharedRegion(named: name, in: runtime)
        _ = try SharedRegion(creating: RegionScene.layout(), named: name, in: runtime)
      }
      _ = try runtime.removeUnused(isDryRun: false)
      #expect(try runtime.regions().map(\.identifier) == [used.identifier])
    }
  }

  @Test(
    .enabled("debug builds only") { EventTests.killPointsAreThere() },
    arguments: [("region.open.opened", "the new one"), ("region.remove.opened", "notFound")])
  func `a name that is given to another region between opening and lock means that one`(
    _ step: String, _ expected: String
  ) throws {
    let folder = try Self.folder()
    var child = try RunningChild([RegionScene.peer, "overtaken", folder.path.string, step])
    #expect(child.wait(seconds: 20) == 0, "\(child.output)")
    #expect(child.output == "\(expected)\nkept\n")
  }
}
