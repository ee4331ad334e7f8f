// SPDX-License-Identifier: Apache-2.0

public import CPlatform

/// A value from guarded memory when that needs no question to the kernel: the bytes could be had, and for `.size` none of
/// them is zero, which is all that a cut inside a page leaves behind. Nil: take the long way.
@inlinable @inline(__always)
internal func checkedLoad<T: FixedLayout>(
  _ source: UnsafeRawPointer, as type: T.Type, _ check: FaultCheck, _ flag: FaultFlag
) -> T? {
  // In one register. After specialization one of these cases is left; the cast is between equal sizes, and any bits are a
  // value of a fixed layout.
  switch MemoryLayout<T>.size {
  case 8:
    let loaded = unsafe pgw_load_checked_8(source)
    guard isProved(loaded, zeroFree: UInt64(0x0101_0101_0101_0101), check, flag) else { return nil }
    return unsafe unsafeBitCast(loaded.value, to: T.self)
  case 4:
    let loaded = unsafe pgw_load_checked_4(source)
    guard isProved(loaded, zeroFree: 0x0101_0101, check, flag) else { return nil }
    return unsafe unsafeBitCast(UInt32(truncatingIfNeeded: loaded.value), to: T.self)
  case 2:
    let loaded = unsafe pgw_load_checked_2(source)
    guard isProved(loaded, zeroFree: 0x0101, check, flag) else { return nil }
    return unsafe unsafeBitCast(UInt16(truncatingIfNeeded: loaded.value), to: T.self)
  case 1:
    let loaded = unsafe pgw_load_checked_1(source)
    guard isProved(loaded, zeroFree: 0x01, check, flag) else { return nil }
    return unsafe unsafeBitCast(UInt8(truncatingIfNeeded: loaded.value), to: T.self)
  default: return unsafe checkedLoadOfMany(source, as: type, check, flag)
  }
}

/// - Parameter ones: the lowest bit of each byte of the value.
@inlinable @inline(__always)
internal func isProved(_ loaded: pgw_loaded, zeroFree ones: UInt64, _ check: FaultCheck, _ flag: FaultFlag) -> Bool {
  // The classic test for a zero byte in a word.
  let zeros = (loaded.value &- ones) & ~loaded.value & (ones << 7)
  return loaded.missing == 0 && (check == .pages || (check == .size && zeros == 0)) && !flag.isRaised
}

@inlinable
internal func checkedLoadOfMany<T: FixedLayout>(
  _ source: UnsafeRawPointer, as type: T.Type, _ check: FaultCheck, _ flag: FaultFlag
) -> T? {
  let size = MemoryLayout<T>.size
  guard check != .stamp, size <= MappedFile.scanLimit else { return nil }
  return unsafe withUnsafeTemporaryAllocation(byteCount: size, alignment: MemoryLayout<T>.alignment) { buffer in
    let target = unsafe buffer.baseAddress.unsafelyUnwrapped
    let copied = unsafe pgw_copy_proving(target, source, size)
    guard copied.missing == 0, check == .pages || copied.has_zero == 0, !flag.isRaised else { return nil }
    return unsafe target.load(as: T.self)
  }
}
