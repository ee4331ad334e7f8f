// SPDX-License-Identifier: Apache-2.0

/// All that is known about an address, and the rules by which it is explained.
internal struct Scene {
  let address: UInt64
  let mapping: ProcessMapping?
  let below: ProcessMapping?
  let above: ProcessMapping?
  /// In the file.
  let offset: UInt64?
  let file: AddressExplanation.FileCondition?
  let signal: FaultSignal?
  let stackPointer: UInt64?
  let page: UInt64

  private var isBus: Bool { signal?.number == FaultSignal.bus }
  private var isSegmentation: Bool { signal?.number == FaultSignal.segmentation }

  var place: AddressExplanation.Place {
    guard let mapping else {
      if address < 0x10000 { return .nullPointer }
      if address >= 1 << 63 || isSegmentation && signal?.code == 128 { return .notUser }
      return isBelowStack ? .stackOverflow : .unmapped
    }
    if mapping.permissions.isEmpty, offset == nil { return isGuardOfStack ? .stackOverflow : .guardPage }
    guard let offset else { return .memory }
    guard let size = file?.size else { return .unknownFile }
    let end = (UInt64(max(0, size)) + page - 1) / page
    return offset / page >= end ? .pastEnd : .file
  }

  /// How far below a stack an access still is one of a stack that grew too large: large frames skip pages.
  private static let reach: UInt64 = 1 << 20

  private var isBelowStack: Bool {
    guard let above, above.permissions.contains(.write) else { return false }
    let gap = above.addresses.lowerBound - address
    if above.name.hasPrefix("[stack") { return gap <= Self.reach }
    return isNearStackPointer && gap <= Self.reach
  }

  private var isGuardOfStack: Bool {
    guard let mapping, let above, above.permissions.contains(.write) else { return false }
    guard above.addresses.lowerBound == mapping.addresses.upperBound else { return false }
    return above.name.hasPrefix("[stack") || isNearStackPointer
  }

  /// The fault lies about where the stack ends that the thread was on.
  private var isNearStackPointer: Bool {
    guard let stackPointer else { return false }
    let distance = stackPointer > address ? stackPointer - address : address - stackPointer
    return distance <= Self.reach
  }

  // MARK: Sentences

  var explained: (cause: String, remedy: String) {
    if let signal, isBus, signal.code == 4 || signal.code == 5 {
      return (
        "The memory that held the page is broken (hardware poison): the kernel took it away.",
        "Look for \"Memory failure\" and machine checks in the kernel log, and replace the memory module; the file on the device is whole."
      )
    }
    if isBus, signal?.code == 1 {
      return (
        "The access was not aligned as this machine needs it; the page itself may be well.",
        "Look at the instruction: an atomic or vector access to an address that is no multiple of its size."
      )
    }
    switch place {
    case .pastEnd: return pastEnd
    case .file: return inFile
    case .unknownFile: return unknownFile
    case .memory: return inMemory
    case .guardPage:
      return (
        "The mapping allows no access: a guard page, or reserved address space that was not put to use. An access is a SIGSEGV.",
        "Look for an index past the end of the range \(near(above) ?? near(below) ?? "beside it"), or for a use after the range was given back."
      )
    case .stackOverflow:
      return (
        "The address lies just below a stack: the stack was too small. An access is a SIGSEGV.",
        "Look for recursion without an end and for large arrays on the stack; raise the limit (ulimit -s, the size of the thread's stack)."
      )
    case .nullPointer:
      return (
        "Nothing is mapped in the first 64 KiB: a nil pointer, with \(address) added. An access is a SIGSEGV.",
        "Look for the pointer that was not set in the backtrace."
      )
    case .notUser:
      return (
        "No program can have this address\(address >= 1 << 63 ? ": it is in the kernel's half" : "; the machine does not even tell which it was")."
          + " An access is a SIGSEGV.",
        "Look for a pointer that was written over, or computed from damaged data."
      )
    case .unmapped: return unmapped
    }
  }

  private var now: String { file?.isMappedFileItself == true ? "" : " now" }

  /// What the name of the file stands for, where that matters.
  private var naming: String {
    switch file?.naming {
    case .replaced?:
      file?.isMappedFileItself == true
        ? " Another file has taken its name since it was mapped."
        : " But another file has taken its name since: what was mapped can have been of another size."
    case .deleted?: " The file has lost its name since it was mapped."
    case .present?, .unknown?, nil: ""
    }
  }

  private var pastEnd: (String, String) {
    let size = file?.size ?? 0
    let verb = isBus ? "The access was a SIGBUS because the" : "An access is a SIGBUS: the"
    return (
      "\(verb) file has \(size) bytes\(now), and the page lies past its end: it was cut while it was mapped, or more was mapped than "
        + "it had.\(naming)",
      "Let writers replace files by rename instead of cutting them; map no more than the file has; read what others change "
        + "through a checked copy."
    )
  }

  private var inFile: (String, String) {
    guard let mapping else { return unmapped }
    if isSegmentation { return forbidden(mapping) }
    let writes = mapping.permissions.contains(.write) && mapping.isShared != false
    let full = writes && file?.isHole != false
    if isBus {
      var causes: [String] = []
      if full {
        let isHole = file?.isHole == true
        causes.append(
          "the file system was full, when a store needed space\(isHole ? ": the page is a hole" : "")"
            + (file?.freeBytes.map { ", and \($0) bytes are left now" } ?? ""))
      }
      causes.append("the file was cut when the access happened, and has grown again since")
      causes.append("the device or the server failed to give the page")
      return (
        "The access was a SIGBUS, and the page lies inside the file\(now). Likely: \(causes.joined(separator: "; or "))."
          + naming,
        "Look at the kernel log for I/O errors and at the free space; let writers replace files by rename"
          + (full ? ", and allocate files before they are mapped for writing." : ".")
      )
    }
    let rights = mapping.permissions.isEmpty ? "no access" : words(mapping.permissions)
    return (
      "The page lies inside the file\(now), and the mapping allows \(rights): such an access goes well, unless the device fails"
        + (full && file?.isHole == true ? ", or a store finds the file system full: the page is a hole" : "")
        + ".\(naming)",
      "If it was a SIGBUS: the file was cut and has grown again, the device failed\(full ? ", or the disk was full" : ""); "
        + "look at the kernel log. If it was a SIGSEGV: the access was one that the mapping does not allow."
    )
  }

  private var unknownFile: (String, String) {
    if let mapping, isSegmentation { return forbidden(mapping) }
    if file?.naming == .deleted {
      return (
        "The page belongs to a file that is no longer there. \(isBus ? "The access was a SIGBUS: " : "If it was a SIGBUS: ")"
          + "the file was cut while it was mapped, the device failed, or the file system was full at a store.",
        "Find out who deletes or cuts the file; let writers replace files by rename."
      )
    }
    let isMemory = mapping?.isMemoryFile == true
    return (
      "The page belongs to \(isMemory ? "a memory file" : "a file"), and what that is like could not be found out."
        + (isBus
          ? " A SIGBUS means that it was cut, that there was no room for the page, or that its device failed." : ""),
      isMemory
        ? "Seal memory files against shrinking before others map them; look at the memory limits."
        : "Run it where the file can be seen: as root, on the same machine and in the same container."
    )
  }

  private var inMemory: (String, String) {
    guard let mapping else { return unmapped }
    if isBus {
      return (
        "The access was a SIGBUS in memory without a file: no huge page was left, or the memory failed.",
        "Look at the pool of huge pages (/proc/meminfo) and at the kernel log."
      )
    }
    if isSegmentation { return forbidden(mapping) }
    return (
      "The address lies in memory without a file\(mapping.name.isEmpty ? "" : " (\(Self.shown(mapping)))"), which allows "
        + "\(words(mapping.permissions)).",
      "If an access failed, it was one that the mapping does not allow, or the mapping was another one then."
    )
  }

  /// A SIGSEGV at an address that is mapped.
  private func forbidden(_ mapping: ProcessMapping) -> (String, String) {
    if signal?.code == 4 {
      return (
        "A protection key of the thread forbids the access (SEGV_PKUERR).",
        "Look for a use outside the scope that opens the key."
      )
    }
    if mapping.permissions.isEmpty {
      return (
        "The mapping allows no access.", "Look for a use of the range before it was opened, or after it was closed."
      )
    }
    if !mapping.permissions.contains(.write) {
      let file = mapping.path == nil ? "memory" : "mapping of the file"
      return (
        "The access was not allowed: a store to a read-only \(file)\(mapping.permissions.contains(.execute) ? "" : ", or a jump into it").",
        "Map it for writing, or copy the bytes before they are changed."
      )
    }
    if !mapping.permissions.contains(.execute) {
      return (
        "The access was not allowed: a jump into bytes that are no code, or the mapping has changed since.",
        "Look for a function pointer or a return address that was written over."
      )
    }
    return (
      "The mapping allows every access: it has changed since, or the fault is not one of a page.",
      "Look at the backtrace and at what maps and unmaps there."
    )
  }

  private var unmapped: (String, String) {
    var sentences = "Nothing is mapped there. An access is a SIGSEGV."
    if isBus {
      sentences =
        "The access was a SIGBUS, and nothing is mapped there: it was unmapped since, or the address is not the one."
    }
    if let below, let above {
      let fromBelow = address - below.addresses.upperBound
      let toAbove = above.addresses.lowerBound - address
      sentences +=
        fromBelow < toAbove
        ? " The nearest is \(near(below) ?? "a mapping"), which ends \(fromBelow) bytes before."
        : " The nearest is \(near(above) ?? "a mapping"), which begins \(toAbove) bytes after."
    } else if let below {
      sentences +=
        " The nearest is \(near(below) ?? "a mapping"), which ends \(address - below.addresses.upperBound) bytes before."
    } else if let above {
      sentences +=
        " The nearest is \(near(above) ?? "a mapping"), which begins \(above.addresses.lowerBound - address) bytes after."
    }
    return (
      sentences,
      "Look for a use after the mapping was unmapped, for an index past its end, and for a pointer that was written over."
    )
  }

  private func near(_ mapping: ProcessMapping?) -> String? {
    guard let mapping else { return nil }
    return mapping.name.isEmpty
      ? "\(mapping.addresses.hexadecimal)" : "\(mapping.addresses.hexadecimal) (\(Self.shown(mapping)))"
  }

  /// A name may have any bytes: what stands in a sentence has none that break the line or turn its direction.
  private static func shown(_ mapping: ProcessMapping) -> String {
    var text = String.UnicodeScalarView()
    for scalar in mapping.name.unicodeScalars {
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator: text.append("?")
      default: text.append(scalar)
      }
    }
    return String(text)
  }

  private func words(_ permissions: ProcessMapping.Permissions) -> String {
    var all: [String] = []
    if permissions.contains(.read) { all.append("reading") }
    if permissions.contains(.write) { all.append("writing") }
    if permissions.contains(.execute) { all.append("execution") }
    return all.isEmpty ? "nothing" : all.joined(separator: " and ")
  }
}
