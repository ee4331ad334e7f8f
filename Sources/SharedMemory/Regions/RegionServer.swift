// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
internal import Synchronization
public import SystemPackage

/// Hands a region out to everybody who connects to a Unix socket, on a thread of its own, for as long as it lives.
///
/// The socket's file has mode 0600: for this user and root. It is taken away at the end; a leftover of a server that was killed is replaced once a
/// connection to it was refused, which proves that nobody listens. Of several servers that find the same leftover one takes it over, and the others are told
/// `alreadyExists`.
@safe
public struct RegionServer: ~Copyable, @unchecked Sendable {
  private let run: Run
  private let worker: OpaquePointer

  /// How many have got the region so far, servers that asked whether this one lives among them.
  public var servedCount: Int { run.served.load(ordering: .relaxed) }

  /// Serves for ever: for programs that do nothing else.
  ///
  /// A value lives until its last use, so a server that only stands in a variable before an endless loop may end before the loop.
  @available(*, noasync, message: "it blocks the thread")
  public borrowing func wait() -> Never {
    while true { Deadline.nap(.after(.seconds(3600))) }
  }

  internal init(_ storage: RegionStorage, at path: FilePath, as access: RegionAccess) throws(SharedMemoryError) {
    let run = try Run(path, storage, access)
    let worker = unsafe pgw_worker_start(
      { argument in
        guard let argument = unsafe argument else { return }
        unsafe Unmanaged<Run>.fromOpaque(argument).takeUnretainedValue().serve()
      }, unsafe Unmanaged.passUnretained(run).toOpaque())
    guard let worker = unsafe worker else {
      let error = SharedMemoryError.last("serve", region: path.string)
      run.socket.remove()
      throw error
    }
    self.run = run
    unsafe self.worker = worker
  }

  deinit {
    // A forked child has no thread to end, and the name is the parent's.
    guard pgw_fork_generation() == run.generation else { return }
    run.socket.remove()
    run.end()
    unsafe pgw_worker_end(worker)
  }

  /// What the thread works with. It outlives the thread, which is waited for.
  private final class Run: Sendable {
    let generation = pgw_fork_generation()
    let served = Atomic<Int>(0)
    let socket: RegionSocket
    private let stopReader: OwnedDescriptor
    private let stopWriter: OwnedDescriptor
    private let storage: RegionStorage
    private let access: RegionAccess

    init(_ path: FilePath, _ storage: RegionStorage, _ access: RegionAccess) throws(SharedMemoryError) {
      var pair: [CInt] = [-1, -1]
      guard unsafe pair.withUnsafeMutableBufferPointer({ unsafe pgw_socket_pair($0.baseAddress) }) == 0 else {
        throw .last("serve", region: storage.name)
      }
      let stopReader = OwnedDescriptor(number: pair[0])
      let stopWriter = OwnedDescriptor(number: pair[1])
      socket = try RegionSocket(path)
      self.stopReader = stopReader
      self.stopWriter = stopWriter
      self.storage = storage
      self.access = access
    }

    func serve() {
      while pgw_wait_for_either(socket.listener, stopReader.number, .max) == 1 {
        let client = OwnedDescriptor(number: pgw_socket_accept(socket.listener))
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
  ///   - path: at most 107 bytes; in a folder that only its user may open: servers keep out of each other's way by a lock of the folder (`flock`), and who can open it can
  ///     hold that.
  ///   - access: what clients may do.
  /// - Throws: ``SharedMemoryError``: `alreadyExists` when somebody serves there, `invalidArgument` when the path is too long, `permissionDenied`,
  ///   `inUse` when another process has locked the folder, `forked`.
  public borrowing func serve(at path: FilePath, as access: RegionAccess = .readWrite) throws(SharedMemoryError)
    -> RegionServer
  {
    try check("serve")
    return try RegionServer(storage, at: path, as: access)
  }
}
