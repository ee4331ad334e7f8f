// SPDX-License-Identifier: Apache-2.0

/// An ELF core made byte by byte, as the kernel lays one out.
struct CoreImage {
  var is64 = true
  var machine: UInt16 = 62
  /// The kernel writes 0xFFFF and the true number into a section header from 65,535 on.
  var countsInSection = false
  var loads: [(start: UInt64, end: UInt64, flags: UInt32)] = []
  var files: [(start: UInt64, end: UInt64, pages: UInt64, name: String)] = []
  var signal: (number: Int32, code: Int32, address: UInt64)? = nil
  var process: Int32 = 1234
  var name = "program"
  var stackPointer: UInt64 = 0
  var pageSize: UInt64 = 4096

  private func little(_ value: some FixedWidthInteger, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
  }
  private func word(_ value: UInt64) -> [UInt8] { little(value, is64 ? 8 : 4) }

  private func note(_ type: UInt32, _ content: [UInt8]) -> [UInt8] {
    let padding = [UInt8](repeating: 0, count: -content.count & 3)
    return little(5, 4) + little(content.count, 4) + little(type, 4) + Array("CORE\0\0\0\0".utf8) + content + padding
  }

  var notes: [UInt8] {
    var status = [UInt8](repeating: 0, count: is64 ? 336 : 144)
    func put(_ bytes: [UInt8], at place: Int) { status.replaceSubrange(place..<place + bytes.count, with: bytes) }
    put(little(signal?.number ?? 0, 2), at: 12)
    put(little(process, 4), at: is64 ? 32 : 24)
    put(word(stackPointer), at: is64 ? 112 + 19 * 8 : 72 + 15 * 4)
    var info = [UInt8](repeating: 0, count: is64 ? 136 : 124)
    let short = Array(name.utf8.prefix(15))
    let place = is64 ? 40 : 28
    info.replaceSubrange(place..<place + short.count, with: short)
    var all = note(1, status) + note(3, info)
    if let signal {
      var content = little(signal.number, 4) + little(0, 4) + little(signal.code, 4) + (is64 ? little(0, 4) : [])
      content += word(signal.address)
      all += note(0x5349_4749, content + [UInt8](repeating: 0, count: 128 - content.count))
    }
    var list = word(UInt64(files.count)) + word(pageSize)
    for file in files { list += word(file.start) + word(file.end) + word(file.pages) }
    for file in files { list += Array(file.name.utf8) + [0] }
    return all + note(0x4649_4C45, list)
  }

  var bytes: [UInt8] {
    let headerSize = is64 ? 64 : 52
    let entry = is64 ? 56 : 32
    let count = loads.count + 1
    let sectionSize = countsInSection ? (is64 ? 64 : 40) : 0
    let notes = notes
    let begin = headerSize + count * entry + sectionSize
    var all: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, is64 ? 2 : 1, 1, 1, 0] + [UInt8](repeating: 0, count: 8)
    all += little(4, 2) + little(machine, 2) + little(1, 4) + word(0) + word(UInt64(headerSize))
    all += word(countsInSection ? UInt64(headerSize + count * entry) : 0) + little(0, 4) + little(headerSize, 2)
    all += little(entry, 2) + little(countsInSection ? 0xFFFF : count, 2) + little(is64 ? 64 : 40, 2)
    all += little(countsInSection ? 1 : 0, 2) + little(0, 2)
    func header(_ type: UInt32, _ flags: UInt32, _ offset: Int, _ start: UInt64, _ stored: Int, _ size: UInt64)
      -> [UInt8]
    {
      let begin = little(type, 4) + (is64 ? little(flags, 4) : [])
      let middle = word(UInt64(offset)) + word(start) + word(0) + word(UInt64(stored)) + word(size)
      return begin + middle + (is64 ? [] : little(flags, 4)) + word(1)
    }
    all += header(4, 0, begin, 0, notes.count, 0)
    for load in loads { all += header(1, load.flags, begin + notes.count, load.start, 0, load.end - load.start) }
    if countsInSection {
      var section = [UInt8](repeating: 0, count: sectionSize)
      section.replaceSubrange((is64 ? 44 : 28)..<(is64 ? 48 : 32), with: little(count, 4))
      all += section
    }
    return all + notes
  }

  /// One mapping of a file of two pages, its guard below, a stack.
  static func example(is64: Bool = true) -> CoreImage {
    var core = CoreImage(is64: is64, machine: is64 ? 62 : 3)
    core.loads = [
      (0x10_0000, 0x10_2000, 4), (0x10_2000, 0x10_3000, 6), (0x20_0000, 0x20_1000, 0), (0x20_1000, 0x21_0000, 6),
    ]
    core.files = [(0x10_0000, 0x10_2000, 3, "/no such folder/data"), (0x10_2000, 0x10_3000, 0, "/x (deleted)")]
    core.signal = (7, 2, 0x10_1010)
    core.stackPointer = 0x20_2000
    return core
  }
}
