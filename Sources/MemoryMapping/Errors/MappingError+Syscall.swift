// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

extension Errno {
  /// The calling thread's errno. Read it at once after the failed call.
  package static var current: Errno {
    #if canImport(Glibc)
      Errno(rawValue: Glibc.errno)
    #elseif canImport(Musl)
      Errno(rawValue: Musl.errno)
    #else
      Errno(rawValue: Darwin.errno)
    #endif
  }
}

extension MappingError {
  /// The one place where an error number becomes a ``Code``: first what it means for this operation, then in general.
  @_spi(Testing) public static func code(of errno: Errno, in operation: Operation) -> Code {
    switch (operation, errno) {
    case (.map, .noMemory), (.reserve, .noMemory): .addressSpaceExhausted
    case (.map, .operationNotSupportedByDevice), (.map, .notSupportedOnSocket): .unsupportedFileType
    case (.map, .resourceTemporarilyUnavailable), (.lock, .resourceTemporarilyUnavailable): .lockLimitReached
    case (.map, .fileTooLarge), (.map, .overflow): .addressSpaceExhausted
    case (.open, .noSuchAddressOrDevice), (.open, .operationNotSupportedByDevice): .unsupportedFileType
    case (.lock, .noMemory), (.lock, .notPermitted): .lockLimitReached
    case (.probe, .badAddress), (.prefault, .badAddress), (.copy, .badAddress), (.read, .badAddress): .faulted
    case (.replace, .badAddress): .faulted
    case (.lease, .resourceTemporarilyUnavailable), (.lease, .permissionDenied): .leaseRefused
    case (.advise, .invalidArgument), (.prefault, .invalidArgument), (.residency, .invalidArgument): .notSupported
    case (.lease, .invalidArgument), (.seal, .invalidArgument): .notSupported
    case (.seal, .notPermitted): .notSealed
    case (.resize, .notPermitted), (.write, .notPermitted): .readOnly
    case (.write, .badFileDescriptor): .readOnly
    case (.lockFile, .resourceTemporarilyUnavailable), (.lockFile, .permissionDenied): .busy
    case (_, .fileExists): .alreadyExists
    case (_, .noSuchFileOrDirectory): .notFound
    case (_, .permissionDenied), (_, .notPermitted): .permissionDenied
    case (_, .isDirectory): .isDirectory
    case (_, .tooManySymbolicLinkLevels): .symbolicLink
    case (_, .tooManyOpenFiles), (_, .tooManyOpenFilesInSystem): .tooManyOpenFiles
    case (_, .noMemory): .memoryExhausted
    case (_, .noBufferSpace): .mappingLimitReached
    case (_, .noSpace), (_, .diskQuotaExceeded): .noSpace
    case (_, .ioError): .inputOutput
    case (_, .staleNFSFileHandle): .stale
    case (_, .notSupported), (_, .noFunction), (_, .notSupportedOnSocket): .notSupported
    case (_, .readOnlyFileSystem): .readOnly
    case (_, .fileTooLarge): .limitExceeded
    case (_, .interrupted): .interrupted
    case (_, .fileNameTooLong), (_, .notDirectory): .pathInvalid
    case (_, .resourceBusy), (_, .textFileBusy): .busy
    case (_, let other) where other.rawValue == hardwarePoison: .memoryFailure
    default: .other
    }
  }

  /// EHWPOISON; Darwin has none.
  private static var hardwarePoison: CInt {
    #if os(Linux)
      133
    #else
      -1
    #endif
  }

  /// An error from a call that just failed: takes the thread's errno.
  @inline(never)
  internal static func last(
    _ operation: Operation, path: FilePath? = nil, offset: Int64? = nil, length: Int64? = nil
  ) -> MappingError {
    var error = MappingError(Errno.current, operation, path: path, offset: offset, length: length)
    // mmap says ENOMEM for both, and the remedies differ.
    if error.code == .addressSpaceExhausted, pgw_is_at_mapping_limit() { error.code = .mappingLimitReached }
    return error
  }

  internal init(
    _ errno: Errno, _ operation: Operation, path: FilePath? = nil, offset: Int64? = nil, length: Int64? = nil
  ) {
    self.init(
      Self.code(of: errno, in: operation), operation: operation, errno: errno, path: path, offset: offset,
      length: length)
  }
}
