// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Growing and shrinking. Each in a process of its own: a child that another test forks has our files open for a moment, and a
/// shrink that must find itself alone would be refused.
@Suite struct MutableResizeTests {
  @Test func `a view and its file grow and shrink to any size, and keep what lies below`() async {
    await #expect(processExitsWith: .success) {
      let page = SystemPage.size
      let folder = try TemporaryDirectory()
      for start in [0, 1, page, page + 7] {
        let path = try folder.file("file\(start)", PatternFile.bytes(0..<Int64(start + 2 * page)))
        var map = try MutableMappedFile(path, offset: Int64(start))
        var expected = PatternFile.bytes(Int64(start)..<Int64(start + 2 * page))
        for size in [2 * page, 2 * page + 1, 5 * page, 300 * page + 3, 3, 0, 0, 1, page - 1, page, 7 * page] {
          try map.resize(to: size)
          expected =
            size <= expected.count
            ? Array(expected[..<size]) : expected + [UInt8](repeating: 0, count: size - expected.count)
          prove(map.count == size && fileStatus(path).size == start + size)
          prove(try map.content() == expected)
          if size > 0 {
            try map.store(UInt8(size & 0xFF | 1), at: size - 1)
            expected[size - 1] = UInt8(size & 0xFF | 1)
          }
          try map.flush(.data)
          prove(try Array(fileContent(path)[start...]) == expected)
          prove(ProcessView.descriptors { $0 == path.string }.count == 1)
        }
      }
    }
  }

  @Test func `shrinking is refused as busy while anybody else has the file, and done when nobody has`() async {
    await #expect(processExitsWith: .success) {
      let page = SystemPage.size
      let folder = try TemporaryDirectory()
      let path = try folder.file("file", PatternFile.bytes(0..<Int64(4 * page)))
      var map = try MutableMappedFile(path)
      func proveRefused(_ line: Int = #line) throws {
        let error = failure { try map.resize(to: page) }
        prove(error?.code == .busy && error?.operation == .resize && error?.path == path, line)
        prove(map.count == 4 * page && fileStatus(path).size == 4 * page, line)
        prove(try map.content() == PatternFile.bytes(0..<Int64(4 * page)), line)
      }
      do {
        let descriptor = try FileDescriptor.open(path, .readOnly)
        try proveRefused()
        try descriptor.close()
      }
      do {
        var options = MappedFile.Options()
        options.keepsDescriptor = false
        let reader = try MappedFile(path, options: options)
        try proveRefused()
        try reader.close()
      }
      do {
        let writer = try MutableMappedFile(path)
        try proveRefused()
        // Growing takes nothing away.
        try map.resize(to: 5 * page)
        prove(try writer.content() == PatternFile.bytes(0..<Int64(4 * page)))
        try map.resize(to: 4 * page, evenIfShared: true)
        try writer.close()
      }
      try map.resize(to: page)
      prove(map.count == page && fileStatus(path).size == page)
      prove(try map.content() == PatternFile.bytes(0..<Int64(page)))
    }
  }

  @Test func `a mapping by another process alone, without a descriptor, keeps a file from being shrunk`() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      let path = try folder.file("file", PatternFile.bytes(0..<8192))
      let ready = folder.appending("ready")
      let program = """
        import mmap, os, time
        f = os.open('\(path.string)', os.O_RDONLY)
        libc = __import__('ctypes').CDLL(None)
        libc.mmap.restype = __import__('ctypes').c_void_p
        libc.mmap(None, 8192, 1, 1, f, __import__('ctypes').c_long(0))
        os.close(f)
        open('\(ready.string)', 'w').close()
        time.sleep(60)
        """
      guard Skips.require(Skips.hasProgram("python3"), "another process's mapping", install: "apt-get install python3")
      else {
        return
      }
      let child = Child.start(["python3", "-c", program])
      while access(ready.string, F_OK) != 0 { pgt_sleep_us(1000) }
      var map = try MutableMappedFile(path)
      prove(failure { try map.resize(to: 4096) }?.code == .busy)
      prove(pgt_kill(child) == 0)
      try map.resize(to: 4096)
      prove(map.count == 4096)
    }
  }

  @Test func `a view that does not reach the end, and a file that was changed, are not resized`() throws {
    let folder = try TemporaryDirectory()
    let file = try PatternFile(folder.appending("file"), size: 1000)
    var part = try MutableMappedFile(file.path, length: 999)
    #expect(failure { try part.resize(to: 2000) }?.code == .invalidRange)
    var map = try MutableMappedFile(file.path)
    try file.resize(1001)
    #expect(failure { try map.resize(to: 2000) }?.code == .invalidRange)
    try file.resize(999)
    let error = failure { try map.resize(to: 2000) }
    #expect(error?.code == .truncated && error?.detail == .fileSize(999))
    #expect(map.count == 1000 && fileStatus(file.path).size == 999)
  }

  @Test func `two who grow one file at once never cut it`() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      for round in 0..<40 {
        let path = try folder.file("file\(round)", [1])
        let children = [1, 2, 3].map { (child: Int) -> pid_t in
          let pid = fork()
          if pid != 0 { return pid }
          do {
            for _ in 0..<60 {
              let size = fileStatus(path).size
              var map = try MutableMappedFile(path)
              // Whoever loses the race is told so, and looks again.
              let wanted = map.count + 4096 * child
              if let error = failure({ try map.resize(to: wanted) }), error.code != .invalidRange { _exit(10) }
              if fileStatus(path).size < max(size, map.count) { _exit(11) }
              if map.count > 1 { try map.store(UInt8(7), at: map.count - 1) }
            }
            _exit(0)
          } catch { _exit(12) }
        }
        for child in children { prove(pgt_wait(child, 20_000) == 0) }
      }
    }
  }

  @Test func `while another program holds the lock of the file it is not resized`() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      let path = folder.appending("log")
      let owner = try GrowableMappedFile(path)
      var map = try MutableMappedFile(path)
      prove(failure { try map.resize(to: map.count + 4096) }?.code == .busy)
      try owner.close()
      try map.resize(to: map.count + 4096)
    }
  }

  @Test func `after each call that fails the view and the file are as before`() async {
    await #expect(processExitsWith: .success) {
      let page = SystemPage.size
      let folder = try TemporaryDirectory()
      var number = 0
      var sawMap = false
      var sawTruncate = false
      var sawStat = false
      for size in [page + 1, 3 * page - 5, 3 * page + 1, 9 * page, 0] {
        let runs = try CallWatch.failEachCall([.ioError, .noSpace, .interrupted, .noMemory]) { what, watch in
          number += 1
          let content = PatternFile.bytes(0..<Int64(3 * page))
          let path = try folder.file("file\(number)", content)
          var map = try MutableMappedFile(path)
          let error = watch.run { failure { try map.resize(to: size) } }
          if let error {
            prove(error.operation == .resize && error.code != .interrupted)
            prove(map.count == 3 * page && fileStatus(path).size == 3 * page)
            prove(try map.content() == content)
            // And it works.
            try map.store(UInt8(0xEE), at: 3 * page - 1)
            prove(try PatternFile.read(path, Int64(3 * page - 1)..<Int64(3 * page)) == [0xEE])
            try map.resize(to: size)
          }
          prove(map.count == size && fileStatus(path).size == size)
          try map.flush(.data)
          prove(ProcessView.descriptors { $0 == path.string }.count == 1)
          try map.close()
          prove(unlink(path.string) == 0)
        }
        let kinds = CallWatch(before: {
          sawMap = sawMap || $0.kind == .map
          sawTruncate = sawTruncate || $0.kind == .truncate
          sawStat = sawStat || $0.kind == .stat
          return .perform
        })
        let path = try folder.file("kinds", PatternFile.bytes(0..<Int64(3 * page)))
        var map = try MutableMappedFile(path)
        try kinds.run { try map.resize(to: size) }
        prove(runs >= 4 * 4)
      }
      prove(sawMap && sawTruncate && sawStat)
    }
  }
}
