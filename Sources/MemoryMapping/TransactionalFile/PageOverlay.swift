// SPDX-License-Identifier: Apache-2.0

internal import CPlatform

/// Pages as they were committed, for commits that are not in the file yet: what the next commit compares with instead of the file.
internal struct PageOverlay: Sendable {
  private var pages: [Int: [UInt8]] = [:]

  internal var isEmpty: Bool { pages.isEmpty }

  /// Gives the committed bytes of the page that begins at `offset`, or `file` when it is as in the file.
  internal borrowing func withPage(at offset: Int, else file: UnsafeRawPointer?, _ body: (UnsafeRawPointer?) -> Void) {
    guard let page = pages[offset] else { return unsafe body(file) }
    unsafe page.withUnsafeBytes { unsafe body($0.baseAddress) }
  }

  /// Copies every page that one of the runs touches.
  internal mutating func keep(_ runs: [pgw_byte_run], of base: UnsafeRawPointer) {
    let size = SystemPage.size
    var next = 0
    for run in runs {
      var offset = max(next, Int(run.offset) / size * size)
      while offset < Int(run.offset + run.length) {
        pages[offset] = unsafe Array(UnsafeRawBufferPointer(start: base + offset, count: size))
        offset += size
      }
      next = offset
    }
  }

  internal mutating func removeAll() { pages.removeAll(keepingCapacity: true) }
}
