// SPDX-License-Identifier: Apache-2.0

/// What one element of a NumPy array is: a kind, a size and a byte order, as in `<f8`.
///
/// Covers the numbers whose bytes are the same on every machine, and raw bytes without a meaning (`|V24`). Text, dates,
/// records and Python objects are refused by the parser with a reason, and so is `f16`, NumPy's name for the C compiler's `long double`, whose bytes differ from
/// machine to machine.
public struct NumPyElementType: Sendable, Hashable {
  /// The family of an element, with the letter that NumPy writes for it. New kinds may be added.
  public enum Kind: Character, Sendable, Hashable, CaseIterable {
    /// One byte, 0 for false; NumPy writes 1 for true and reads anything else as true.
    case boolean = "b"
    /// Two's complement.
    case signedInteger = "i"
    /// Binary, without sign.
    case unsignedInteger = "u"
    /// IEEE 754.
    case floatingPoint = "f"
    /// Two floating-point numbers of half the size: the real part, then the imaginary one.
    case complex = "c"
    /// Bytes that NumPy gives no meaning, such as those of a struct: from 1 to 2,147,483,647. Python: `numpy.void`.
    case raw = "V"

    /// Sizes in bytes that a number of this kind can have; empty for ``raw``, which has any.
    public var itemSizes: [Int] {
      switch self {
      case .boolean: [1]
      case .signedInteger, .unsignedInteger: [1, 2, 4, 8]
      case .floatingPoint: [2, 4, 8]
      case .complex: [8, 16]
      case .raw: []
      }
    }

    internal func comes(in size: Int) -> Bool {
      self == .raw ? 1...Int(Int32.max) ~= size : itemSizes.contains(size)
    }

    /// True where an element of `size` bytes has an order that matters.
    internal func hasOrder(_ size: Int) -> Bool { size > 1 && self != .raw }
  }

  /// The order of the bytes of an element, with the sign that NumPy writes for it.
  public enum ByteOrder: Character, Sendable, Hashable, CaseIterable {
    /// The lowest byte comes first.
    case little = "<"
    /// The highest byte comes first.
    case big = ">"
    /// Elements of one byte have no order.
    case notApplicable = "|"

    /// The order of this machine.
    public static var native: ByteOrder { 1.littleEndian == 1 ? .little : .big }
  }

  /// The family of the element.
  public let kind: Kind
  /// Bytes of one element.
  public let itemSize: Int
  /// The order of those bytes; ``ByteOrder/notApplicable`` exactly where there is one byte, and for raw bytes.
  public let byteOrder: ByteOrder

  /// A type by its parts, or nil where NumPy has none such.
  ///
  /// - Parameters:
  ///   - kind: the family.
  ///   - itemSize: bytes of one element, one of ``Kind/itemSizes``; any positive one that fits 32 bits for ``Kind/raw``.
  ///   - byteOrder: ignored for one byte and for raw bytes; ``ByteOrder/notApplicable`` gives nil for others.
  public init?(_ kind: Kind, itemSize: Int, byteOrder: ByteOrder = .native) {
    guard kind.comes(in: itemSize), byteOrder != .notApplicable || !kind.hasOrder(itemSize) else { return nil }
    self.init(known: kind, itemSize: itemSize, byteOrder: byteOrder)
  }

  /// For callers that know that the parts fit together.
  internal init(known kind: Kind, itemSize: Int, byteOrder: ByteOrder = .native) {
    self.kind = kind
    self.itemSize = itemSize
    self.byteOrder = kind.hasOrder(itemSize) ? byteOrder : .notApplicable
  }

  /// True where this machine can read an element as it lies.
  public var isNativeOrder: Bool { byteOrder == .notApplicable || byteOrder == .native }

  /// The same kind and size in this machine's byte order.
  public var inNativeOrder: NumPyElementType { NumPyElementType(known: kind, itemSize: itemSize) }

  /// Bytes that are turned around together when the order changes: a complex number is two numbers.
  internal var swappedSize: Int { kind == .complex ? itemSize / 2 : itemSize }
}

extension NumPyElementType: LosslessStringConvertible {
  /// As NumPy writes it into a header, for example `<f8`. Python: `dtype.str`.
  public var description: String { "\(byteOrder.rawValue)\(kind.rawValue)\(itemSize)" }

  /// A type by NumPy's name for it, or nil where the name is none or means a type that is not covered.
  ///
  /// - Parameter description: the order, the kind and the size, for example `<f8`. Python: `dtype.str`.
  public init?(_ description: String) {
    do throws(Refusal) { try self.init(descr: Array(description.utf8)) } catch { return nil }
  }

  /// Why a name is not one of the types here, as a clause.
  internal struct Refusal: Error {
    let reason: String
  }

  /// Reads NumPy's name for a type: a sign of order, a letter, decimal digits, and nothing else.
  ///
  /// NumPy itself knows more names, such as `float64` and `=f8`. It never writes them into a file, and what the second
  /// means depends on the machine.
  internal init(descr: [UInt8]) throws(Refusal) {
    func refuse(_ reason: String) -> Refusal { Refusal(reason: "descr \(NumPyText.quoted(descr)) \(reason)") }

    guard let first = descr.first else { throw refuse("is empty") }
    guard let order = ByteOrder(rawValue: Character(Unicode.Scalar(first))) else {
      throw refuse(first == UInt8(ascii: "=") ? "means the order of an unknown machine" : "has no byte order")
    }
    guard descr.count >= 2 else { throw refuse("has no kind") }
    let letter = Character(Unicode.Scalar(descr[1]))
    if let reason = Self.uncovered[letter] { throw refuse(reason) }
    guard let kind = Kind(rawValue: letter) else { throw refuse("has no known kind") }
    let digits = descr[2...]
    guard !digits.isEmpty, digits.count <= (kind == .raw ? 10 : 3), digits.allSatisfy(NumPyText.isDigit),
      digits.first != UInt8(ascii: "0")
    else { throw refuse("states no size in plain digits") }
    let size = digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
    if (kind == .floatingPoint && (size == 12 || size == 16)) || (kind == .complex && (size == 24 || size == 32)) {
      throw refuse("is a long double, whose bytes differ from machine to machine")
    }
    guard kind.comes(in: size) else { throw refuse("has a size that its kind does not come in") }
    guard order != .notApplicable || !kind.hasOrder(size) else { throw refuse("has no byte order") }
    self.init(known: kind, itemSize: size, byteOrder: order)
  }

  /// Letters of types whose elements are not numbers.
  private static let uncovered: [Character: String] = [
    "O": "is an object type, whose elements are pickled and not laid out",
    "S": "is text, not a number", "a": "is text, not a number", "U": "is text, not a number",
    "M": "is a date, not a number", "m": "is a time span, not a number",
  ]
}
