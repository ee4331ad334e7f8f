// SPDX-License-Identifier: Apache-2.0

/// Who one peer of a region is, for as long as the region lives: a place in its peer table and how often that place was taken.
///
/// Words of the region that belong to somebody hold a token. A token is never used twice, so a word that still holds a dead peer's token
/// says exactly that. Whether a peer lives is asked of the kernel (``SharedRegion/isDead(_:)``), never guessed from silence.
public struct PeerToken: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
  /// Bits 0 to 15 are the place, the others count its takings, from 1.
  public let rawValue: UInt64
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// Nobody.
  public static let none = PeerToken(rawValue: 0)

  internal init(place: Int, taking: UInt64) { rawValue = taking << 16 | UInt64(place) }

  internal var place: Int { Int(rawValue & 0xFFFF) }
  internal var taking: UInt64 { rawValue >> 16 }

  /// `place.taking`, for example `3.1`; `none`.
  public var description: String { self == .none ? "none" : "\(place).\(taking)" }
}
