// SPDX-License-Identifier: Apache-2.0

/// The named steps at which a test can end the process: before each access to a word that processes share, and before each call of the
/// kernel that others see. Debug builds only.
@_spi(Testing) public enum KillPoints {
  #if PAGEWISE_KILL_POINTS
    /// Called with the name of each step, on the thread that takes it. Set it before anything else runs.
    nonisolated(unsafe) public static var hook: (@convention(c) (UnsafePointer<UInt8>) -> Void)? = nil

    @inline(__always)
    internal static func pass(_ step: StaticString) {
      if let hook = unsafe hook { unsafe hook(step.utf8Start) }
    }
    public static let areCompiledIn = true
  #else
    @inline(__always)
    internal static func pass(_ step: StaticString) {}
    public static let areCompiledIn = false
  #endif
}
