// SPDX-License-Identifier: Apache-2.0

public import MemoryMapping

/// What was met on the way through a folder and all below it.
public struct WalkCounts: Sendable {
  /// Regular files, each once.
  public package(set) var files = 0
  /// Folders that were listed, the first one among them.
  public package(set) var folders = 0
  /// Bytes of the files.
  public package(set) var bytes: Int64 = 0
  /// Second names of files that were counted already.
  public package(set) var hardLinks = 0
  /// Symbolic links that were not followed.
  public package(set) var links = 0
  /// Folders that were met a second time, by following a link.
  public package(set) var loops = 0
  /// FIFOs, sockets and devices, which are never opened.
  public package(set) var special = 0
  /// Folders on other file systems, left out by request.
  public package(set) var otherFileSystems = 0
  /// Files and folders whose names were not asked for.
  public package(set) var notMeant = 0
  /// Files that were counted under an earlier path.
  public package(set) var countedBefore = 0
  /// Entries that could not be looked at.
  public package(set) var failures = 0
  /// The first of them.
  public package(set) var firstFailures: [MappingError] = []

  package init() {}
}
