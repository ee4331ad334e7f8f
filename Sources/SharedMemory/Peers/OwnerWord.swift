// SPDX-License-Identifier: Apache-2.0

/// A word that holds the token of who has something.
internal enum OwnerWord {
  /// Takes what nobody has, or somebody who is proved to be dead.
  internal static func take(_ words: RegionWords, _ offset: Int, _ storage: RegionStorage) -> Bool {
    while true {
      let owner = words.loadAcquiring(offset, "owner.load")
      guard owner == 0 || storage.peers.isDead(PeerToken(rawValue: owner)) else { return false }
      if words.compareExchange(owner, storage.token.rawValue, offset, "owner.take") { return true }
    }
  }

  /// Who has it, and whether that one is proved to be dead; false for nobody.
  internal static func look(_ words: RegionWords, _ offset: Int, _ storage: RegionStorage) -> (PeerToken, isDead: Bool)
  {
    let token = PeerToken(rawValue: words.loadAcquiring(offset, "owner.look"))
    return (token, token != .none && storage.peers.isDead(token))
  }

  /// Gives back what is this attachment's.
  internal static func leave(_ words: RegionWords, _ offset: Int, _ storage: RegionStorage) {
    _ = words.compareExchange(storage.token.rawValue, 0, offset, "owner.leave")
  }
}
