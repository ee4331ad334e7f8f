// SPDX-License-Identifier: Apache-2.0

/// Collects the stored properties that a ``FixedLayout`` type names, to prove that nothing is left
/// out.
public struct LayoutDescription<Root: FixedLayout> {
  /// A named piece of the type, in bytes from its start.
  internal struct Piece: Hashable {
    var range: Range<Int>
    var typeName: String
  }

  internal private(set) var pieces: [Piece] = []
  private var firstProblem: LayoutError.Problem? = nil
  /// Of each piece its place and the hash of its type; nil when nobody asked for them.
  internal private(set) var hashes: [LayoutHash.Piece]? = nil

  internal init() {}
  internal init(hashing: Void) { hashes = [] }

  /// Names a stored property.
  ///
  /// - Parameter path: must lead to a stored property: a computed one has no place in memory, which
  ///   is reported.
  public mutating func field<Field: FixedLayout>(_ path: KeyPath<Root, Field>) {
    add(path, size: MemoryLayout<Field>.size)
    if hashes != nil, Field.self != Root.self { addHash(of: Field.self, at: MemoryLayout<Root>.offset(of: path) ?? 0) }
    verify(Field.self)
  }

  /// Names a stored property that is a tuple, which is how C arrays inside imported structs appear.
  ///
  /// Each element must be ``FixedLayout``. For new Swift types use `InlineArray`.
  public mutating func field<each Element: FixedLayout>(
    _ path: KeyPath<Root, (repeat each Element)>
  ) {
    var elementBytes = 0
    let start = MemoryLayout<Root>.offset(of: path) ?? 0
    for element in repeat (each Element).self {
      if hashes != nil { addHash(of: element, at: start + elementBytes) }
      elementBytes += Self.size(of: element)
      verify(element)
    }
    let size = MemoryLayout<(repeat each Element)>.size
    add(path, size: size)
    if size != elementBytes { note(.paddingInField(typeName: "\((repeat each Element).self)")) }
  }

  /// Names `count` elements from the start of the type on: what an inline array is.
  internal mutating func elements<Element: FixedLayout>(_ type: Element.Type, count: Int) {
    pieces.append(Piece(range: 0..<count * MemoryLayout<Element>.stride, typeName: "\(type)"))
    if hashes != nil { hashes?.append(LayoutHash.Piece(offset: 0, hash: LayoutHash.hash(of: type), count: count)) }
    verify(type)
  }

  private mutating func addHash<Field: FixedLayout>(of type: Field.Type, at offset: Int) {
    hashes?.append(LayoutHash.Piece(offset: offset, hash: LayoutHash.hash(of: type), count: 1))
  }

  private static func size<T>(of type: T.Type) -> Int { MemoryLayout<T>.size }

  private mutating func add<Field>(_ path: KeyPath<Root, Field>, size: Int) {
    guard let offset = MemoryLayout<Root>.offset(of: path) else {
      return note(.notStored(typeName: "\(Field.self)"))
    }
    pieces.append(Piece(range: offset..<offset + size, typeName: "\(Field.self)"))
  }

  /// A field's own type is proved along with the type that holds it.
  private mutating func verify<Field: FixedLayout>(_ type: Field.Type) {
    // A type cannot contain itself, so a field of the type's own type is `\.self`: covered, but
    // nothing is proved by it.
    if Field.self == Root.self { return note(.describesItself) }
    do throws(LayoutError) { try verifyFixedLayout(type) } catch {
      note(.field(typeName: error.typeName, error.problem))
    }
  }

  private mutating func note(_ problem: LayoutError.Problem) {
    if firstProblem == nil { firstProblem = problem }
  }

  /// Walks the pieces in the order of their offsets; nil when they fill the type from 0 to its
  /// stride.
  internal func problem() -> LayoutError.Problem? {
    if let firstProblem { return firstProblem }
    var covered = 0
    for piece in pieces.sorted(by: {
      ($0.range.lowerBound, $0.range.count) < ($1.range.lowerBound, $1.range.count)
    }) {
      if piece.range.lowerBound > covered { return .gap(covered..<piece.range.lowerBound) }
      if piece.range.lowerBound < covered {
        return .overlap(piece.range.lowerBound..<min(covered, piece.range.upperBound))
      }
      covered = piece.range.upperBound
    }
    let size = MemoryLayout<Root>.size
    let stride = MemoryLayout<Root>.stride
    if size == 0 { return .empty }
    if covered < size { return .gap(covered..<size) }
    // Bytes between size and stride are padding that an array of the type has on disk.
    if size < stride { return .gap(size..<stride) }
    return nil
  }
}
