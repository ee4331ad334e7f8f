// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
internal import SystemPackage

/// A server's socket, and its name in a folder.
///
/// Names are made and taken away under a lock of the folder. Without it a server that has proved that a socket is a leftover could take away the one that
/// another server has put in its place since, and a socket that is bound and does not listen yet would look like a leftover.
internal struct RegionSocket: ~Copyable {
  private let made: OwnedDescriptor
  private let folder: OwnedDescriptor
  private let name: FilePath
  /// What the name meant when it was made.
  private let identity: pgw_stat

  internal var listener: CInt { made.number }

  /// How long to wait for another server that begins or ends in the folder, which takes it less than a millisecond.
  private static let patience = Duration.seconds(2)
  private static let lastPatience = Duration.milliseconds(100)

  /// Listens at a path. A leftover on which nobody listens is replaced.
  ///
  /// - Throws: ``SharedMemoryError``: `alreadyExists` while somebody listens there, `invalidArgument`, `notFound` without the folder, `permissionDenied`,
  ///   `inUse` while another process has locked the folder.
  internal init(_ path: FilePath) throws(SharedMemoryError) {
    guard let last = path.lastComponent, last.kind == .regular else {
      throw SharedMemoryError(.invalidArgument, "serve", region: path.string, note: "the path names no file")
    }
    let parent = path.removingLastComponent()
    let folder = OwnedDescriptor(
      number: unsafe (parent.isEmpty ? "." : parent).withPlatformString { unsafe pgw_open_linked_folder($0) })
    guard folder.number >= 0 else { throw .last("serve", region: path.string) }
    KillPoints.pass("socket.make.lock")
    guard Self.lock(folder.number, Self.patience) else {
      throw SharedMemoryError(
        .inUse, "serve", region: path.string, note: "another process has had the folder's lock for 2 s")
    }
    let made = OwnedDescriptor(number: Self.listen(path))
    KillPoints.pass("socket.make.listening")
    let name = FilePath(root: nil, [last])
    var found = pgw_stat()
    let isMade =
      unsafe made.number >= 0
      && name.withPlatformString({ unsafe pgw_stat_at(folder.number, $0, false, &found) }) == 0
    let error = isMade ? nil : SharedMemoryError.last("serve", region: path.string)
    _ = pgw_unlock_folder(folder.number)
    if let error { throw error }
    self.made = made
    self.folder = folder
    self.name = name
    identity = found
  }

  /// Takes the name away, unless it means another file by now.
  internal borrowing func remove() {
    let isLocked = Self.lock(folder.number, Self.lastPatience)
    defer { if isLocked { _ = pgw_unlock_folder(folder.number) } }
    var found = pgw_stat()
    _ = unsafe name.withPlatformString { name in
      guard unsafe pgw_stat_at(folder.number, name, false, &found) == 0, found.inode == identity.inode,
        found.device == identity.device
      else { return CInt(0) }
      KillPoints.pass("socket.remove.unlink")
      return unsafe pgw_unlink_in(folder.number, name)
    }
  }

  /// False when another process has the lock for longer than it takes to begin or end. Where folders cannot be locked all goes on without.
  private static func lock(_ folder: CInt, _ patience: Duration) -> Bool {
    let patience = Deadline.after(patience)
    while pgw_lock_folder(folder) != 0, Errno.current == .wouldBlock {
      if patience.hasPassed { return false }
      Deadline.nap(.after(.milliseconds(1)))
    }
    return true
  }

  /// A file that is none refuses a connection as well.
  private static func isSocket(_ path: FilePath) -> Bool {
    var found = pgw_stat()
    return unsafe path.withPlatformString { unsafe pgw_stat_path($0, false, &found) } == 0
      && found.mode & 0o170000 == 0o140000
  }

  private static func listen(_ path: FilePath) -> CInt {
    let listener = unsafe path.withPlatformString { unsafe pgw_socket_listen($0, 64) }
    guard listener < 0, Errno.current == .addressInUse else { return listener }
    let probe = unsafe path.withPlatformString { unsafe pgw_socket_connect($0, Deadline.now.nanoseconds) }
    if probe >= 0 {
      _ = pgw_close(probe)
    } else if Errno.current == .connectionRefused, isSocket(path) {
      KillPoints.pass("socket.make.replace")
      _ = unsafe path.withPlatformString { unsafe pgw_unlink($0) }
    }
    KillPoints.pass("socket.make.again")
    return unsafe path.withPlatformString { unsafe pgw_socket_listen($0, 64) }
  }
}
