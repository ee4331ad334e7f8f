// SPDX-License-Identifier: Apache-2.0

public import CPlatform
package import SystemPackage

/// One mmap and what belongs to it: the guard's slot and the descriptor. Everything that maps a file is built on it.
///
/// Order at the end of life: leave the guard's table (which waits for handlers at work), unmap, close.
@usableFromInline
@safe
package struct MappedRange: ~Copyable, @unchecked Sendable {
  /// Page aligned. For an empty range a valid address that is never read.
  @usableFromInline package let base: UnsafeMutableRawPointer
  /// What was given to mmap, in bytes; 0 when nothing is mapped.
  @usableFromInline package let length: Int
  @usableFromInline package let slot: UnsafeMutablePointer<pgw_slot>?
  @usableFromInline package let flag: FaultFlag
  /// Owned; -1 when there is none.
  @usableFromInline package let descriptor: CInt
  /// PROT_* of the pages.
  @usableFromInline package let protection: CInt
  /// A lease belongs to the open file, which a caller's descriptor or a forked child may hold for longer than we do.
  @usableFromInline package var holdsLease = false

  /// Takes over a mapping that has been made. On failure the mapping and the descriptor are gone.
  package init(
    adopting base: UnsafeMutableRawPointer, length: Int, pageSize: Int = SystemPage.size, descriptor: CInt,
    fileOffset: Int64, protection: CInt, fillByte: UInt8, path: @autoclosure () -> FilePath?
  ) throws(MappingError) {
    var failure: CInt = 0
    let slot = unsafe pgw_guard_add(
      base, length, pageSize, descriptor, UInt64(fileOffset), protection, fillByte, &failure)
    guard let slot = unsafe slot else {
      unsafe pgw_unmap(base, length)
      if descriptor >= 0 { _ = pgw_close(descriptor) }
      throw MappingError(Errno(rawValue: failure), .guardInstall, path: path())
    }
    unsafe self.base = unsafe base
    self.length = length
    unsafe self.slot = unsafe slot
    self.flag = unsafe FaultFlag(slot: slot)
    self.descriptor = descriptor
    self.protection = protection
  }

  /// A range without bytes: nothing is mapped and nothing can be lost.
  internal init(emptyWith descriptor: CInt) {
    unsafe self.base = unsafe UnsafeMutableRawPointer(bitPattern: SystemPage.size)!
    self.length = 0
    unsafe self.slot = nil
    self.flag = .never
    self.descriptor = descriptor
    self.protection = 1
  }

  /// Unguarded private memory of this process: nobody else can take its pages away.
  internal init(unguarded base: UnsafeMutableRawPointer, length: Int) {
    unsafe self.base = unsafe base
    self.length = length
    unsafe self.slot = nil
    self.flag = .never
    self.descriptor = -1
    self.protection = 3
  }

  // Inlinable, because the inlinable owner destroys it: without this the optimizer of Swift 6.3 stops with an assertion.
  @inlinable
  deinit {
    if let slot = unsafe slot { unsafe pgw_guard_remove(slot) }
    if length > 0 { unsafe pgw_unmap(base, length) }
    if holdsLease, descriptor >= 0 { _ = pgw_lease_release(descriptor) }
    if descriptor >= 0 { _ = pgw_close(descriptor) }
  }

  /// The same as deinit, but tells whether the kernel agreed.
  internal consuming func close() -> Errno? {
    if let slot = unsafe slot { unsafe pgw_guard_remove(slot) }
    var failure: Errno? = nil
    if length > 0, unsafe pgw_unmap(base, length) != 0 { failure = .current }
    if holdsLease, descriptor >= 0 { _ = pgw_lease_release(descriptor) }
    if descriptor >= 0, pgw_close(descriptor) != 0, failure == nil { failure = .current }
    discard self
    return failure
  }
}
