// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping

/// Which pages of a file are in memory, page by page, by mapping windows of it that are never touched. C: `mincore`.
///
/// True only for files that the user owns or may write. A file that shrinks meanwhile raises no signal: its lost pages are not
/// resident.
internal enum PageVector {
  /// Pages of a window: 64 MiB of addresses in pages of 4 KiB.
  static let window = 16 << 10

  /// Calls `body` with one byte for each page of a window; bit 0 says resident.
  ///
  /// - Parameters:
  ///   - first: the first page.
  ///   - count: how many.
  ///   - body: gets the number of the first page and the bytes.
  /// - Returns: false when a window could not be had.
  static func each(
    _ descriptor: CInt, first: Int64, count: Int64, _ body: (Int64, UnsafeBufferPointer<UInt8>) -> Void
  ) -> Bool {
    let page = Int64(SystemPage.size)
    return unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Int(min(count, Int64(window)))) { vector in
      var at = first
      while at < first + count {
        let pages = Int(min(Int64(vector.count), first + count - at))
        let length = pages * Int(page)
        guard unsafe pgw_resident_pages(descriptor, at * page, length, vector.baseAddress!) == 0 else { return false }
        unsafe body(at, UnsafeBufferPointer(rebasing: vector[..<pages]))
        at += Int64(pages)
      }
      return true
    }
  }

  /// How many of the pages are resident; nil when a window could not be had.
  static func resident(_ descriptor: CInt, first: Int64, count: Int64) -> Int64? {
    var sum: Int64 = 0
    let isWhole = unsafe each(descriptor, first: first, count: count) { _, bytes in
      for index in bytes.indices { sum += Int64(unsafe bytes[index] & 1) }
    }
    return isWhole ? sum : nil
  }
}
