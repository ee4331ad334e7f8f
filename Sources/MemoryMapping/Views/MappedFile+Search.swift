// SPDX-License-Identifier: Apache-2.0

// Searches of a whole mapping as guarded scopes. Their default check is `.size`, as for copies: a
// cut inside a page leaves zeros, which would make a count too low without a fault.
extension MappedFile {
  /// How many bytes equal `byte`: the number of lines of a text file, for LF.
  ///
  /// - Throws: ``MappingError`` as `withBytes(_:check:_:)`.
  /// - Complexity: O(n), by vectors; the speed of memory. C counterpart: what `wc -l` does.
  public borrowing func count(
    of byte: UInt8, check: FaultCheck = .size
  ) throws(MappingError) -> Int {
    try withBytes(check: check) { $0.count(of: byte) }
  }

  /// Offset in the view of the first `byte` at `start` or after, or nil.
  ///
  /// - Throws: ``MappingError`` as `withBytes(_:check:_:)`.
  /// - Complexity: O(n). C counterpart: `memchr`.
  public borrowing func find(
    _ byte: UInt8, from start: Int = 0, check: FaultCheck = .size
  ) throws(MappingError) -> Int? {
    try withBytes(check: check) { $0.find(byte, from: start) }
  }

  /// Offset in the view of the first place at `start` or after where the bytes of `needle` stand,
  /// or nil.
  ///
  /// - Throws: ``MappingError`` as `withBytes(_:check:_:)`.
  /// - Complexity: O(n). C counterpart: `memmem`.
  public borrowing func find(
    _ needle: [UInt8], from start: Int = 0, check: FaultCheck = .size
  ) throws(MappingError) -> Int? {
    try withBytes(check: check) { $0.find(needle, from: start) }
  }

  /// The same for the UTF-8 bytes of a text.
  public borrowing func find(
    _ needle: String, from start: Int = 0, check: FaultCheck = .size
  ) throws(MappingError) -> Int? {
    try withBytes(check: check) { $0.find(needle, from: start) }
  }
}
