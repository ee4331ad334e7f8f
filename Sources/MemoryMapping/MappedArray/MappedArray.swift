// SPDX-License-Identifier: Apache-2.0

public import SystemPackage

/// A typed array that lives in a file, which NumPy reads and writes, too.
///
/// ```swift
/// var samples = try MappedArray<Float>("samples.npy", creating: .ifMissing(shape: [0, 3]))
/// try samples.append(contentsOf: [0.5, 1.5, 2.5])
/// try samples.commit()
/// let sum = try samples.withSpan { span in span.indices.reduce(0) { $0 + span[$1] } }
/// try samples.close()
/// // Python: numpy.load("samples.npy", mmap_mode="r")
/// ```
///
/// The file is a `.npy` file (``NumPyHeader``) in C order and in this machine's byte order: a header, then the elements and
/// nothing else. Elements are numbers (``NumPyElement``), or any ``FixedLayout`` struct, which is stored as raw bytes of its size
/// (`|V24`; in Python `a.view(dtype)` gives them names). The first dimension can grow and shrink: its elements are the rows.
/// ``MappedArrayReader`` reads files of others without changing them, also those in the other byte order.
///
/// **Two modes**, chosen when the array is opened:
///
/// | | ``MappedArrayMode/inPlace`` | ``MappedArrayMode/atomic`` |
/// |---|---|---|
/// | changed elements | are in the file at once, for every process; no order, never atomic | are private until ``commit(_:)`` |
/// | ``commit(_:)`` | makes them durable, then the new number of rows | makes all changes visible and durable, all or none of them |
/// | after a power cut | the number of rows is one that was committed, and every row that was appended below it is whole | exactly the last commit |
/// | ``rollback()`` | not supported | forgets the changes |
/// | built on | ``MutableMappedFile`` | ``TransactionalFile``, with a journal beside the file |
/// | cost of a commit | two syncs, or one without a new number of rows | one sync and a copy of what changed |
///
/// **Appending.** Rows that were appended are in the array for this object alone until ``commit(_:)`` writes the new number into
/// the header; an array that ends without it is as long as it was. In place the file is made longer ahead of the appends, with
/// blocks behind it, so it can be longer than its header says: that is allowed in `.npy`, and ``close()`` cuts it. In place a header
/// never states a row that is not on disk whole.
///
/// **One writer**, by a lock that the kernel gives back when the process ends. NumPy takes no lock: elements that a program maps
/// with `mmap_mode="r+"` and changes are seen here at once when they are in place. Do not let others change an array that is open as
/// `.atomic`.
///
/// **What can happen to you** is as for ``MutableMappedFile``: a full disk, a failed device and a file that somebody cuts are errors.
@safe
public struct MappedArray<Element: FixedLayout>: ~Copyable, Sendable {
  internal var file: ArrayFile
  /// How it was opened.
  public let mode: Mode

  /// How changes get into the file.
  public typealias Mode = MappedArrayMode
  /// Whether the file is made when there is none.
  public typealias Creation = MappedArrayCreation

  /// Opens the array at `path` for reading and writing, or makes it.
  ///
  /// - Parameters:
  ///   - path: of a regular file.
  ///   - creation: whether to make the file, whose name is durable then. The blocks of a new array in place are allocated.
  ///   - mode: how changes get into the file.
  ///   - permissions: of a file that is made, before the umask.
  ///   - minimumHeaderSize: where the elements of a file that is made begin at the earliest, bytes: for instance a page. NumPy refuses
  ///     headers of more than 10,000 bytes unless it is told otherwise.
  ///   - transactions: how the atomic mode opens its file.
  /// - Throws: ``MappingError``: `invalidLayout` with a note that says why for a file that is no `.npy` file, holds another type,
  ///   another size or byte order, Fortran order, other dimensions, or fewer elements than it says; `busy` while another writer has
  ///   it; `wrongState` in place beside a journal with commits; `notFound`, `noSpace`, and those of ``MutableMappedFile`` and
  ///   ``TransactionalFile``.
  public init(
    _ path: FilePath, creating creation: Creation = .never, mode: Mode = .inPlace,
    permissions: FilePermissions = [.ownerReadWrite, .groupRead, .otherRead], minimumHeaderSize: Int = 0,
    transactions: TransactionalFile.Options = .init()
  ) throws(MappingError) {
    let shape: [Int]?
    switch creation {
    case .never: shape = nil
    case .ifMissing(let wanted), .exclusive(let wanted): shape = wanted
    }
    var isExclusive = false
    if case .exclusive = creation { isExclusive = true }
    let element: ArrayElement
    do throws(MappingError) { element = try ArrayElement(Element.self) } catch { throw error.at(path) }
    let request = ArrayFile.Request(
      path: path, shape: shape, isExclusive: isExclusive, minimumHeaderSize: minimumHeaderSize,
      permissions: permissions, element: element, transactions: transactions)
    let file: ArrayFile
    switch mode {
    case .inPlace: file = try ArrayFile.openInPlace(request)
    case .atomic: file = try ArrayFile.openAtomic(request)
    }
    self.file = file
    self.mode = mode
  }

  /// The file's path, as it was given.
  public var path: FilePath { file.path }
  /// Elements along each dimension, with rows that are not committed. Empty for a single value.
  public var shape: [Int] { file.shape }
  /// Elements between neighbours along each dimension. (NumPy's are bytes.)
  public var strides: [Int] { NumPyHeader.strides(of: file.shape) }
  /// Elements of all rows.
  public var count: Int { file.rows * file.rowCount }
  /// True without elements.
  public var isEmpty: Bool { count == 0 }
  /// Rows: the first dimension. 1 for a single value.
  public var rowCount: Int { file.rows }
  /// Elements of one row.
  public var elementsPerRow: Int { file.rowCount }
  /// Rows that the header in the file states: those that readers see.
  public var committedRowCount: Int { file.committed.rows }
  /// Rows that can be appended up to before the file is made longer.
  public var capacity: Int {
    file.rowSize == 0 ? file.rows : max(file.rows, (file.fileCount - file.dataOffset) / file.rowSize)
  }
  /// The header as it stands in the file.
  public var header: NumPyHeader { file.committed.header }
  /// True once a sync has failed: nothing is written any more. Final.
  public var isPoisoned: Bool {
    switch file.inPlace {
    case .some(let map): return map.isPoisoned
    case .none: break
    }
    switch file.atomic {
    case .some(let file): return file.isPoisoned
    case .none: return false
    }
  }

  /// Closes the array without committing: what was not committed is not in it, but for elements that were changed in place.
  ///
  /// In place the room behind the rows is given back where nobody else has the file open. The end of scope closes, too, and leaves
  /// that to the next `close()`.
  ///
  /// - Throws: ``MappingError`` when the kernel refuses, or when a commit of the atomic mode could not be brought into the file.
  public consuming func close() throws(MappingError) { try file.close() }
}

/// How changes of a ``MappedArray`` get into its file.
public enum MappedArrayMode: Sendable, Hashable {
  /// At once, through a shared mapping.
  case inPlace
  /// All together, by a commit.
  case atomic
}

/// Whether the file of a ``MappedArray`` is made when there is none.
public enum MappedArrayCreation: Sendable, Hashable {
  /// The file must be there.
  case never
  /// Makes an array of zeros of this shape where there is none, or an empty file. One that is there must have the same
  /// dimensions but the first, and its own number of rows stays.
  case ifMissing(shape: [Int])
  /// Makes an array of zeros of this shape; refused (`alreadyExists`) when there is a file.
  case exclusive(shape: [Int])
}
