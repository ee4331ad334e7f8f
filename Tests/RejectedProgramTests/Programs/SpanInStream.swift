// SPDX-License-Identifier: Apache-2.0
//
// A span is sent through a stream to another task.

import MemoryMapping

#if REJECTED
  // expected-error: does not conform to protocol 'Escapable'
  private func program(_ stream: AsyncStream<RawSpan>.Continuation) {}
#else
  private func program(_ stream: AsyncStream<[UInt8]>.Continuation) {}
#endif
