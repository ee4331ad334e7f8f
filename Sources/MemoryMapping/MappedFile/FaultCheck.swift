// SPDX-License-Identifier: Apache-2.0

/// How much a read proves about the file when it returns.
public enum FaultCheck: Sendable, Hashable {
  /// No page of the mapping was lost. Costs two loads. Does not see a cut inside a page that is still mapped: the rest of
  /// that page reads as zeros without a fault.
  case pages
  /// Also: the file still reaches past what was read. Two system calls (about 0.6 µs) for a scope; a short checked copy
  /// without a zero byte needs none, because what a cut leaves behind is zeros. Does not see a file that was cut and grown
  /// again meanwhile.
  case size
  /// Also: size, modification and change time are the same before and after, so nobody cut and regrew the file or wrote to
  /// it with `write` meanwhile. Two fstat. Not seen: stores of another process through its own mapping of pages that were
  /// dirty already, and on kernels before 6.13 a change within the same clock tick (up to 10 ms).
  case stamp
}
