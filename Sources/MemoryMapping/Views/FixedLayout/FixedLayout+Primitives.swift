// SPDX-License-Identifier: Apache-2.0

// The types that the library vouches for. No SIMD vectors: the compiler does not let a conditional
// conformance depend on their storage being bitwise copyable; read an InlineArray of the scalar,
// which has the same bytes. No Float80: it has padding.

/// A type whose layout the library vouches for: nothing to describe.
public protocol _PrimitiveLayout: FixedLayout {}

extension _PrimitiveLayout {
  /// Nothing to describe: every bit of the type is value.
  public static func describeLayout(_ layout: inout LayoutDescription<Self>) {}

  @inlinable @inline(__always)
  public static var _isPrimitiveLayout: Bool { true }
}

extension Int8: _PrimitiveLayout {}
extension UInt8: _PrimitiveLayout {}
extension Int16: _PrimitiveLayout {}
extension UInt16: _PrimitiveLayout {}
extension Int32: _PrimitiveLayout {}
extension UInt32: _PrimitiveLayout {}
extension Int64: _PrimitiveLayout {}
extension UInt64: _PrimitiveLayout {}
extension Int128: _PrimitiveLayout {}
extension UInt128: _PrimitiveLayout {}
extension Int: _PrimitiveLayout {}
extension UInt: _PrimitiveLayout {}
extension Float: _PrimitiveLayout {}
extension Double: _PrimitiveLayout {}
#if !((os(macOS) || targetEnvironment(macCatalyst)) && arch(x86_64))
  extension Float16: _PrimitiveLayout {}
#endif

/// Elements of an inline array lie one after the other, at their stride, which for a fixed layout
/// is their size.
extension InlineArray: FixedLayout where Element: FixedLayout {
  /// Names nothing itself: the proof is its element's.
  public static func describeLayout(_ layout: inout LayoutDescription<Self>) {
    layout.elements(Element.self, count: count)
  }

  @inlinable @inline(__always)
  public static var _isPrimitiveLayout: Bool { Element._isPrimitiveLayout && count > 0 }
}
