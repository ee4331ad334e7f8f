// SPDX-License-Identifier: Apache-2.0

package import MemoryMapping
package import SystemPackage

/// Where in /proc a process is looked at.
///
/// A process whose main thread has ended while others run (`pthread_exit` in `main`) is a zombie by its own folder: that has no mappings, no descriptors and no root. The folder of any thread that lives has all of them.
package struct ProcessFolder: Sendable, Hashable {
  package let process: Int32
  /// By whose folder: the number of the process itself stands for the folder of the process.
  package let thread: Int32

  package init(_ process: Int32, thread: Int32? = nil) {
    self.process = process
    self.thread = thread ?? process
  }

  private var isOwn: Bool { thread == process }

  /// A file in it. C: /proc/PID, /proc/PID/task/TID.
  package func path(_ name: String) -> String {
    isOwn ? "/proc/\(process)/\(name)" : "/proc/\(process)/task/\(thread)/\(name)"
  }

  /// The links to what is mapped. Folders of threads have none; but each thread has a folder like that of a process as well, which
  /// is not listed: see proc(5), /proc/TID.
  package var mapFiles: String { "/proc/\(thread)/map_files" }

  /// Reads the list of mappings of a process into `reader`.
  ///
  /// - Returns: the folder that has the list, and why there is none: `noSuchProcess` also for a process that has ended and was not
  ///   awaited yet. An empty list without a reason is that of a kernel thread, or of a process that is just ending.
  package static func readMappings(
    of process: Int32, _ reader: inout ProcText
  ) -> (folder: ProcessFolder, failure: Errno?) {
    let own = ProcessFolder(process)
    let failure = reader.read(own.path("maps"))
    if let failure {
      guard isGone(failure) else { return (own, failure) }
    } else if !reader.bytes.isEmpty {
      return (own, nil)
    }
    // Threads end and begin while they are tried, and a list during which one ends can lack those behind it: so it is the number of
    // threads that says when there is none left.
    var tried: Set<Int32> = [process]
    for _ in 0..<mostRounds {
      let threads: [Int32]
      do throws(Errno) { threads = try Self.threads(of: process) } catch { return (own, error) }
      // The newest one has most of its life before it, where each lives for a short time.
      if let thread = threads.last(where: { !tried.contains($0) }) {
        tried.insert(thread)
        let folder = ProcessFolder(process, thread: thread)
        if let refusal = reader.read(folder.path("maps")) {
          guard isGone(refusal) else { return (folder, refusal) }
        } else if !reader.bytes.isEmpty {
          return (folder, nil)
        }
      } else {
        if let reason = reader.read(own.path("stat")) { return (own, reason) }
        let state = ThreadState(reader.bytes)
        reader.removeAll()
        guard let state, state.threads > 1 else { return (own, state?.isDead == true ? .noSuchProcess : failure) }
      }
    }
    return (own, .resourceTemporarilyUnavailable)
  }

  /// No thread may be met by so many of them: then it is not known what the process has.
  private static let mostRounds = 1000

  /// What it means that a process could not be looked at.
  package static func error(_ reason: Errno, of process: Int32) -> MappingError {
    let isGone = isGone(reason)
    return MappingError(
      isGone ? .notFound : .permissionDenied, operation: .init("look at process \(process)"), errno: reason,
      detail: isGone
        ? .advice("no process that runs has this number", remedy: "Check it with `ps`; the process may have ended.")
        : .advice("it belongs to another user, or is protected", remedy: "Run as its owner, or as root."))
  }

  /// True for what reading says of a process or a thread that is not there any more.
  package static func isGone(_ reason: Errno) -> Bool { reason == .noSuchFileOrDirectory || reason == .noSuchProcess }

  /// True when the thread has ended or is ending: what was read by it may lack something that the process still has.
  package func hasEnded(_ reader: inout ProcText) -> Bool {
    if let reason = reader.read("/proc/\(process)/task/\(thread)/stat") { return Self.isGone(reason) }
    guard let state = ThreadState(reader.bytes) else { return false }
    return state.isDead || state.isEnding
  }

  /// True for what holds no files by its nature: kernel threads, and processes of which no thread lives. Both refuse to be looked at
  /// as processes of others do.
  package static func holdsNothing(_ process: Int32, _ reader: inout ProcText) -> Bool {
    if let reason = reader.read("/proc/\(process)/stat") {
      // Gone; or one that may not even be asked this (hidepid=1), which is not to know.
      return isGone(reason)
    }
    guard let state = ThreadState(reader.bytes) else { return false }
    return state.isDead ? state.threads <= 1 : state.isKernelThread
  }

  /// The numbers of all threads, also of those that have ended and were not awaited yet.
  private static func threads(of process: Int32) throws(Errno) -> [Int32] {
    try ProcessList.numbers(in: FilePath("/proc/\(process)/task"))
  }

  /// What the kernel says of a thread.
  private struct ThreadState {
    private let letter: UInt8
    private let flags: UInt64
    /// Of its process, itself and those that have ended and were not awaited among them.
    let threads: Int

    /// From `TID (NAME) STATE PPID PGRP SESSION TTY TPGID FLAGS ...`, of which the eighteenth field after the name is the number of
    /// threads: a name can hold spaces and parentheses.
    init?(_ text: [UInt8]) {
      guard let end = text.lastIndex(of: UInt8(ascii: ")")) else { return nil }
      let fields = text[(end + 1)...].split(separator: UInt8(ascii: " "), maxSplits: 18)
      guard fields.count > 17, let letter = fields[0].first else { return nil }
      self.letter = letter
      threads = Int(String(decoding: fields[17], as: UTF8.self)) ?? 0
      flags = UInt64(String(decoding: fields[6], as: UTF8.self)) ?? 0
    }

    /// Ended: a zombie, or being taken away.
    var isDead: Bool { letter == UInt8(ascii: "Z") || letter == UInt8(ascii: "X") }
    /// C: PF_EXITING.
    var isEnding: Bool { flags & 0x4 != 0 }
    /// C: PF_KTHREAD.
    var isKernelThread: Bool { flags & 0x0020_0000 != 0 }
  }
}
