// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import Testing
import _TestSupport

/// An error that the compiler found in one of the files.
struct CompilerError: Sendable, CustomStringConvertible {
  let file: FilePath
  let line: Int
  let text: String

  var description: String { "\(file.lastComponent?.string ?? ""):\(line): \(text)" }

  /// Parses `PATH:LINE:COLUMN: error: TEXT`; nil for other lines, also for errors without a place.
  init?(_ output: Substring) {
    guard let mark = output.firstRange(of: ": error: ") else { return nil }
    let place = output[..<mark.lowerBound].split(separator: ":")
    guard place.count >= 3, let line = Int(place[place.count - 2]), line > 0 else { return nil }
    file = FilePath(place.dropLast(2).joined(separator: ":"))
    self.line = line
    text = String(output[mark.upperBound...])
  }
}

/// The toolchain's compiler, as a client of the package meets it: Swift 6, no feature flag.
///
/// The module is the one that this test program was built with, debug or release.
enum Compiler {
  /// The steps of a compilation that find errors.
  enum Stage: String {
    /// Names, types, conformances.
    case types = "-typecheck"
    /// Ownership, lifetimes, exclusivity and data races: found only once the types are right, in the intermediate language.
    case ownership = "-emit-sil"
  }

  struct Result: Sendable {
    var errors: [CompilerError]
    /// Output of a compiler that failed and named no place: not ours to judge.
    var breakdown: String? = nil

    func errors(in file: FilePath) -> [CompilerError] { errors.filter { $0.file == file } }
  }

  static let isInstalled = Skips.hasProgram("swiftc")

  /// Compiles the files, which are independent of each other, in one run.
  static func run(_ stage: Stage, _ files: [FilePath], flags: [String]) throws -> Result {
    guard !files.isEmpty else { return Result(errors: []) }
    let arguments = ["swiftc", stage.rawValue, "-o", "/dev/null"] + client + flags + files.map(\.string)
    let child = try Child.run(arguments, seconds: 300)
    let errors = child.output.split(separator: "\n").compactMap { CompilerError($0) }
    let isBroken = child.status != 0 && (errors.isEmpty || child.status > 1)
    return Result(errors: errors, breakdown: isBroken ? "status \(child.status): \(child.output.prefix(4000))" : nil)
  }

  /// Takes the files through both stages. A wrong type hides all ownership errors of the run, so only files without one go
  /// on to the second.
  static func diagnose(_ files: [FilePath], flags: [String]) throws -> Result {
    var result = try run(.types, files, flags: flags)
    let sound = files.filter { result.errors(in: $0).isEmpty }
    let second = try run(.ownership, sound, flags: flags)
    result.errors += second.errors
    result.breakdown = result.breakdown ?? second.breakdown
    return result
  }

  /// What a package manager passes for a client that only depends on the package.
  private static let client: [String] = {
    // The folder of the running program is that of the products: SCRATCH/TRIPLE/CONFIGURATION.
    let products = program.removingLastComponent()
    let scratch = products.removingLastComponent().removingLastComponent()
    return [
      "-swift-version", "6", "-parse-as-library", "-wmo", "-module-name", "Client", "-diagnostic-style", "llvm",
      "-module-cache-path", products.appending("ModuleCache").string,
      "-I", products.appending("Modules").string,
      "-Xcc", "-fmodule-map-file=\(products.appending("CPlatform.build/module.modulemap"))",
      "-I", scratch.appending("checkouts/swift-system/Sources/CSystem/include").string,
    ]
  }()

  private static var program: FilePath {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink("/proc/self/exe", &buffer, buffer.count)
    return FilePath(String(decoding: buffer.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self))
  }
}

extension Trait where Self == ConditionTrait {
  /// Only where the compiler can be started. Says so loudly where it is not.
  static var needsCompiler: Self {
    .enabled("needs swiftc") {
      Skips.require(Compiler.isInstalled, "rejected programs", install: "put the toolchain's swiftc into PATH")
    }
  }
}
