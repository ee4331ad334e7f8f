// SPDX-License-Identifier: Apache-2.0

extension String {
  /// Copies bytes into a string as UTF-8; bytes that are not UTF-8 become U+FFFD.
  ///
  /// - Complexity: O(n), one allocation for more than 15 bytes.
  public init(decodingUTF8 bytes: RawSpan) {
    self = unsafe bytes.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
  }

  /// Copies bytes into a string, or returns nil where they are not UTF-8.
  ///
  /// - Complexity: O(n), one allocation for more than 15 bytes.
  public init?(validatingUTF8 bytes: RawSpan) {
    guard let text = unsafe bytes.withUnsafeBytes({ unsafe String(validating: $0, as: UTF8.self) })
    else { return nil }
    self = text
  }
}
