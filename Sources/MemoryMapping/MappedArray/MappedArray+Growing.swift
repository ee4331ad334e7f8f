// SPDX-License-Identifier: Apache-2.0

extension MappedArray {
  /// Adds one element, to an array whose rows are one element each.
  ///
  /// - Parameter element: the new last one.
  /// - Throws: ``MappingError`` as ``append(contentsOf:)-(Span<Element>)``.
  /// - Complexity: O(1) amortised. For many elements append them together.
  public mutating func append(_ element: Element) throws(MappingError) {
    var element = element
    try unsafe withUnsafeBytes(of: &element) { bytes throws(MappingError) in
      try unsafe file.append(RawSpan(_unsafeBytes: bytes))
    }
  }

  /// Adds whole rows. They are in the array for others once ``commit(_:)`` returns.
  ///
  /// - Parameter elements: of one or more rows, one row behind the other.
  /// - Throws: ``MappingError``: `invalidLayout` when they are not whole rows; `noSpace`, `limitExceeded`, `addressSpaceExhausted`;
  ///   `notSupported` for an array that cannot grow: a single value, a header without room, another array behind this one in the
  ///   file; `syncFailed`. The array is as before then: free space and append again.
  /// - Complexity: a copy; the file is made longer every so often, by half of what it has, from 64 KiB to 16 MiB.
  public mutating func append(contentsOf elements: Span<Element>) throws(MappingError) {
    // Right because a fixed layout has no byte that is not initialized.
    try unsafe file.append(elements.bytes)
  }

  /// Adds whole rows from an array.
  ///
  /// - Parameter elements: of one or more rows, one row behind the other.
  /// - Throws: ``MappingError`` as ``append(contentsOf:)-(Span<Element>)``.
  public mutating func append(contentsOf elements: [Element]) throws(MappingError) {
    try append(contentsOf: elements.span)
  }

  /// Sets the number of rows. New ones hold zeros.
  ///
  /// Others see it with the next ``commit(_:)``. Fewer rows cost nobody a page: the file itself is cut by ``commit(_:)`` or
  /// ``close()`` when the kernel proves that nobody else has it open, as with ``MutableMappedFile/resize(to:evenIfShared:)``, and
  /// stays long otherwise; as `.atomic` it stays long. Either way the room is used again.
  ///
  /// - Parameter rowCount: the new first dimension; not negative.
  /// - Throws: ``MappingError`` as ``append(contentsOf:)-(Span<Element>)``, and `invalidRange`. The number of rows is as before then.
  public mutating func resize(to rowCount: Int) throws(MappingError) { try file.resize(to: rowCount) }

  /// Makes room for rows now, so that appends up to there neither wait for the file system nor fail for want of space (in place, on
  /// file systems that overwrite in place: see ``Reservation``). As `.atomic` it does nothing.
  ///
  /// - Parameter rowCount: how many rows there shall be room for, with those that are there.
  /// - Throws: ``MappingError`` as ``append(contentsOf:)-(Span<Element>)``.
  public mutating func reserveCapacity(_ rowCount: Int) throws(MappingError) {
    guard file.isInPlace, rowCount > file.rows else { return }
    try file.requireResizable(.reserveSpace)
    try file.makeRoom(for: rowCount, .reserveSpace)
  }

  /// Makes everything durable that was done since the last commit, and lets others see the new number of rows.
  ///
  /// In place: the elements are synced, then the number of rows is stored, which no power cut can tear, then that is synced. Without
  /// a new number of rows it is one sync. As `.atomic`: everything or nothing, see ``TransactionalFile/commit(_:)``.
  ///
  /// - Parameter level: how far the last sync has to bring it. In place only; the first one is always a barrier.
  /// - Throws: ``MappingError``. `noSpace` and its kin: nothing is committed, and it can be tried again. A failed sync is final: every
  ///   later call that writes throws `syncFailed`; whether this commit is on disk is known after the next open.
  /// - Complexity: waits for the device: 0.1 to 20 ms a sync.
  public mutating func commit(_ level: FlushLevel = .data) throws(MappingError) { try file.commit(level) }

  /// Forgets what was done since the last commit. For ``MappedArrayMode/atomic``.
  ///
  /// - Throws: ``MappingError``: `notSupported` in place; those of ``TransactionalFile/rollback()``.
  public mutating func rollback() throws(MappingError) { try file.rollback() }

  /// Maps the file again over pages that were lost. What had been stored to them is gone. See ``MutableMappedFile/recover()``.
  ///
  /// - Throws: ``MappingError`` when they still cannot be had; `notSupported` for ``MappedArrayMode/atomic``: close it and open it again.
  public mutating func recover() throws(MappingError) {
    guard file.isInPlace else {
      throw MappingError(
        .notSupported, operation: .recover, path: file.path, detail: .note("close the array and open it again"))
    }
    try file.inPlace!.recover()
  }
}
