// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import PagewiseNIO
import SharedMemory
import Testing

/// Counts what comes, on its event loop.
private final class Counter: ChannelInboundHandler, @unchecked Sendable {
  typealias InboundIn = ByteBuffer
  private(set) var count = 0
  private(set) var sum: UInt64 = 0
  let wanted: Int
  let done: EventLoopPromise<UInt64>

  init(wanted: Int, done: EventLoopPromise<UInt64>) {
    self.wanted = wanted
    self.done = done
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var buffer = unwrapInboundIn(data)
    #expect(context.eventLoop.inEventLoop)
    sum &+= buffer.readInteger(endianness: .little, as: UInt64.self) ?? 0
    count += 1
    if count == wanted { done.succeed(sum) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { done.fail(error) }
}

// One after the other: one of them measures the processor time of the whole process.
@Suite(.serialized) struct RingInputTests {
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)

  private static func processorTime() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
  }

  @Test("messages that come before and after the channel go along its pipeline, and the loop has other work too")
  func messages() async throws {
    let region = try SharedRegion(creating: RegionLayout(.ring("numbers", capacity: 4096)))
    var producer = try region.producer(of: "numbers")
    let wanted = 100_000
    let early: [UInt8] = [5, 0, 0, 0, 0, 0, 0, 0]
    for _ in 0..<10 { try await producer.send(early.span.bytes) }

    let done = group.any().makePromise(of: UInt64.self)
    let counter = Counter(wanted: wanted, done: done)
    let channel = try await RingInputHandler.open(region.consumer(of: "numbers"), on: group) {
      $0.pipeline.addHandler(counter)
    }.get()
    // The same loop has timers and another channel's worth of work.
    let ticks = group.any().scheduleRepeatedTask(initialDelay: .zero, delay: .milliseconds(1)) { _ in }
    for number in 10..<wanted {
      withUnsafeBytes(of: UInt64(number).littleEndian) { bytes in
        while !((try? producer.trySend(RawSpan(_unsafeBytes: bytes))) ?? true) {}
      }
      if number % 10_000 == 0 { try await Task.sleep(for: .milliseconds(5)) }
    }
    #expect(try await done.futureResult.get() == 50 + UInt64(wanted - 10) * UInt64(wanted + 9) / 2)
    ticks.cancel()
    try await channel.close()
    // The consumer was given back with the channel.
    var next = try region.consumer(of: "numbers")
    #expect(try next.tryReceive { _, _ in true } == nil)
    try await group.shutdownGracefully()
  }

  @Test("an event loop and its thread do other work while a ring is empty, and nearly no processor is used")
  func idle() async throws {
    let region = try SharedRegion(creating: RegionLayout(.ring("numbers", capacity: 4096)))
    let done = group.any().makePromise(of: UInt64.self)
    let channel = try await RingInputHandler.open(region.consumer(of: "numbers"), on: group) {
      $0.pipeline.addHandler(Counter(wanted: 1, done: done))
    }.get()
    let before = Self.processorTime()
    // The loop is free: what is given to it runs.
    for _ in 0..<20 {
      try await Task.sleep(for: .milliseconds(50))
      #expect(try await group.any().submit { 1 }.get() == 1)
    }
    // A loop that looked again and again would have used a second.
    #expect(Self.processorTime() - before < 300_000_000)
    var producer = try region.producer(of: "numbers")
    let bytes: [UInt8] = [7, 0, 0, 0, 0, 0, 0, 0]
    try await producer.send(bytes.span.bytes)
    #expect(try await done.futureResult.get() == 7)
    try await channel.close()
    try await group.shutdownGracefully()
  }
}
