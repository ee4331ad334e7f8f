// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

/// Settings shared by every Swift target.
///
/// - `strictMemorySafety`: each unsafe expression is marked, so that a reader can find them.
/// - `Lifetimes`: spans borrowed from an owner (`@_lifetime`); clients need no flag.
/// - the upcoming features make imports and existentials explicit.
let swiftSettings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableExperimentalFeature("Lifetimes"),
]

/// Tests touch raw memory in nearly every line, so they go without the `unsafe` marks. All else is the same.
let testSettings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableExperimentalFeature("Lifetimes"),
]

/// C code: every warning is an error, as in Swift.
let cSettings: [CSetting] = [
  .treatAllWarnings(as: .error),
  .define("_GNU_SOURCE", .when(platforms: [.linux])),
]

let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")

let package = Package(
  name: "pagewise",
  platforms: [.macOS("26.0")],
  products: [
    .library(name: "MemoryMapping", targets: ["MemoryMapping"]),
    .library(name: "PageCache", targets: ["PageCache"]),
    .library(name: "AccessAdvisor", targets: ["AccessAdvisor"]),
    .library(name: "SharedMemory", targets: ["SharedMemory"]),
    .executable(name: "pagewise", targets: ["pagewise"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    // The command line tool only.
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
  ],
  targets: [
    // Kernel calls that Swift cannot import, the fault guard, checked copy. No policy.
    .target(name: "CPlatform", cSettings: cSettings),
    // Floor 1: one process and its mappings, and the choice between mapping and reading.
    .target(
      name: "MemoryMapping", dependencies: ["CPlatform", system], swiftSettings: swiftSettings),
    // Floor 1: what of files is dirty, and bringing it to the device.
    .target(
      name: "PageCache", dependencies: ["MemoryMapping", "CPlatform", system], swiftSettings: swiftSettings),
    // Floor 1: measures the ways to read one given file, or a tree of them.
    .target(
      name: "AccessAdvisor", dependencies: ["PageCache", "MemoryMapping", "CPlatform", system],
      swiftSettings: swiftSettings),
    // Floor 2: memory that processes have in common. Debug builds have points at which the tests kill a process.
    .target(
      name: "SharedMemory", dependencies: ["MemoryMapping", "CPlatform", system],
      swiftSettings: swiftSettings + [.define("PAGEWISE_KILL_POINTS", .when(configuration: .debug))]),
    // The tool: arguments in, tables and JSON out.
    .executableTarget(
      name: "pagewise",
      dependencies: [
        "AccessAdvisor", "PageCache", "SharedMemory", "MemoryMapping", system,
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: swiftSettings),

    // Tests.
    .target(name: "_CTestSupport", path: "Tests/_CTestSupport", cSettings: cSettings),
    .target(
      name: "_TestSupport", dependencies: ["_CTestSupport", "CPlatform", system], path: "Tests/_TestSupport",
      swiftSettings: testSettings),
    // A program that writes until it is killed, and what it writes.
    .target(name: "_StorageModel", path: "Tests/_StorageModel", swiftSettings: testSettings),
    .executableTarget(
      name: "_StorageWriter", dependencies: ["MemoryMapping", "_StorageModel", system], path: "Tests/_StorageWriter",
      swiftSettings: testSettings),
    .testTarget(
      name: "MemoryMappingTests",
      dependencies: [
        "MemoryMapping", "CPlatform", "_TestSupport", "_CTestSupport", "_StorageModel", "_StorageWriter", system,
      ],
      swiftSettings: testSettings),
    .testTarget(
      name: "AccessAdvisorTests",
      dependencies: ["AccessAdvisor", "PageCache", "MemoryMapping", "_TestSupport", "_CTestSupport", system],
      swiftSettings: testSettings),
    .testTarget(
      name: "PageCacheTests",
      dependencies: ["PageCache", "MemoryMapping", "CPlatform", "_TestSupport", "_CTestSupport", system],
      swiftSettings: testSettings),
    // A process that takes part in a region until it is killed.
    .executableTarget(
      name: "_RegionPeer", dependencies: ["SharedMemory", "_CTestSupport", system], path: "Tests/_RegionPeer",
      swiftSettings: testSettings + [.define("PAGEWISE_KILL_POINTS", .when(configuration: .debug))]),
    .testTarget(
      name: "SharedMemoryTests",
      dependencies: [
        "SharedMemory", "MemoryMapping", "CPlatform", "_TestSupport", "_CTestSupport", "_RegionPeer", system,
      ],
      swiftSettings: testSettings + [.define("PAGEWISE_KILL_POINTS", .when(configuration: .debug))]),
    // The tool is started as a child: the dependency builds it beside the tests.
    .testTarget(
      name: "PagewiseToolTests",
      dependencies: ["pagewise", "SharedMemory", "MemoryMapping", "_TestSupport", "_CTestSupport", system],
      swiftSettings: testSettings),
    // Misuse that the compiler must reject. The programs are compiled by the tests, not by the build.
    .testTarget(
      name: "RejectedProgramTests", dependencies: ["MemoryMapping", "_TestSupport", system],
      exclude: ["Programs"], swiftSettings: testSettings),
  ],
  cLanguageStandard: .gnu11
)
