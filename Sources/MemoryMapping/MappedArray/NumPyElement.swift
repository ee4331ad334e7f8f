// SPDX-License-Identifier: Apache-2.0

/// A number that NumPy has under another name, with the same bytes.
///
/// Elements are used where they lie, so a file whose byte order is not this machine's is not readable as one of these
/// types: see ``NumPyElementType/isNativeOrder``.
public protocol NumPyElement: FixedLayout {
  /// What NumPy calls this type, in this machine's byte order.
  static var numPyElementType: NumPyElementType { get }

  /// Tells whether elements of a file can be read as values of this type as they lie.
  ///
  /// - Parameter type: what the file's header states.
  static func canRead(_ type: NumPyElementType) -> Bool
}

extension NumPyElement {
  /// Tells whether elements of a file can be read as values of this type: only its own kind, size and order.
  ///
  /// - Parameter type: what the file's header states.
  public static func canRead(_ type: NumPyElementType) -> Bool { type == numPyElementType }
}

extension NumPyElement where Self: FixedWidthInteger {
  /// An integer of this size, in this machine's byte order.
  public static var numPyElementType: NumPyElementType {
    NumPyElementType(
      known: isSigned ? .signedInteger : .unsignedInteger, itemSize: MemoryLayout<Self>.size)
  }
}

extension NumPyElement where Self: BinaryFloatingPoint {
  /// A floating-point number of this size, in this machine's byte order.
  public static var numPyElementType: NumPyElementType {
    NumPyElementType(known: .floatingPoint, itemSize: MemoryLayout<Self>.size)
  }
}

extension Int8: NumPyElement {}
extension Int16: NumPyElement {}
extension Int32: NumPyElement {}
extension Int64: NumPyElement {}
extension Int: NumPyElement {}
extension UInt16: NumPyElement {}
extension UInt32: NumPyElement {}
extension UInt64: NumPyElement {}
extension UInt: NumPyElement {}
extension Float: NumPyElement {}
extension Double: NumPyElement {}
#if !((os(macOS) || targetEnvironment(macCatalyst)) && arch(x86_64))
  extension Float16: NumPyElement {}
#endif

extension UInt8: NumPyElement {
  /// Tells whether elements of a file are bytes of this type: `|u1`, and also the booleans of `|b1`.
  ///
  /// A boolean is read as its byte, because a byte other than 0 and 1 is no `Bool`. Compare it with 0.
  ///
  /// - Parameter type: what the file's header states.
  public static func canRead(_ type: NumPyElementType) -> Bool {
    type == numPyElementType || type.kind == .boolean
  }
}
