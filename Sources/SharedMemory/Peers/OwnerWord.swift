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
}
