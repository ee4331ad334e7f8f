// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping

extension MappingError {
  /// The same for a file that was there, and as long as expected, when the measurement began.
  internal var whileMeasuring: MappingError {
    switch code {
    case .notFound:
      MappingError(
        .changed, operation: .init("measure"), path: path, detail: .note("it was removed or renamed meanwhile"))
    case .invalidRange:
      // Shorter for a moment; it may be long again by now.
      MappingError(
        .truncated, operation: .init("measure"), path: path, offset: offset, length: length, detail: detail)
    default: self
    }
  }
}
