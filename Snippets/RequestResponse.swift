// SPDX-License-Identifier: Apache-2.0
//
// Requests and responses between two processes over two rings: each client has a lane for its requests, and a ring of its own for the answers. Here both sides are
// tasks of one process; the service would attach by `SharedRegion(connectingTo:)`.

import MemoryMapping
import SharedMemory

/// What the client asks: its number of the request, and two numbers to add.
struct Request: FixedLayout {
  var number: UInt64
  var left: Int64
  var right: Int64

  static func describeLayout(_ layout: inout LayoutDescription<Self>) {
    layout.field(\.number)
    layout.field(\.left)
    layout.field(\.right)
  }
}

struct Response: FixedLayout {
  var number: UInt64
  var sum: Int64

  static func describeLayout(_ layout: inout LayoutDescription<Self>) {
    layout.field(\.number)
    layout.field(\.sum)
  }
}

/// The client's side.
struct Client: ~Copyable {
  var requests: MessageProducer<FixedLayoutCoding<Request>>
  var responses: MessageConsumer<FixedLayoutCoding<Response>>
  var number: UInt64 = 0

  init(_ region: borrowing SharedRegion) throws {
    let requests = try region.producer(of: "requests", sending: Request.self)
    let responses = try region.consumer(of: "responses", receiving: Response.self)
    self.requests = requests
    self.responses = responses
  }

  mutating func sum(_ left: Int64, _ right: Int64, until deadline: Deadline) async throws -> Int64 {
    number += 1
    try await requests.send(Request(number: number, left: left, right: right), until: deadline)
    while true {
      let response = try await responses.receive(until: deadline)
      // An answer to a request that we gave up on, or one that came again after the service was killed.
      if response.number == number { return response.sum }
    }
  }
}

final class Service: Sendable {
  let region: SharedRegion
  init(_ region: consuming SharedRegion) { self.region = region }

  func run() async throws {
    var requests = try region.consumer(of: "requests", receiving: Request.self)
    var responses = try region.producer(of: "responses", sending: Response.self)
    while true {
      let request = try await requests.receive()
      try await responses.send(Response(number: request.number, sum: request.left &+ request.right))
    }
  }
}

do {
  let layout = RegionLayout(
    .ring("requests", of: Request.self, capacity: 4096, producers: 8),
    .ring("responses", of: Response.self, capacity: 4096))
  let service = Service(try SharedRegion(creating: layout))
  let running = Task { try await service.run() }
  var client = try Client(service.region)
  for value in 1...3 as ClosedRange<Int64> {
    print("\(value) + \(value) =", try await client.sum(value, value, until: .after(.seconds(5))))
  }
  running.cancel()
} catch {
  print(error)
}
