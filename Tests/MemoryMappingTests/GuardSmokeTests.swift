// SPDX-License-Identifier: Apache-2.0
import Testing
import _TestSupport
@Suite struct Smoke { @Test func a() throws { let d = try TemporaryDirectory(); withEvery("x", in: 0..<3) { check($0 < 9) }; _ = d.path } }
