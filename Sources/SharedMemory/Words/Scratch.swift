// SPDX-License-Identifier: Apache-2.0

/// Memory of this process's own for one message: as long as the longest one yet.
@safe
internal struct Scratch: ~Copyable {
  private var bytes = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)

  deinit { unsafe bytes.deallocate() }

  /// At least so many bytes, aligned to 16. They hold zeros or what was there before, and stay until more are asked for.
  internal mutating func room(_ byteCount: Int) -> UnsafeMutableRawPointer {
    if unsafe bytes.count < max(1, byteCount) { grow(byteCount) }
    return unsafe bytes.baseAddress!
  }

  /// What was asked for last.
  internal var start: UnsafeRawPointer { unsafe UnsafeRawPointer(bytes.baseAddress!) }

  @inline(never)
  private mutating func grow(_ byteCount: Int) {
    unsafe bytes.deallocate()
    unsafe bytes = .allocate(byteCount: max(256, byteCount), alignment: 16)
    // What is not written may be sent as well; it is nobody's secret then.
    unsafe bytes.initializeMemory(as: UInt8.self, repeating: 0)
  }
}
