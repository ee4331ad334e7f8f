// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

/// A mapping that is larger than what it holds now, so that its address never has to move: as much room as was wished, or as
/// this process may have.
@safe
internal struct AddressRoom {
  internal let base: UnsafeMutableRawPointer
  /// Whole pages, in bytes.
  internal let length: Int

  /// Maps; halves the wish as long as there is no room for it.
  ///
  /// - Parameters:
  ///   - wish: bytes.
  ///   - least: bytes below which it is an error.
  ///   - descriptor: of the file, mapped from its start; -1 for none.
  /// - Throws: `addressSpaceExhausted`, `mappingLimitReached`.
  internal init(
    wish: Int, least: Int, protection: CInt, flags: Int, descriptor: CInt, _ operation: MappingError.Operation,
    path: FilePath
  ) throws(MappingError) {
    guard let lower = PageMath().up(max(least, 1)), let upper = PageMath().up(max(wish, lower)) else {
      throw MappingError(.addressSpaceExhausted, operation: operation, path: path, length: Int64(max(wish, least)))
    }
    var length = upper
    while true {
      if let base = unsafe pgw_storage_map(nil, length, protection, CInt(flags), descriptor, 0) {
        unsafe self.base = unsafe base
        self.length = length
        return
      }
      let error = MappingError.last(operation, path: path, length: Int64(length))
      guard error.code == .addressSpaceExhausted || error.code == .mappingLimitReached, length > lower else {
        throw error
      }
      length = max(lower, PageMath().down(length / 2))
    }
  }
}
