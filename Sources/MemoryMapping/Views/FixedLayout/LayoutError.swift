// SPDX-License-Identifier: Apache-2.0

/// A type or a record size that bytes of a file cannot be read as: which, which bytes are at fault,
/// and the remedy.
public struct LayoutError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The type that was asked for.
  public let typeName: String
  /// What is wrong with it.
  public let problem: Problem

  internal init(typeName: String, problem: Problem) {
    self.typeName = typeName
    self.problem = problem
  }

  /// A defect of a layout. Offsets are bytes from the start of the type. New kinds may be added.
  public enum Problem: Sendable, Hashable {
    /// No field covers these bytes: padding, or a stored property that `describeLayout` does not
    /// name.
    case gap(Range<Int>)
    /// Two fields cover these bytes: a property was named twice, or a part besides its whole.
    case overlap(Range<Int>)
    /// The description names a property of this type that has no place in memory, because it is
    /// computed or observed.
    case notStored(typeName: String)
    /// A tuple of this type has padding between its elements.
    case paddingInField(typeName: String)
    /// A field's own type, named here, has a defect.
    indirect case field(typeName: String, Problem)
    /// The description names the whole value (`\.self`), which proves nothing.
    case describesItself
    /// The type has no bytes, so a file holds no number of it.
    case empty
    /// A record size that is zero or negative: no step could be made. In bytes.
    case strideNotPositive(Int)
  }

  /// One line that ends with a remedy.
  public var description: String {
    "\(typeName) is no fixed layout: \(problem.text.reason). \(problem.text.remedy)"
  }
}

extension LayoutError.Problem {
  internal var text: (reason: String, remedy: String) {
    switch self {
    case .gap(let range):
      (
        "no field covers bytes \(range.lowerBound)..<\(range.upperBound)",
        "Name every stored property in describeLayout; where all are named it is padding: order the fields from wide to"
          + " narrow, or add a field such as `var reserved: [\(range.count) of UInt8]`."
      )
    case .overlap(let range):
      (
        "two fields cover bytes \(range.lowerBound)..<\(range.upperBound)",
        "Name each stored property once, and either a whole or its parts."
      )
    case .notStored(let typeName):
      (
        "a property of type \(typeName) is not stored, so it has no offset",
        "Name stored properties without observers only."
      )
    case .paddingInField(let typeName):
      ("the tuple \(typeName) has padding", "Replace it by separate fields or by an InlineArray.")
    case .field(let typeName, let problem):
      ("in its field of type \(typeName), \(problem.text.reason)", problem.text.remedy)
    case .describesItself:
      ("it names itself as its field", "Name the stored properties, not the whole value.")
    case .empty:
      ("it has no bytes", "Use a type with at least one stored property.")
    case .strideNotPositive(let stride):
      ("a record of \(stride) bytes is no record", "Check the header that the size came from.")
    }
  }
}
