// SPDX-License-Identifier: Apache-2.0

@_spi(Testing) import MemoryMapping
import SystemPackage
import Testing

/// The table of system call x error number. Written down a second time, from the manual pages.
@Suite struct GuardErrorTableTests {
  typealias Code = MappingError.Code
  typealias Operation = MappingError.Operation

  static let codes: [Code] = [
    .notFound, .permissionDenied, .isDirectory, .unsupportedFileType, .symbolicLink, .tooManyOpenFiles,
    .addressSpaceExhausted, .memoryExhausted, .mappingLimitReached, .lockLimitReached, .invalidRange, .truncated,
    .changed, .noSpace, .inputOutput, .memoryFailure, .faulted, .stale, .notSupported, .notSealed, .leaseRefused,
    .readOnly, .limitExceeded, .interrupted, .pathInvalid, .invalidLayout, .busy, .alreadyExists, .syncFailed,
    .corrupt, .wrongState, .other,
  ]
  static let operations: [Operation] = [
    .open, .stat, .map, .unmap, .read, .copy, .load, .advise, .prefault, .lock, .unlock, .protect, .probe, .residency,
    .recover, .close, .lease, .seal, .snapshot, .reserve, .resize, .write, .iterate, .guardInstall, .calibrate,
    .create, .flush, .punchHole, .reserveSpace, .lockFile, .append, .begin, .commit, .rollback, .checkpoint, .replay,
    .replace,
    .verify,
  ]

  static let rows: [(Operation, Errno, Code)] = [
    // open(2)
    (.open, .noSuchFileOrDirectory, .notFound), (.open, .permissionDenied, .permissionDenied),
    (.open, .notPermitted, .permissionDenied), (.open, .isDirectory, .isDirectory),
    (.open, .tooManySymbolicLinkLevels, .symbolicLink), (.open, .tooManyOpenFiles, .tooManyOpenFiles),
    (.open, .tooManyOpenFilesInSystem, .tooManyOpenFiles), (.open, .notDirectory, .pathInvalid),
    (.open, .fileNameTooLong, .pathInvalid), (.open, .noSuchAddressOrDevice, .unsupportedFileType),
    (.open, .operationNotSupportedByDevice, .unsupportedFileType), (.open, .readOnlyFileSystem, .readOnly),
    (.open, .interrupted, .interrupted), (.open, .noMemory, .memoryExhausted), (.open, .textFileBusy, .busy),
    (.open, .staleNFSFileHandle, .stale),
    // fstat(2)
    (.stat, .staleNFSFileHandle, .stale), (.stat, .ioError, .inputOutput), (.stat, .badFileDescriptor, .other),
    // mmap(2)
    (.map, .noMemory, .addressSpaceExhausted), (.map, .permissionDenied, .permissionDenied),
    (.map, .operationNotSupportedByDevice, .unsupportedFileType),
    (.map, .resourceTemporarilyUnavailable, .lockLimitReached),
    (.map, .overflow, .addressSpaceExhausted), (.map, .fileTooLarge, .addressSpaceExhausted),
    (.map, .notPermitted, .permissionDenied), (.map, .tooManyOpenFilesInSystem, .tooManyOpenFiles),
    (.map, .invalidArgument, .other), (.map, .textFileBusy, .busy), (.reserve, .noMemory, .addressSpaceExhausted),
    // the guard's table
    (.guardInstall, .noBufferSpace, .mappingLimitReached),
    // read, pread(2), and copies that end in them
    (.read, .ioError, .inputOutput), (.read, .badAddress, .faulted), (.read, .isDirectory, .isDirectory),
    (.read, .staleNFSFileHandle, .stale), (.copy, .ioError, .inputOutput), (.copy, .badAddress, .faulted),
    (.load, .ioError, .inputOutput),
    // madvise(2)
    (.advise, .invalidArgument, .notSupported), (.advise, .noMemory, .memoryExhausted),
    (.advise, .ioError, .inputOutput),
    (.advise, .noFunction, .notSupported), (.prefault, .badAddress, .faulted), (.probe, .badAddress, .faulted),
    (.prefault, .invalidArgument, .notSupported), (.probe, .init(rawValue: 133), .memoryFailure),
    (.prefault, .init(rawValue: 133), .memoryFailure),
    // mlock2(2)
    (.lock, .noMemory, .lockLimitReached), (.lock, .notPermitted, .lockLimitReached),
    (.lock, .resourceTemporarilyUnavailable, .lockLimitReached), (.unlock, .noMemory, .memoryExhausted),
    // mprotect(2), munmap(2)
    (.protect, .permissionDenied, .permissionDenied), (.protect, .noMemory, .memoryExhausted),
    (.unmap, .noMemory, .memoryExhausted),
    // fcntl(2) leases and seals
    (.lease, .resourceTemporarilyUnavailable, .leaseRefused), (.lease, .permissionDenied, .leaseRefused),
    (.lease, .invalidArgument, .notSupported), (.seal, .notPermitted, .notSealed), (.seal, .resourceBusy, .busy),
    (.seal, .invalidArgument, .notSupported),
    // ftruncate, pwrite(2), snapshots
    (.resize, .notPermitted, .readOnly), (.resize, .noSpace, .noSpace), (.resize, .fileTooLarge, .limitExceeded),
    (.write, .noSpace, .noSpace), (.write, .diskQuotaExceeded, .noSpace), (.write, .notPermitted, .readOnly),
    (.write, .badFileDescriptor, .readOnly), (.write, .ioError, .inputOutput), (.snapshot, .noSpace, .noSpace),
    (.snapshot, .notSupported, .notSupported), (.close, .ioError, .inputOutput), (.close, .interrupted, .interrupted),
    // open(O_EXCL), link(2); fcntl(2) locks; syncs
    (.create, .fileExists, .alreadyExists), (.create, .noSpace, .noSpace), (.lockFile, .permissionDenied, .busy),
    (.lockFile, .resourceTemporarilyUnavailable, .busy), (.flush, .ioError, .inputOutput), (.flush, .noSpace, .noSpace),
    (.commit, .diskQuotaExceeded, .noSpace), (.commit, .fileTooLarge, .limitExceeded),
    (.append, .noSpace, .noSpace), (.reserveSpace, .notSupported, .notSupported),
    (.punchHole, .notSupported, .notSupported),
    (.residency, .notPermitted, .permissionDenied), (.residency, .invalidArgument, .notSupported),
  ]

  @Test func `each system call's error number has its code`() {
    for (operation, errno, code) in Self.rows {
      let found = MappingError.code(of: errno, in: operation)
      #expect(found == code, "\(operation) \(errno): \(found), not \(code)")
    }
  }

  @Test func `no error number of the kernel traps, and none is taken for a fault that the library finds itself`() {
    for operation in Self.operations {
      for number in Int32(-1)...200 {
        let code = MappingError.code(of: Errno(rawValue: number), in: operation)
        #expect(Self.codes.contains(code))
        #expect(
          ![.truncated, .changed, .invalidRange, .invalidLayout, .corrupt, .wrongState, .syncFailed].contains(code),
          "\(operation) \(number): \(code)")
      }
    }
  }

  @Test func `each code has a name, a reason and a remedy of its own`() {
    var names: Set<String> = []
    var reasons: Set<String> = []
    for code in Self.codes {
      let error = MappingError(code, operation: .map)
      #expect(names.insert(code.description).inserted)
      #expect(reasons.insert(error.reason).inserted, "\(code) shares its reason")
      #expect(!error.reason.hasSuffix(".") && !error.reason.isEmpty)
      #expect(error.remedy.hasSuffix(".") && error.remedy.contains(" "))
      #expect(error.remedy.first?.isUppercase == true)
    }
    #expect(names.contains("truncated") && names.contains("mappingLimitReached"))
  }

  @Test func `the description is one line with operation, path, place, reason, fact and remedy`() {
    for operation in Self.operations {
      for code in Self.codes {
        let error = MappingError(
          code, operation: operation, errno: .ioError, path: "/some/file", offset: 8192, length: 4096,
          detail: .fileSize(5000))
        let text = error.description
        #expect(text.hasPrefix("cannot \(operation.name) '/some/file' at byte 8192 (4096 bytes): \(error.reason)"))
        #expect(text.contains("(the file has 5000 bytes)"))
        #expect(text.hasSuffix(error.remedy))
        #expect(!text.contains("\n"))
      }
    }
    #expect("\(MappingError(.other, operation: .map, errno: .invalidArgument))".contains("Invalid argument"))
    #expect("\(MappingError(.limitExceeded, operation: .read, detail: .limit(12)))".contains("limit 12"))
    #expect("\(MappingError(.notSealed, operation: .seal, detail: .note("no seal")))".contains("(no seal)"))
  }
}
