// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import Synchronization
internal import SystemPackage

/// The windows of one file: which are mapped, which are in use, which was idle longest.
internal final class WindowPool: Sendable {
  internal let descriptor: OwnedDescriptor
  internal let size: Int64
  internal let windowSize: Int
  internal let budget: Int
  internal let path: FilePath?
  private let state = Mutex(State())

  /// What a read in place of a mapping fetches at least, where the file has it.
  internal static let readAhead = 64 << 10

  internal final class Window: Sendable {
    internal let file: MappedFile
    internal let start: Int64
    internal let length: Int
    /// Made for one call.
    internal let isTemporary: Bool

    internal init(_ file: consuming MappedFile, start: Int64, length: Int, isTemporary: Bool) {
      self.file = file
      self.start = start
      self.length = length
      self.isTemporary = isTemporary
    }
  }

  private struct Entry: Sendable {
    let window: Window
    var users = 1
    var lastUse: UInt64
  }

  private struct State: Sendable {
    var entries: [Entry] = []
    /// Counts uses: the smallest is the longest ago.
    var clock: UInt64 = 0
    /// Bytes promised to mappings that are being made outside the lock.
    var promised = 0
    var statistics = WindowedFile.Statistics()
  }

  internal init(_ descriptor: consuming OwnedDescriptor, size: Int64, windowSize: Int, budget: Int, path: FilePath?) {
    self.descriptor = descriptor
    self.size = size
    self.windowSize = windowSize
    self.budget = budget
    self.path = path
  }

  internal var statistics: WindowedFile.Statistics { state.withLock { $0.statistics } }

  /// A window that holds the range, marked as used; nil when it has to be read because there is no room for a mapping.
  internal func acquire(_ offset: Int64, _ minimum: Int) throws(MappingError) -> Window? {
    if let found = find(offset, minimum) { return found }
    let (start, length, isTemporary) = place(offset, minimum)
    guard promise(length) else {
      state.withLock { $0.statistics.reads += 1 }
      return nil
    }
    do throws(MappingError) {
      return insert(try map(start, length, isTemporary), offset, minimum)
    } catch {
      // The kernel's limit is below our budget: give back what is idle, and try once more.
      guard Self.isShortage(error.code) else {
        unpromise(length)
        throw error
      }
    }
    dropIdle()
    do throws(MappingError) {
      return insert(try map(start, length, isTemporary), offset, minimum)
    } catch {
      unpromise(length)
      guard Self.isShortage(error.code) else { throw error }
      state.withLock { $0.statistics.reads += 1 }
      return nil
    }
  }

  internal func release(_ window: Window) {
    // The last reference may unmap: not under the lock.
    var gone: [Window] = []
    state.withLock { state in
      guard let index = state.entries.firstIndex(where: { $0.window === window }) else { return }
      state.entries[index].users -= 1
      guard window.isTemporary, state.entries[index].users == 0 else { return }
      gone.append(Self.remove(index, &state))
    }
    _ = consume gone
  }

  internal func dropIdle() {
    let gone = state.withLock { state in
      var gone: [Window] = []
      for index in state.entries.indices.reversed() where state.entries[index].users == 0 {
        gone.append(Self.remove(index, &state))
      }
      return gone
    }
    _ = consume gone
  }

  /// Reads all of a range; an early end is `truncated`.
  internal func read(_ offset: Int64, _ length: Int, _ target: UnsafeMutableRawPointer) throws(MappingError) {
    var done = 0
    while done < length {
      let got = unsafe pgw_pread(descriptor.number, target + done, length - done, offset + Int64(done))
      if got < 0 {
        throw .last(.read, path: path, offset: offset + Int64(done), length: Int64(length - done))
      }
      if got == 0 {
        throw MappingError(
          .truncated, operation: .read, path: path, offset: offset + Int64(done), length: Int64(length - done))
      }
      done += got
    }
  }

  private func find(_ offset: Int64, _ minimum: Int) -> Window? {
    state.withLock { state in
      let index = state.entries.firstIndex {
        // A faulted window is of no use to anybody: the next call maps anew and gets the file's own answer.
        $0.window.start <= offset && offset - $0.window.start <= Int64($0.window.length - minimum)
          && !$0.window.file.faultFlag.isRaised
      }
      guard let index else { return nil }
      state.clock += 1
      state.entries[index].users += 1
      state.entries[index].lastUse = state.clock
      state.statistics.hits += 1
      return state.entries[index].window
    }
  }

  /// Where the window for a range lies: on the grid of half windows, or, when the range is too long for that, around it.
  internal func place(_ offset: Int64, _ minimum: Int) -> (start: Int64, length: Int, isTemporary: Bool) {
    let half = Int64(windowSize / 2)
    let start = offset / half * half
    let length = min(Int64(windowSize), size - start)
    if offset - start <= length - Int64(minimum) { return (start, Int(length), false) }
    let first = PageMath().down(offset)
    return (first, Int(offset - first) + minimum, true)
  }

  /// Makes room for a mapping by dropping the windows that were idle longest. False: those in use fill the budget.
  private func promise(_ length: Int) -> Bool {
    let needed = PageMath().up(length) ?? length
    var gone: [Window] = []
    let isGranted = state.withLock { state in
      while state.statistics.mappedBytes + state.promised > budget - needed {
        let idle = state.entries.indices.filter { state.entries[$0].users == 0 }
        guard let oldest = idle.min(by: { state.entries[$0].lastUse < state.entries[$1].lastUse }) else {
          // One call alone may go over by the slack of its first page.
          guard state.entries.isEmpty, state.promised == 0 else { return false }
          break
        }
        gone.append(Self.remove(oldest, &state))
      }
      state.promised += needed
      return true
    }
    // Unmapped here, outside the lock and before the new mapping needs the room.
    _ = consume gone
    return isGranted
  }

  private func unpromise(_ length: Int) {
    state.withLock { $0.promised -= PageMath().up(length) ?? length }
  }

  private func insert(_ window: Window, _ offset: Int64, _ minimum: Int) -> Window {
    state.withLock { state in
      let needed = PageMath().up(window.length) ?? window.length
      state.promised -= needed
      state.clock += 1
      state.entries.append(Entry(window: window, lastUse: state.clock))
      state.statistics.maps += 1
      if window.isTemporary { state.statistics.temporary += 1 }
      state.statistics.mappedBytes += needed
      state.statistics.peakBytes = max(state.statistics.peakBytes, state.statistics.mappedBytes)
      return window
    }
  }

  private static func remove(_ index: Int, _ state: inout State) -> Window {
    let window = state.entries.remove(at: index).window
    state.statistics.unmaps += 1
    state.statistics.mappedBytes -= PageMath().up(window.length) ?? window.length
    return window
  }

  private func map(_ start: Int64, _ length: Int, _ isTemporary: Bool) throws(MappingError) -> Window {
    let file = try OpenedFile(duplicating: descriptor.number, path: path)
    if file.kind == .regular, file.stat.size < start + Int64(length) {
      let now = file.stat.size
      throw MappingError(
        .truncated, operation: .map, path: path, offset: max(start, now),
        length: start + Int64(length) - max(start, now),
        detail: .fileSize(now))
    }
    let map = try MappedFile(file, offset: start, length: length, options: .init(), path: path)
    return Window(map, start: start, length: length, isTemporary: isTemporary)
  }

  private static func isShortage(_ code: MappingError.Code) -> Bool {
    [.addressSpaceExhausted, .memoryExhausted, .mappingLimitReached, .tooManyOpenFiles].contains(code)
  }
}
