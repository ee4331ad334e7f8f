// SPDX-License-Identifier: Apache-2.0

public import NIOCore
internal import NIOPosix
public import SharedMemory
internal import SystemPackage

/// Reads a ring channel on an event loop: each message goes along the pipeline as a `ByteBuffer`.
///
/// ```swift
/// let channel = try await RingInputHandler.open(region.consumer(of: "orders"), on: group) { channel in
///   channel.pipeline.addHandler(OrderHandler())
/// }.get()
/// ```
///
/// Where the ring is empty the loop has a readable descriptor to wait for, among its sockets, and nothing runs. Of a ring that never is empty a turn
/// of the loop takes up to 256 messages, then the loop's others have theirs. A damaged or lost channel goes along the pipeline as the error, and the channel closes.
///
/// All of it runs on the channel's event loop.
public final class RingInputHandler: ChannelInboundHandler, @unchecked Sendable {
  /// What the descriptor says when it is readable: nothing but that.
  public typealias InboundIn = ByteBuffer
  public typealias InboundOut = ByteBuffer

  private var consumer: RingConsumer
  private let readiness: ReadinessDescriptor
  private static let turn = 256

  private init(_ consumer: consuming RingConsumer, _ readiness: consuming ReadinessDescriptor) {
    self.consumer = consumer
    self.readiness = readiness
  }

  /// A channel whose input is the ring.
  ///
  /// - Parameters:
  ///   - consumer: the ring's receiving end. It is given back when the channel closes.
  ///   - group: whose next event loop the channel belongs to.
  ///   - initializer: adds the handlers of the messages.
  /// - Throws: `SharedMemoryError` or `Errno` when no descriptor can be had.
  public static func open(
    _ consumer: consuming RingConsumer, on group: any EventLoopGroup,
    _ initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
  ) throws -> EventLoopFuture<any Channel> {
    let readiness = try ReadinessDescriptor()
    // The channel closes what it is given.
    let descriptor = try readiness.descriptor.duplicate()
    let handler = RingInputHandler(consumer, readiness)
    return NIOPipeBootstrap(group: group)
      .channelInitializer { channel in
        channel.pipeline.addHandler(handler).flatMap { initializer(channel) }
      }
      .takingOwnershipOfDescriptor(input: descriptor.rawValue)
      .map { $0 }
      .flatMapErrorThrowing { error in
        try? descriptor.close()
        throw error
      }
  }

  public func channelActive(context: ChannelHandlerContext) {
    context.fireChannelActive()
    drain(context)
  }

  /// The descriptor was read, and with that cleared.
  public func channelRead(context: ChannelHandlerContext, data: NIOAny) { drain(context) }

  private func drain(_ context: ChannelHandlerContext) {
    do {
      repeat {
        var count = 0
        while let message = try consumer.tryReceive({ bytes, _ in
          bytes.withUnsafeBytes { context.channel.allocator.buffer(bytes: $0) }
        }) {
          context.fireChannelRead(wrapInboundOut(message))
          count += 1
          guard context.channel.isActive else { return }
          if count == Self.turn {
            context.fireChannelReadComplete()
            let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            return context.eventLoop.execute {
              let (handler, context) = bound.value
              if context.channel.isActive { handler.drain(context) }
            }
          }
        }
        if count > 0 { context.fireChannelReadComplete() }
      } while try !consumer.arm(readiness)
    } catch {
      context.fireErrorCaught(error)
      context.close(promise: nil)
    }
  }
}
