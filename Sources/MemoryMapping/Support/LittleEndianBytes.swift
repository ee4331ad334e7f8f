// SPDX-License-Identifier: Apache-2.0

/// Fields of our own formats, in arrays whose size is known: each use is within bounds, or traps.
extension [UInt8] {
  package mutating func store<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at offset: Int) {
    precondition(offset >= 0 && offset + MemoryLayout<T>.size <= count, "a field lies inside its header")
    unsafe withUnsafeMutableBytes { unsafe $0.storeBytes(of: value, toByteOffset: offset, as: T.self) }
  }

  package func load<T: FixedWidthInteger & BitwiseCopyable>(at offset: Int) -> T { self[...].load(at: offset) }
}

extension ArraySlice<UInt8> {
  package func load<T: FixedWidthInteger & BitwiseCopyable>(at offset: Int) -> T {
    let lower = offset - startIndex
    precondition(lower >= 0 && lower + MemoryLayout<T>.size <= count, "a field lies inside its header")
    return unsafe withUnsafeBytes { unsafe $0.loadUnaligned(fromByteOffset: lower, as: T.self) }
  }
}
