// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

let package = Package(
  name: "pagewise-benchmarks",
  platforms: [.macOS("26.0")],
  dependencies: [
    .package(name: "pagewise", path: ".."),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    // Percentiles of latencies.
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
  ],
  targets: [
    // The same work in C, compiled with the same optimisation, in the same process.
    .target(name: "CBaselines", cSettings: [.define("_GNU_SOURCE", .when(platforms: [.linux]))]),
    .executableTarget(
      name: "pagewise-benchmarks",
      dependencies: [
        "CBaselines",
        .product(name: "MemoryMapping", package: "pagewise"),
        .product(name: "PageCache", package: "pagewise"),
        .product(name: "SharedMemory", package: "pagewise"),
        .product(name: "SystemPackage", package: "swift-system"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Histogram", package: "hdrhistogram-swift"),
      ],
      swiftSettings: [.swiftLanguageMode(.v6), .enableExperimentalFeature("Lifetimes")]),
  ],
  cLanguageStandard: .gnu11
)
