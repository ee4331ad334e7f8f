// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping
internal import SystemPackage

extension SharedMemoryError {
  /// The one place where an error number becomes a ``Code``.
  internal static func code(of errno: Errno) -> Code {
    switch errno {
    case .noSuchFileOrDirectory, .connectionRefused, .noSuchProcess: .notFound
    case .fileExists, .addressInUse: .alreadyExists
    case .permissionDenied, .notPermitted: .permissionDenied
    case .noSpace, .diskQuotaExceeded, .fileTooLarge: .noSpace
    case .noMemory: .memoryExhausted
    case .tooManyOpenFiles, .tooManyOpenFilesInSystem: .tooManyDescriptors
    case .fileNameTooLong, .invalidArgument: .invalidArgument
    case .notSupported, .noFunction, .notSupportedOnSocket: .notSupported
    case .brokenPipe, .connectionReset: .ended
    case .timedOut: .timedOut
    default: .other
    }
  }

  /// An error from a call that just failed: takes the thread's errno.
  internal static func last(_ operation: String, region: String? = nil, note: String? = nil) -> SharedMemoryError {
    let errno = Errno.current
    return SharedMemoryError(code(of: errno), operation, region: region, errno: errno, note: note)
  }

  /// The mapping below failed.
  internal init(_ error: MappingError, _ operation: String, region: String?) {
    let code: Code =
      switch error.code {
      case .addressSpaceExhausted, .memoryExhausted, .mappingLimitReached: .memoryExhausted
      case .permissionDenied, .readOnly: .permissionDenied
      case .truncated, .faulted, .memoryFailure: .faulted
      default: error.errno.map { Self.code(of: $0) } ?? .other
      }
    self.init(code, operation, region: region, errno: error.errno, note: error.reason)
  }
}
