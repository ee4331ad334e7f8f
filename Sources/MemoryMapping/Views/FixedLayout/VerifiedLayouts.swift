// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Which types have been proved, so that a load of one costs a compare instead of the proof.
///
/// A table of type identities, each word written at most with a proved identity. Two types that
/// fall on one word push each other out and are then proved again: slower, never wrong. Relaxed
/// order is enough, since the word is all that is shared.
@usableFromInline
internal enum VerifiedLayouts {
  private static let table = Table()

  private struct Table: ~Copyable {
    let words: [64 of Atomic<UInt>]
    init() { words = InlineArray { _ in Atomic(0) } }
  }

  internal static func contains<T>(_ type: T.Type) -> Bool {
    let identity = identity(of: type)
    return table.words[slot(identity)].load(ordering: .relaxed) == identity
  }

  internal static func insert<T>(_ type: T.Type) {
    let identity = identity(of: type)
    table.words[slot(identity)].store(identity, ordering: .relaxed)
  }

  private static func identity<T>(of type: T.Type) -> UInt {
    UInt(bitPattern: ObjectIdentifier(type))
  }

  /// Metadata is 8-byte aligned and neighbouring types lie near each other: a multiplication
  /// spreads them.
  private static func slot(_ identity: UInt) -> Int {
    Int(truncatingIfNeeded: (UInt64(identity) &* 0x9E37_79B9_7F4A_7C15) >> 58)
  }

  /// For loads, where a wrong adoption is a mistake in the program and not in its input.
  @usableFromInline @inline(never)
  internal static func require<T: FixedLayout>(_ type: T.Type) {
    do throws(LayoutError) { try verifyFixedLayout(type) } catch {
      fatalError("FixedLayout: \(error)")
    }
  }
}
