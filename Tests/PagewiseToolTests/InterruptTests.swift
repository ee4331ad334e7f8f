// SPDX-License-Identifier: Apache-2.0

import SystemPackage
import Testing
import _TestSupport

/// Ctrl-C, progress, and files that change while they are measured.
@Suite(.serialized) struct InterruptTests {
  /// Not by `exec`: a shell lets its children have the signals that threads of the test program block.
  private static let interrupt = "timeout --foreground --preserve-status -s INT 0.7 \"$@\"; exit $?"

  private static func hasTimeout() -> Bool {
    Skips.require(Skips.hasProgram("timeout"), "interrupting", install: "apt-get install coreutils")
  }

  @Test func `an interrupted run prints what it has, and ends with 130`() throws {
    guard Self.hasTimeout() else { return }
    let tool = try Tool()
    let path = tool.folder.appending("f")
    _ = try PatternFile(path, size: 32 << 20, windows: [0..<4096])
    let arguments = ["advise", "--seconds", "600", path.string, path.string]
    let result = try withWatchdog("interrupt") { try tool.run(arguments, shell: Self.interrupt, seconds: 30) }
    #expect(result.status == 130)
    #expect(result.output.hasPrefix(path.string) && result.output.contains("Interrupted: rows are missing."))
    #expect(result.errors == "pagewise: interrupted; what was found until then is above.\n")

    let json = try tool.run(
      ["advise", "--json", "--seconds", "600", path.string, path.string], shell: Self.interrupt, seconds: 30)
    #expect(json.status == 130)
    let value = try json.json()
    #expect(value["interrupted"] == .bool(true) && value["reports"].items.count == 1)
    #expect(value["reports"].items.first?["measuring"]["interrupted"] == .bool(true))
  }

  @Test func `waiting for a list is interrupted at once`() throws {
    guard Self.hasTimeout() else { return }
    let tool = try Tool()
    // Nobody writes into the FIFO, but it stays open.
    let shell = """
      mkfifo "$STREAMS/fifo" && exec 3<>"$STREAMS/fifo"
      timeout --foreground --preserve-status -s INT 0.3 "$@" <&3; echo $?
      """
    let result = try withWatchdog("list") { try tool.run(["advise", "-"], shell: shell, seconds: 20) }
    #expect(result.output == "130\n", "\(result)")
  }

  @Test func `a job that was started with the signal ignored goes on`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("f", [1])
    // A shell without job control starts background jobs so.
    let result = try tool.run(
      ["advise", "--seconds", "1", path.string, path.string],
      shell: "\"$@\" & sleep 0.2; kill -INT $! && wait $!")
    #expect(result.status == 0 && !result.output.contains("Interrupted"), "\(result)")
  }

  @Test func `progress is told on standard error where it is asked for`() throws {
    let tool = try Tool()
    let path = tool.folder.appending("f")
    _ = try PatternFile(path, size: 64 << 20, windows: [0..<4096])
    let result = try tool.run(["advise", "--seconds", "2.5", "--progress", path.string])
    #expect(result.status == 0)
    #expect(result.errors.contains("random") && result.errors.contains("%"), "\(result.errors)")
    #expect(!result.errors.contains("\u{1B}") && !result.output.contains(" %\n"))
    let quiet = try tool.run(["advise", "--seconds", "2", path.string])
    #expect(quiet.errors.isEmpty)
  }

  @Test func `a file that is cut by another process while measured has its sentence, each time`() throws {
    let tool = try Tool()
    let path = tool.folder.appending("f")
    withWatchdog("cut") {
      for turn in 0..<8 {
        _ = try? PatternFile(path, size: 300_000)
        let cut = "( sleep 0.0\(turn + 1); truncate -s \(turn * 1000) \"$TARGET\" ) & "
        guard
          let result = try? tool.run(
            ["advise", "--seconds", "1", path.string], shell: cut + "exec \"$@\"",
            environment: ["TARGET": path.string])
        else { continue }
        // The cut can come before the tool has looked at the file: then it is a smaller file.
        let isSmall = result.status == 0 && !result.output.contains("300,000 bytes")
        let isNamed = result.status == 1 && result.errors.contains("the file was cut while in use")
        #expect(isSmall || isNamed, "\(result)")
        #expect(result.status == 0 || result.output.isEmpty)
      }
    }
  }
}
