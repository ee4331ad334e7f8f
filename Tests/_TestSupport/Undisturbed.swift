// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage
public import Testing

/// A test that knows which pages are in memory is right only as long as the system takes none of them away: for want of memory, or
/// because it reclaims what looks idle (DAMON). The kernel counts what it takes for want of memory, and nothing that DAMON takes. A test that fails while
/// the count rose, or while DAMON is at work, is run again, five times at most; the last run counts as it is.
public struct UndisturbedTrait: TestTrait, SuiteTrait, TestScoping {
  public var isRecursive: Bool { true }

  public func scopeProvider(for test: Test, testCase: Test.Case?) -> UndisturbedTrait? { testCase == nil ? nil : self }

  public func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    for _ in 0..<5 {
      let before = Self.taken
      let hasFailed = Locked(false)
      try await withKnownIssue("the system took pages away", isIntermittent: true) {
        try await function()
      } matching: { _ in
        guard Self.taken != before || Self.reclaimsIdlePages else { return false }
        hasFailed.withLock { $0 = true }
        return true
      }
      if !hasFailed.withLock({ $0 }) { return }
    }
    Skips.note("five runs without pages taken away by the system", install: "a machine with free memory")
    try await function()
  }

  /// Whether a thread of the kernel watches for idle pages. What it does with them only root may ask.
  private static let reclaimsIdlePages = ProcessView.numbers(in: "/proc").contains {
    ProcessView.text(FilePath("/proc/\($0)/comm")).hasPrefix("kdamond")
  }

  /// Pages that the kernel has taken since it started, for want of memory; 0 where it does not count.
  private static var taken: Int {
    ProcessView.text("/proc/vmstat").split(separator: "\n").filter { $0.hasPrefix("pgsteal_") }.reduce(0) {
      $0 &+ (Int($1.split(separator: " ").last ?? "") ?? 0)
    }
  }
}

extension Trait where Self == UndisturbedTrait {
  /// Run again where the system took pages away. Not for tests that make it do so.
  public static var undisturbed: Self { UndisturbedTrait() }
}
