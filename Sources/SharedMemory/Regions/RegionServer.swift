// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
internal import Synchronization
public import SystemPackage

/// Hands a region out to everybody who connects to a Unix socket, on a thread of its own, for as long as it lives.
///
/// The socket's file has mode 0600: for this user and root. It is taken away at the end; a leftover of a server that was killed is replaced once a
/// connection to it was refused, which proves that nobody listens.
@safe
public struct RegionServer: ~Copyable, @unchecked Sendable {
  private let run: Run
  private let worker: OpaquePointer
  private let path: FilePath

  /// How many have got the region so far.
  public var servedCount: Int { run.served.load(ordering: .relaxed) }

  internal init(_ storage: RegionStorage, at path: FilePath, as access: RegionAccess) throws(SharedMemoryError) {
    let listener = OwnedDescriptor(number: Self.listen(path))
    guard listener.number >= 0 else { throw .last("serve", region: path.string) }
    let run: Run
    do throws(SharedMemoryError) {
      run = try Run(listener, storage, access)
    } catch {
      Self.removeName(path)
      throw error
    }
    let worker = unsafe pgw_worker_start(
      { argument in
        guard let argument = unsafe argument else { return }
        unsafe Unmanaged<Run>.fromOpaque(argument).takeUnretainedValue().serve()
      }, unsafe Unmanaged.passUnretained(run).toOpaque())
    guard let worker = unsafe worker else {
      let error = SharedMemoryError.last("serve", region: path.string)
      Self.removeName(path)
      throw error
    }
    self.run = run
    unsafe self.worker = worker
    self.path = path
  }

  deinit {
    // A forked child has no thread to end, and the name is the parent's.
    guard pgw_fork_generation() == run.generation else { return }
    Self.removeName(path)
    run.end()
    unsafe pgw_worker_end(worker)
  }

  private static func removeName(_ path: FilePath) {
    _ = unsafe path.withPlatformString { unsafe pgw_unlink($0) }
  }

  private static func listen(_ path: FilePath) -> CInt {
    let listener = unsafe path.withPlatformString { unsafe pgw_socket_listen($0, 64) }
    guard listener < 0, Errno.current == .addressInUse else { return listener }
    let probe = unsafe path.withPlatformString { unsafe pgw_socket_connect($0) }
    if probe >= 0 {
      _ = pgw_close(probe)
    } else if Errno.current == .connectionRefused {
      removeName(path)
    }
    return unsafe path.withPlatformString { unsafe pgw_socket_listen($0, 64) }
  }

  /// What the thread works with. It outlives the thread, which is waited for.
  private final class Run: Sendable {
    let generation = pgw_fork_generation()
    let served = Atomic<Int>(0)
    private let listener: OwnedDescriptor
    private let stopReader: OwnedDescriptor
    private let stopWriter: OwnedDescriptor
    private let storage: RegionStorage
    private let access: RegionAccess

    init(_ listener: consuming OwnedDescriptor, _ storage: RegionStorage, _ access: RegionAccess)
      throws(SharedMemoryError)
    {
      var pair: [CInt] = [-1, -1]
      guard unsafe pair.withUnsafeMutableBufferPointer({ unsafe pgw_socket_pair($0.baseAddress) }) == 0 else {
        throw .last("serve", region: storage.name)
      }
      self.listener = listener
      stopReader = OwnedDescriptor(number: pair[0])
      stopWriter = OwnedDescriptor(number: pair[1])
      self.storage = storage
      self.access = access
    }

    func serve() {
      while pgw_wait_for_either(listener.number, stopReader.number, .max) == 1 {
        let client = OwnedDescriptor(number: pgw_socket_accept(listener.number))
        if client.number < 0 {
          // Out of descriptors: the client stays in the queue, and would be found again at once.
          if pgw_wait_for_either(stopReader.number, -1, Deadline.after(.milliseconds(50)).nanoseconds) == 1 { return }
          continue
        }
        // A client that has gone meanwhile is no failure of the server.
        if (try? storage.send(to: client.number, access)) != nil { served.wrappingAdd(1, ordering: .relaxed) }
      }
    }

    func end() { _ = unsafe "x".withCString { unsafe pgw_send_descriptors(stopWriter.number, nil, 0, $0, 1) } }
  }
}

extension SharedRegion {
  /// Hands the region out at a Unix socket until the server's end. The server keeps the region alive.
  ///
  /// ```swift
  /// let server = try region.serve(at: "/run/shop/counters.sock")
  /// ```
  ///
  /// - Parameters:
  ///   - path: at most 107 bytes; in a folder that only its user may write to.
  ///   - access: what clients may do.
  /// - Throws: ``SharedMemoryError``: `alreadyExists` when somebody serves there, `invalidArgument` when the path is too long, `permissionDenied`,
  ///   `forked`.
  public borrowing func serve(at path: FilePath, as access: RegionAccess = .readWrite) throws(SharedMemoryError)
    -> RegionServer
  {
    try check("serve")
    return try RegionServer(storage, at: path, as: access)
  }
}
