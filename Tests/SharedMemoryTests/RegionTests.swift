// SPDX-License-Identifier: Apache-2.0

import CPlatform
@_spi(Testing) import SharedMemory
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Making, naming and handing out regions.
@Suite struct RegionTests {
  @Test func `a region has its parts, zeros in them, and its maker as a peer`() throws {
    let region = try SharedRegion(creating: RegionScene.layout(), label: "maker")
    #expect(region.layout == RegionScene.layout() && region.isSealed && region.name == nil)
    #expect(region.byteCount % Int(getpagesize()) == 0)
    #expect(
      try region.withBytes("table") { bytes in
        let isZero =
          bytes.byteCount == 1000 && (0..<1000).allSatisfy { bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) == 0 }
        bytes.storeBytes(of: 7, toByteOffset: 999, as: UInt8.self)
        return isZero
      })
    let counters = try region.counters("served")
    #expect(counters.count == 4 && counters[3] == 0)
    #expect(counters.add(5, at: 3) == 5 && counters.add(.max, at: 3) == 4 && counters[3] == 4 && counters[2] == 0)
    let peers = region.peers()
    #expect(
      peers.count == 1 && peers[0].token == region.token && peers[0].process == getpid() && peers[0].label == "maker")
    #expect(!peers[0].isDead && !region.isDead(region.token) && !region.isForked)
    let other = try SharedRegion(creating: RegionScene.layout())
    #expect(other.identifier != region.identifier && other.identifier.description.count == 32)
  }

  @Test func `what is no layout is refused with what is wrong`() throws {
    var many = RegionLayout()
    for index in 0...500 { many.add(.event("e\(index)")) }
    var peerless = RegionLayout(.event("e"))
    peerless.peerCapacity = 0
    var crowded = RegionLayout(.event("e"))
    crowded.peerCapacity = 4097
    let cases: [(String, RegionLayout)] = [
      ("no name", RegionLayout(.event(""))), ("long name", RegionLayout(.event(String(repeating: "x", count: 49)))),
      ("NUL", RegionLayout(.event("a\0b"))), ("twice", RegionLayout(.event("a"), .bytes("a", count: 1))),
      ("empty", RegionLayout(.bytes("b", count: 0))), ("negative", RegionLayout(.bytes("b", count: -1))),
      ("huge", RegionLayout(.bytes("b", count: .max))), ("huge count", RegionLayout(.counters("c", count: .max))),
      ("huge sum", RegionLayout(.bytes("a", count: 1 << 40), .bytes("b", count: 1 << 40))),
      ("many parts", many), ("no peers", peerless), ("many peers", crowded),
    ]
    withEvery("layout", in: cases) { name, layout in
      check(code { _ = try SharedRegion(creating: layout) } == .invalidArgument)
    }
    // A terabyte is a layout, and more than there is.
    #expect(code { _ = try SharedRegion(creating: RegionLayout(.bytes("b", count: 1 << 39))) } == .noSpace)
  }

  @Test func `parts are asked for by name and kind`() throws {
    let region = try SharedRegion(creating: RegionScene.layout())
    #expect(code { _ = try region.event("nothing") } == .noSuchPart)
    #expect(code { _ = try region.event("served") } == .layoutDiffers)
    #expect(code { _ = try region.counters("ping") } == .layoutDiffers)
    #expect(code { try region.withBytes("ping") { _ in } } == .layoutDiffers)
    do {
      _ = try region.event("served")
    } catch {
      #expect(
        error.description.contains("'served'") && error.description.contains("counters")
          && error.description.contains("event"))
    }
  }

  @Test func `no peer can cut a sealed region, and a demoted one is written by those who wrote before`() throws {
    let region = try SharedRegion(creating: RegionScene.layout())
    let inherited = try region.descriptorForChild()
    defer { try? inherited.close() }
    #expect(ftruncate(inherited.rawValue, 0) != 0 && ftruncate(inherited.rawValue, 1 << 30) != 0)
    let before = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, inherited.rawValue, 0)
    #expect(before != MAP_FAILED)
    munmap(before, 4096)
    try region.demote()
    #expect(mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, inherited.rawValue, 0) == MAP_FAILED)
    var byte: UInt8 = 1
    #expect(pwrite(inherited.rawValue, &byte, 1, 0) < 0)
    #expect(try region.counters("served").add(3, at: 0) == 3)
    #expect(code { _ = try SharedRegion(inheriting: region.descriptorForChild()) } == .permissionDenied)
    let reader = try SharedRegionReader(inheriting: region.descriptorForChild(as: .readOnly))
    #expect(try reader.counters("served")[0] == 3 && reader.identifier == region.identifier)
    #expect(reader.peers().map(\.token) == [region.token])
  }

  @Test(.rootOnly("a reader of another user")) func `another user that was given a region to read has no way to write`()
    throws
  {
    let folder = try TemporaryDirectory()
    let copy = folder.appending("peer")
    guard Skips.require(Skips.hasProgram("setpriv"), "another user", install: "apt-get install util-linux"),
      try Child.succeeds("cp", RegionScene.peer, copy.string), chmod(folder.path.string, 0o755) == 0
    else { return }
    let region = try SharedRegion(creating: RegionScene.layout())
    let inherited = try region.descriptorForChild(as: .readOnly)
    defer { try? inherited.close() }
    let child = try Child.run(
      [
        "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", copy.string, "steal",
        "\(inherited.rawValue)",
      ])
    guard Skips.require(child.status == 0, "another user", install: "a toolchain that all may read") else { return }
    #expect(child.output == "open refused\nown: map refused\nmprotect: refused\n", "\(child.output)")
    // The same user may open it again, until the region is demoted.
    let own = try Child.run([RegionScene.peer, "steal", "\(inherited.rawValue)"])
    #expect(own.output.contains("again: mapped"), "\(own.output)")
    try region.demote()
    let late = try Child.run([RegionScene.peer, "steal", "\(inherited.rawValue)"])
    #expect(late.output.contains("again: map refused") && late.output.contains("mprotect: refused"), "\(late.output)")
  }

  // MARK: Handing out

  @Test func `a region goes over a socket, to write or to read`() throws {
    let region = try SharedRegion(creating: RegionScene.layout())
    let (left, right) = try Self.pair()
    try region.send(over: left)
    try region.send(over: left, as: .readOnly)
    try region.send(over: left, as: .readOnly)
    let second = try SharedRegion(receivingFrom: right, label: "second")
    #expect(second.identifier == region.identifier && second.token != region.token)
    try second.counters("served").add(9, at: 1)
    #expect(try region.counters("served")[1] == 9)
    let reader = try SharedRegionReader(receivingFrom: right)
    #expect(
      try reader.counters("served")[1] == 9 && reader.bytes("table", 0..<1000) == [UInt8](repeating: 0, count: 1000))
    #expect(code { _ = try reader.bytes("table", 0..<1001) } == .invalidArgument)
    #expect(code { _ = try reader.bytes("table", -1..<1) } == .invalidArgument)
    #expect(code { _ = try SharedRegion(receivingFrom: right) } == .permissionDenied)
    #expect(region.peers().map(\.label).contains("second") && region.peers().count == 2)
    try left.close()
    #expect(code { _ = try SharedRegion(receivingFrom: right) } == .ended)
    try right.close()
  }

  static func pair() throws -> (FileDescriptor, FileDescriptor) {
    var pair: [CInt] = [-1, -1]
    guard pgw_socket_pair(&pair) == 0 else { throw Errno(rawValue: errno) }
    return (FileDescriptor(rawValue: pair[0]), FileDescriptor(rawValue: pair[1]))
  }

  @Test func `messages that nobody of ours sends are errors, and leave no descriptor behind`() throws {
    let folder = try TemporaryDirectory()
    let region = try SharedRegion(creating: RegionScene.layout())
    let file = try FileDescriptor.open(folder.file("f", [1, 2, 3]), .readWrite)
    defer { try? file.close() }
    let good = try region.descriptorForChild()
    defer { try? good.close() }
    let message = Array("PGWSEND\n".utf8) + [1, 0, 0, 0] + [UInt8](repeating: 0, count: 28)
    let both = [good.rawValue, good.rawValue]
    let cases: [(String, [UInt8], [CInt], SharedMemoryError.Code)] = [
      ("no descriptor", message, [], .notARegion), ("one descriptor", message, [good.rawValue], .notARegion),
      ("short", Array(message.prefix(39)), both, .notARegion), ("long", message + [0], both, .notARegion),
      ("other magic", [0] + message.dropFirst(), both, .notARegion),
      ("other access", message.enumerated().map { $0.offset == 8 ? 3 : $0.element }, both, .notARegion),
      ("other identifier", message, both, .notARegion),
      ("a file", message, [file.rawValue, file.rawValue], .notARegion),
      ("two files", message, [good.rawValue, file.rawValue], .notARegion),
      ("far too long", message + [UInt8](repeating: 0, count: 4000), both, .other),
    ]
    let before = ProcessView.numbers(in: "/proc/self/fd").count
    try withWatchdog("hostile messages") {
      for (name, bytes, descriptors, expected) in cases {
        let (left, right) = try Self.pair()
        let sent = bytes.withUnsafeBytes {
          pgw_send_descriptors(left.rawValue, descriptors, CInt(descriptors.count), $0.baseAddress, $0.count)
        }
        #expect(sent == 0)
        #expect(code { _ = try SharedRegion(receivingFrom: right) } == expected, "\(name)")
        try left.close()
        try right.close()
      }
    }
    // Other tests open files meanwhile, so no more than a bound can be asked for.
    #expect(ProcessView.numbers(in: "/proc/self/fd").count < before + 200)
    // Nobody has a place but its maker.
    #expect(region.peers().count == 1)
  }

  @Test func `a server hands the region to whoever connects, and its end takes the socket away`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("socket")
    let region = try SharedRegion(creating: RegionScene.layout())
    do {
      let server = try region.serve(at: path)
      #expect(code { _ = try region.serve(at: path) } == .alreadyExists)
      let one = try SharedRegion(connectingTo: path)
      var child = try RunningChild([RegionScene.peer, "connect", path.string])
      let token = try #require(RegionScene.token(child.line("attached ")), "\(child.output)")
      #expect(try one.counters("served")[0] == 1 && !one.isDead(token))
      // The server that asked whether this one lives may have been handed the region as well.
      #expect(RegionScene.eventually { server.servedCount >= 2 })
      child.kill()
      #expect(RegionScene.eventually { one.isDead(token) })
      // The server lives on without the value that it was made from.
    }
    #expect(code { _ = try SharedRegion(connectingTo: path) } == .notFound)
    #expect(access(path.string, F_OK) != 0)
    #expect(code { _ = try region.serve(at: FilePath(String(repeating: "x", count: 200))) } == .invalidArgument)
  }

  @Test func `a file that is no socket is nobody's leftover`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    let file = try FileDescriptor.open(path, .writeOnly, options: .create, permissions: .ownerReadWrite)
    _ = try file.closeAfter { try file.writeAll("kept".utf8) }
    let region = try SharedRegion(creating: RegionScene.layout())
    #expect(code { _ = try region.serve(at: path) } == .alreadyExists)
    #expect(ProcessView.text(path) == "kept")
    #expect(code { _ = try region.serve(at: "/") } == .invalidArgument)
    #expect(code { _ = try region.serve(at: "") } == .invalidArgument)
    #expect(code { _ = try region.serve(at: folder.appending("none/socket")) } == .notFound)
  }

  @Test func `of many servers that find a leftover one takes it over, and it is reached`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("socket")
    let layout = RegionScene.layout()
    withWatchdog("servers of one leftover") {
      for _ in 0..<40 {
        let listener = path.withPlatformString { pgw_socket_listen($0, 1) }
        #expect(listener >= 0)
        close(listener)
        let winners = Locked(0)
        let ended = Locked(0)
        onThreads(4) { _ in
          do {
            let region = try SharedRegion(creating: layout)
            do {
              let server = try region.serve(at: path)
              winners.withLock { $0 += 1 }
              ended.withLock { $0 += 1 }
              // It serves until the others were told.
              while ended.withLock({ $0 < 4 }) { usleep(100) }
              let reached = try SharedRegion(connectingTo: path)
              check(reached.identifier == region.identifier, "another region is reached")
              check(RegionScene.eventually { server.servedCount >= 1 }, "another server has answered")
            } catch let error as SharedMemoryError {
              ended.withLock { $0 += 1 }
              check(error.code == .alreadyExists, "\(error)")
            }
          } catch {
            Issue.record("\(error)")
          }
        }
        #expect(winners.withLock { $0 } == 1)
        #expect(access(path.string, F_OK) != 0)
      }
    }
  }

  @Test(
    .enabled("debug builds only") { EventTests.killPointsAreThere() },
    arguments: ["socket.make.replace", "socket.make.again", "socket.make.listening"])
  func `while one server takes a socket over no other one can`(_ step: String) throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("socket")
    let listener = path.withPlatformString { pgw_socket_listen($0, 1) }
    #expect(listener >= 0)
    close(listener)
    var child = try RunningChild([RegionScene.peer, "serve-beside", path.string, step])
    #expect(child.wait(seconds: 20) == 0, "\(child.output)")
    #expect(child.output == "inUse\nreached\n")
  }

  static let serverSteps = [
    "socket.make.lock", "socket.make.replace", "socket.make.again", "socket.make.listening", "socket.remove.unlink",
  ]

  @Test(.enabled("debug builds only") { EventTests.killPointsAreThere() }, arguments: serverSteps)
  func `a server killed at a step leaves its socket to the next one`(_ step: String) throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("socket")
    let listener = path.withPlatformString { pgw_socket_listen($0, 1) }
    #expect(listener >= 0)
    close(listener)
    var victim = try RunningChild([RegionScene.peer, "serve", path.string], environment: ["PAGEWISE_KILL_AT": step])
    #expect(victim.wait(seconds: 20) == 256 + Int(SIGKILL), "\(step) was not reached: \(victim.output)")
    let region = try SharedRegion(creating: RegionScene.layout())
    do {
      let server = try region.serve(at: path)
      let reached = try SharedRegion(connectingTo: path)
      #expect(reached.identifier == region.identifier)
      #expect(RegionScene.eventually { server.servedCount == 1 })
    }
    #expect(access(path.string, F_OK) != 0)
  }

  @Test func `a server's end leaves a file of its name that is not its own`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("socket")
    let region = try SharedRegion(creating: RegionScene.layout())
    do {
      let server = try region.serve(at: path)
      #expect(unlink(path.string) == 0)
      let other = path.withPlatformString { pgw_socket_listen($0, 1) }
      #expect(other >= 0)
      close(other)
      #expect(server.servedCount == 0)
    }
    #expect(access(path.string, F_OK) == 0)
  }

  @Test func `a socket that a killed server has left is taken over`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("socket")
    // A socket file on which nobody listens.
    let listener = path.withPlatformString { pgw_socket_listen($0, 1) }
    #expect(listener >= 0)
    close(listener)
    let region = try SharedRegion(creating: RegionScene.layout())
    let server = try region.serve(at: path, as: .readOnly)
    let reader = try SharedRegionReader(connectingTo: path)
    #expect(reader.identifier == region.identifier)
    #expect(code { _ = try SharedRegion(connectingTo: path) } == .permissionDenied)
    #expect(RegionScene.eventually { server.servedCount == 2 })
  }

  @Test func `who serves and does not answer is waited for until the deadline`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("socket")
    let listener = path.withPlatformString { pgw_socket_listen($0, 1) }
    #expect(listener >= 0)
    defer { close(listener) }
    // The first ones find a place in its queue; later ones do not even get that far.
    for _ in 0..<4 {
      let start = pgt_now_ns()
      #expect(code { _ = try SharedRegion(connectingTo: path, until: .after(.milliseconds(50))) } == .timedOut)
      #expect(pgt_now_ns() - start >= 50_000_000)
      #expect(code { _ = try SharedRegionReader(connectingTo: path, until: .now) } == .timedOut)
    }
  }

  @Test func `programs that are started together and inherit two descriptors are known to live one by one`() throws {
    let region = try SharedRegion(creating: RegionScene.layout())
    let (first, second) = (try region.descriptorForChild(), try region.descriptorForChild())
    // Both have both.
    var one = try RunningChild([RegionScene.peer, "inherit", "\(first.rawValue)"])
    var two = try RunningChild([RegionScene.peer, "inherit", "\(second.rawValue)"])
    let token = try #require(RegionScene.token(one.line("attached ")), "\(one.output)")
    let other = try #require(RegionScene.token(two.line("attached ")), "\(two.output)")
    one.kill()
    // Also while the parent has not closed its own.
    #expect(RegionScene.eventually { region.isDead(token) })
    check(!region.isDead(other))
    try first.close()
    try second.close()
    check(!region.isDead(other))
    two.kill()
    #expect(RegionScene.eventually { region.isDead(other) })
  }

  @Test func `a descriptor for reading that was inherited is none for writing`() throws {
    let region = try SharedRegion(creating: RegionScene.layout())
    let first = try region.descriptorForChild(as: .readOnly)
    // Also for its owner, whom the kernel would let open the file anew.
    #expect(code { _ = try SharedRegion(inheriting: first) } == .permissionDenied)
    let reader = try SharedRegionReader(inheriting: region.descriptorForChild(as: .readOnly))
    #expect(reader.identifier == region.identifier)
  }

  @Test func `a started program inherits the region`() throws {
    let region = try SharedRegion(creating: RegionScene.layout())
    let descriptor = try region.descriptorForChild()
    var child = try RunningChild([RegionScene.peer, "inherit", "\(descriptor.rawValue)"])
    let token = try #require(RegionScene.token(child.line("attached ")), "\(child.output)")
    try descriptor.close()
    check(!region.isDead(token))
    #expect(try region.counters("served")[0] == 1)
    child.kill()
    #expect(RegionScene.eventually { region.isDead(token) })
  }

  @Test(.rootOnly("file systems of 1 MiB")) func `no room is an error when the region is made, and leaves nothing`()
    throws
  {
    let folder = try TemporaryDirectory()
    guard
      Skips.require(
        pgt_mount_tmpfs(folder.path.string, "size=1m,mode=700") == 0, "a full tmpfs", install: "mount rights")
    else { return }
    defer { _ = pgt_unmount(folder.path.string) }
    let runtime = RuntimeFolder(folder.path)
    let small = RegionLayout(.bytes("b", count: 100_000))
    let large = RegionLayout(.bytes("b", count: 2 << 20))
    #expect(code { _ = try SharedRegion(creating: large, named: "large", in: runtime) } == .noSpace)
    #expect(code { _ = try SharedRegion(named: "large", in: runtime) } == .notFound)
    let region = try SharedRegion(creating: small, named: "small", in: runtime)
    // All of it is there: filling the rest of the file system changes nothing.
    let filler = try FileDescriptor.open(
      folder.appending("filler"), .writeOnly, options: [.create], permissions: .ownerReadWrite)
    let zeros = [UInt8](repeating: 1, count: 4096)
    while (try? zeros.withUnsafeBytes { try filler.write($0) }) ?? 0 > 0 {}
    try filler.close()
    try region.withBytes("b") { bytes in
      for offset in 0..<bytes.byteCount { bytes.storeBytes(of: 1, toByteOffset: offset, as: UInt8.self) }
    }
    #expect(try SharedRegionReader(named: "small", in: runtime).bytes("b", 99_999..<100_000) == [1])
  }
}
