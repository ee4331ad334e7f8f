// SPDX-License-Identifier: Apache-2.0

/// What the steps of mapping and reading cost on this machine, in seconds.
///
/// ``builtIn`` holds figures of an ordinary server of 2025, good enough wherever the choice is not close. ``measured()``
/// asks the machine itself.
public struct Calibration: Sendable, Hashable {
  /// One read call that copies next to nothing.
  public var readCall: Double
  /// The same on a large file at a random place, where the kernel's index is not in the CPU's cache.
  public var readCallFar: Double
  /// One byte copied by a read call into a small buffer that is used again.
  public var copyByte: Double
  /// One byte copied from memory that the CPU's cache does not hold.
  public var copyByteFar: Double
  /// One byte of a new large buffer: the kernel clears the page and maps it.
  public var freshByte: Double
  /// Map and unmap, with the first fault and the guard.
  public var mapping: Double
  /// One fault.
  public var fault: Double
  /// Each page that a fault maps.
  public var faultPage: Double
  /// Each page that loading ahead maps (`MADV_POPULATE_READ`).
  public var populatePage: Double
  /// One byte that the program itself fetches from the page cache, which a read call would have fetched for it.
  public var touchByte: Double
  /// One checked load from a mapping or a buffer.
  public var load: Double
  /// One request to the device, from the call to the bytes.
  public var deviceRequest: Double
  /// One byte from the device in a sequential pass.
  public var deviceByte: Double
  /// True when measured here.
  public var isMeasured: Bool

  /// Figures to begin with: a virtual server, Linux 6.18, an SSD.
  public static let builtIn = Calibration(
    readCall: 0.42e-6, readCallFar: 0.6e-6, copyByte: 0.04e-9, copyByteFar: 0.10e-9, freshByte: 0.4e-9,
    mapping: 6.5e-6, fault: 0.9e-6, faultPage: 0.02e-6, populatePage: 0.14e-6, touchByte: 0.02e-9, load: 5e-9,
    deviceRequest: 50e-6, deviceByte: 0.55e-9, isMeasured: false)
}

extension Calibration {
  /// Names of the figures in the stored form, in its order. A new name needs a new format version.
  internal static let fields: [(name: String, path: any WritableKeyPath<Calibration, Double> & Sendable)] = [
    ("read_call", \.readCall), ("read_call_far", \.readCallFar), ("copy_byte", \.copyByte),
    ("copy_byte_far", \.copyByteFar), ("fresh_byte", \.freshByte), ("mapping", \.mapping), ("fault", \.fault),
    ("fault_page", \.faultPage), ("populate_page", \.populatePage), ("touch_byte", \.touchByte), ("load", \.load),
    ("device_request", \.deviceRequest), ("device_byte", \.deviceByte),
  ]

  /// Whether every figure is one that a machine can have: above zero, below a second for a step.
  public var isPlausible: Bool {
    Self.fields.allSatisfy { field in
      let value = self[keyPath: field.path]
      return value.isFinite && value > 0 && value < 1
    }
  }
}
