// SPDX-License-Identifier: Apache-2.0

import SystemPackage
import Testing

/// Misuse is a compile error, with the message that is promised and on the line that is at fault.
@Suite struct RejectedProgramTests {
  /// All programs are compiled together, twice per set of flags, the first time a test asks.
  private static let rejected = Swift.Result { try compile(["-D", "REJECTED"]) }
  private static let twins = Swift.Result { try compile([]) }

  private static func compile(_ flags: [String]) throws -> Compiler.Result {
    var all = Compiler.Result(errors: [])
    for (own, programs) in Dictionary(grouping: RejectedProgram.all, by: \.flags) {
      let result = try Compiler.diagnose(programs.map(\.path), flags: own + flags)
      all.errors += result.errors
      all.breakdown = all.breakdown ?? result.breakdown
    }
    return all
  }

  @Test("a bad program is rejected for the stated reason only", .needsCompiler, arguments: RejectedProgram.all)
  func isRejected(_ program: RejectedProgram) throws {
    let result = try Self.rejected.get()
    #expect(result.breakdown == nil)
    #expect(!program.expected.isEmpty, "\(program.path) states no error")
    let complaints = program.complaints(about: result.errors(in: program.path))
    if let known = program.knownIssue {
      withKnownIssue("\(known)") { #expect(complaints == []) }
    } else {
      #expect(complaints == [])
    }
  }

  @Test("its good twin compiles, so that the error is the misuse's", .needsCompiler, arguments: RejectedProgram.all)
  func twinCompiles(_ program: RejectedProgram) throws {
    let result = try Self.twins.get()
    #expect(result.breakdown == nil)
    #expect(result.errors(in: program.path).map(\.description) == [])
  }

  @Test("the programs are found")
  func programsAreFound() {
    #expect(RejectedProgram.all.count > 90)
  }

  @Test("a missing, misplaced, different or further error is a complaint")
  func judgement() throws {
    let text = """
      // flags: -a -b
      func program() {
        // expected-error: used after consume
        let map = open()
        close(map)
      }
      """
    let program = RejectedProgram("/P.swift", text: text)
    #expect(program.flags == ["-a", "-b"])
    func complaints(_ output: String...) throws -> Int {
      program.complaints(about: try output.map { try #require(CompilerError($0[...])) }).count
    }
    let right = "/P.swift:4:7: error: 'map' used after consume"
    #expect(try complaints(right) == 0)
    #expect(try complaints(right, "/P.swift:9:1: error: This is a compiler bug. Please file it.") == 0)
    #expect(try complaints() == 1)
    #expect(try complaints("/P.swift:5:7: error: 'map' used after consume") == 2)
    #expect(try complaints("/P.swift:4:7: error: cannot find 'open' in scope") == 2)
    #expect(try complaints(right, "/P.swift:4:3: error: something else") == 1)
    #expect(CompilerError("/P.swift:4:7: warning: never used") == nil)
    #expect(CompilerError("<unknown>:0: error: missing required module 'CPlatform'") == nil)
  }

  @Test("a compiler that fails without naming a place is told from a rejected program", .needsCompiler)
  func breakdown() throws {
    let result = try Compiler.run(.types, ["/nowhere/Missing.swift"], flags: [])
    #expect(result.errors.isEmpty)
    #expect(result.breakdown != nil)
  }
}
