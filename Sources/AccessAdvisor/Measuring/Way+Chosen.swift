// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
@_spi(Adoption) internal import MemoryMapping
internal import PageCache
internal import SystemPackage

extension Subject {
  /// What the library would do with this file, from its facts alone.
  internal func plannedDecision(_ access: Access) -> FileBytes.Decision {
    FileBytes.decide(facts: facts, access: access.pattern)
  }

  /// The library's own choice, really run. Nil where running it would touch all of a file of which only a part is
  /// measured: then the report takes the time of the strategy that was chosen.
  internal func chosenWay(_ access: Access) -> Way? {
    var forced: FileBytes.Strategy? = nil
    if isSampled {
      let planned = plannedDecision(access).strategy
      if planned == .mapPopulate || (planned == .read && access.isPass) { return nil }
      forced = planned
    }
    let method = "FileBytes(path, access: \(access.patternSource))"
    let isPartial = isSampled && access.isPass
    return Way(strategy: nil, method: method, isExtrapolated: isPartial) { seed, probe throws(MappingError) in
      var options = FileBytes.Options()
      options.strategy = forced
      if isSynthetic { options.maximumByteCount = Self.syntheticLimit }
      var file = try FileBytes(
        adopting: try ObservedFile(path).take(), access: access.pattern, options: options, path: path)
      let outcome = access.isPass ? try pass(&file, access) : try places(&file, access, seed)
      if let probe { probe.decision = file.decision }
      return outcome
    }
  }

  /// Ends a pass at the window's end.
  private struct EndOfWindow: Error {}

  private func pass(_ file: inout FileBytes, _ access: Access) throws(MappingError) -> Way.Outcome {
    var sum = Checksum()
    // A file that grows is measured as far as it reached at the start, as by the other strategies.
    let window = isSynthetic ? Int64.max : self.window
    let pieceSize = access.kind == .sequential ? Access.recordSize : Self.streamPiece
    do {
      try file.forEachChunk(of: pieceSize) { span, offset in
        guard offset < window else { throw EndOfWindow() }
        let rest = window - offset
        if rest < Int64(span.byteCount) {
          sum.add(span.extracting(first: Int(rest)))
        } else {
          sum.add(span)
        }
      }
    } catch is EndOfWindow {
      // All of the window was seen.
    } catch {
      throw (error as? MappingError) ?? MappingError(.other, operation: .read, path: path)
    }
    return Way.Outcome(checksum: isSynthetic ? nil : sum.value)
  }

  /// Whether the places are looked at through `withBytes`, and not by one `load` or `copy` each.
  internal func usesScope(_ access: Access, _ strategy: FileBytes.Strategy) -> Bool {
    guard !access.isPass, access.count > Access.few else { return false }
    return strategy == .map || strategy == .mapPopulate || size <= Access.smallFile
  }

  private func places(
    _ file: inout FileBytes, _ access: Access, _ seed: UInt64
  ) throws(MappingError) -> Way.Outcome {
    // Many places are looked at in one scope, as a program would do it, and as the fixed strategies do.
    if usesScope(access, file.decision.strategy) {
      let sum: UInt64
      do {
        // Bounds of their own: the file may have become shorter since its size was asked.
        sum = try file.withBytes(0..<scatterRange) { span in
          unsafe span.withUnsafeBytes { bytes in unsafe fold(bytes, access, seed) }
        }
      } catch {
        throw (error as? MappingError) ?? MappingError(.other, operation: .read, path: path)
      }
      return Way.Outcome(checksum: sum)
    }
    var sum = Checksum()
    var single: UInt64 = 0
    if access.readSize == 1 {
      try forEachPlace(access, seed) { offset, _ throws(MappingError) in
        single = single &* 31 &+ UInt64(try file.load(at: offset, as: UInt8.self))
      }
      return Way.Outcome(checksum: single)
    }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: access.readSize, alignment: 64)
    defer { unsafe buffer.deallocate() }
    try forEachPlace(access, seed) { offset, length throws(MappingError) in
      let target = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[0..<length])
      let got = unsafe try file.copy(at: offset, into: target)
      unsafe sum.add(UnsafeRawBufferPointer(rebasing: target[0..<got]))
    }
    return Way.Outcome(checksum: sum.value)
  }
}
