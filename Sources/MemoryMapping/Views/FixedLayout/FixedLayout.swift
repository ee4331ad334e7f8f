// SPDX-License-Identifier: Apache-2.0

/// A type that a file's bytes can be read as, whatever those bytes are.
///
/// Three things must hold: every bit pattern is a valid value, no bit is padding, and nothing in it
/// is a pointer. Integers and floating-point numbers qualify, and so do inline arrays and structs
/// of them. `Bool`, enums and optionals do not: read their raw integer and convert it, so that a
/// byte that means nothing becomes your error instead of undefined behaviour.
///
/// A struct adopts the protocol by naming its stored properties:
///
/// ```swift
/// struct Tick: FixedLayout {
///   var time: UInt64
///   var price: Double
///   var size: UInt32
///   var venue: UInt16
///   var flags: UInt16
///
///   static func describeLayout(_ layout: inout LayoutDescription<Tick>) {
///     layout.field(\.time)
///     layout.field(\.price)
///     layout.field(\.size)
///     layout.field(\.venue)
///     layout.field(\.flags)
///   }
/// }
/// ```
///
/// The adoption is checked twice. The compiler refuses a field whose own type is not `FixedLayout`.
/// ``verifyFixedLayout(_:)`` proves from the offsets that the named fields fill the type from its
/// first byte to its stride, without gap or overlap, so a forgotten field and hidden padding are
/// found and named. Views and loads run that proof themselves, once per type and process; put a
/// call into a test of your own to have it earlier.
///
/// **Byte order.** Fields are read as they lie, in the order of this machine: little-endian on
/// every platform that Swift runs on today. For a format with a stated order, load field by field
/// with `loadLittleEndian` or `loadBigEndian`, or convert after the load with
/// `UInt32(littleEndian:)` and its kin.
///
/// **Order of fields.** Swift lays fields out as they are declared, which the proof confirms for
/// this build. A format that other languages write is safer as a C struct in a header, imported and
/// then adopted here.
public protocol FixedLayout: BitwiseCopyable {
  /// Names every stored property of the type, in any order.
  static func describeLayout(_ layout: inout LayoutDescription<Self>)

  /// True where the library itself vouches for the type. Not a requirement to implement.
  static var _isPrimitiveLayout: Bool { get }
}

extension FixedLayout {
  @inlinable @inline(__always)
  public static var _isPrimitiveLayout: Bool { false }
}

/// Proves that the fields which `type` describes cover it exactly.
///
/// Costs some microseconds the first time and a nanosecond after.
///
/// - Throws: ``LayoutError`` that names the type, the bytes at fault and the remedy.
public func verifyFixedLayout<T: FixedLayout>(_ type: T.Type) throws(LayoutError) {
  if T._isPrimitiveLayout || VerifiedLayouts.contains(type) { return }
  var layout = LayoutDescription<T>()
  T.describeLayout(&layout)
  if let problem = layout.problem() { throw LayoutError(typeName: "\(type)", problem: problem) }
  VerifiedLayouts.insert(type)
}
