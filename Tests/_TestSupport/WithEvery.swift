// SPDX-License-Identifier: Apache-2.0

public import Testing

/// The combination that is being tried, outermost first.
public enum Combination {
  @TaskLocal public static var trail: [String] = []
}

/// Runs `body` for each value. A failed `check` inside, or a thrown error, prints the combination that led to it.
public func withEvery<Values: Sequence>(
  _ name: String, in values: Values, location: SourceLocation = #_sourceLocation,
  _ body: (Values.Element) throws -> Void
) {
  for value in values {
    Combination.$trail.withValue(Combination.trail + ["\(name): \(value)"]) {
      do {
        try body(value)
      } catch {
        Issue.record("threw \(error) with \(Combination.trail.joined(separator: ", "))", sourceLocation: location)
      }
    }
  }
}

/// Like `#expect`, with the combination of ``withEvery(_:in:location:_:)`` in the message.
public func check(
  _ condition: Bool, _ message: @autoclosure () -> String = "does not hold",
  location: SourceLocation = #_sourceLocation
) {
  guard !condition else { return }
  let trail = Combination.trail.joined(separator: ", ")
  Issue.record("\(message())\(trail.isEmpty ? "" : " with \(trail)")", sourceLocation: location)
}
