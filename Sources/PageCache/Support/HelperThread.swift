// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import Synchronization

/// Work that waits for a device, on a thread of its own, while the caller looks after it.
///
/// Not a task: a thread of the cooperative pool must not wait for a device, and the caller has closures that stay on its thread.
internal enum HelperThread {
  /// Runs `work` on a new thread, and `watch` on this one every tenth of a second until it is done, and once more then. Where no
  /// thread can be had, the work is done on this one, and `watch` runs before and after it.
  internal static func run<R: Sendable>(_ work: @escaping @Sendable () -> R, watch: () -> Void) -> R {
    let outcome = Outcome<R>()
    let job = Job { outcome.value.withLock { $0 = work() } }
    let worker = unsafe pgw_worker_start(
      { argument in
        guard let argument = unsafe argument else { return }
        unsafe Unmanaged<Job>.fromOpaque(argument).takeUnretainedValue().work()
      }, unsafe Unmanaged.passUnretained(job).toOpaque())
    if let worker = unsafe worker {
      while unsafe !pgw_worker_wait(worker, 100) { watch() }
      unsafe pgw_worker_end(worker)
    } else {
      watch()
      job.work()
    }
    watch()
    return withExtendedLifetime(job) { outcome.value.withLock { $0! } }
  }

  private final class Outcome<R: Sendable>: Sendable {
    let value = Mutex<R?>(nil)
  }

  private final class Job: Sendable {
    let work: @Sendable () -> Void
    init(_ work: @escaping @Sendable () -> Void) { self.work = work }
  }
}
