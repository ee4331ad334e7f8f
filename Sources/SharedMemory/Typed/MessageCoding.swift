// SPDX-License-Identifier: Apache-2.0

public import MemoryMapping

/// How messages of one type become bytes, and bytes messages again.
///
/// The library needs no more than this of a format: fixed layouts come with ``FixedLayoutCoding``, and any other one (Protocol Buffers, MessagePack, a format
/// of your own) is a few lines:
///
/// ```swift
/// enum LineCoding: MessageCoding {
///   static func byteLimit(of line: String) -> Int { line.utf8.count }
///   static func encode(_ line: String, into bytes: inout MutableRawSpan) -> Int { … }
///   static func decode(_ bytes: RawSpan) throws -> String { … }
/// }
/// ```
public protocol MessageCoding {
  associatedtype Message
  /// A number that both sides compute from their own declarations, checked when an end is opened; 0 where there is nothing to compare.
  static var layoutHash: UInt64 { get }
  /// How many bytes the message has at most.
  static func byteLimit(of message: Message) -> Int
  /// Writes the message from the front of the span, which is as long as ``byteLimit(of:)`` says. How many bytes it has.
  static func encode(_ message: Message, into bytes: inout MutableRawSpan) throws -> Int
  /// Reads a message that anybody may have written: bytes that are none are an error.
  static func decode(_ bytes: RawSpan) throws -> Message
}

extension MessageCoding {
  public static var layoutHash: UInt64 { 0 }
}

/// Messages that are their own bytes: any type of a fixed layout.
public enum FixedLayoutCoding<Message: FixedLayout>: MessageCoding {
  public static var layoutHash: UInt64 { LayoutHash.hash(of: Message.self) }
  @inlinable
  public static func byteLimit(of message: Message) -> Int { MemoryLayout<Message>.size }
  @inlinable
  public static func encode(_ message: Message, into bytes: inout MutableRawSpan) -> Int {
    unsafe bytes.withUnsafeMutableBytes { unsafe $0.storeBytes(of: message, as: Message.self) }
    return MemoryLayout<Message>.size
  }
  /// - Throws: ``SharedMemoryError``: `peerMisbehaved` when the message has another size.
  @inlinable
  public static func decode(_ bytes: RawSpan) throws -> Message {
    guard bytes.byteCount == MemoryLayout<Message>.size else { throw wrongSize(bytes.byteCount) }
    return unsafe bytes.unsafeLoadUnaligned(as: Message.self)
  }

  @usableFromInline
  internal static func wrongSize(_ byteCount: Int) -> SharedMemoryError {
    SharedMemoryError(
      .peerMisbehaved, "decode a message of",
      note: "\(byteCount) bytes, \(Message.self) has \(MemoryLayout<Message>.size)")
  }
}
