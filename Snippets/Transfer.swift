// SPDX-License-Identifier: Apache-2.0
//
// Moves an amount between two accounts of a file, all or nothing. `swift run Transfer PATH FROM TO AMOUNT`

import MemoryMapping
import SystemPackage

let arguments = CommandLine.arguments.dropFirst().map { $0 }
do {
  guard arguments.count == 4, let from = Int(arguments[1]), let to = Int(arguments[2]),
    let amount = Int64(arguments[3]),
    0..<512 ~= from, 0..<512 ~= to
  else {
    print("usage: Transfer PATH FROM TO AMOUNT   (accounts are numbers from 0 to 511)")
    throw CancellationError()
  }
  var accounts = try TransactionalFile(FilePath(arguments[0]), creating: .ifMissing(size: 4096))
  try accounts.begin()
  // Both stores reach the disk, or neither does.
  try accounts.store(accounts.load(at: from * 8, as: Int64.self) &- amount, at: from * 8)
  try accounts.store(accounts.load(at: to * 8, as: Int64.self) &+ amount, at: to * 8)
  let generation = try accounts.commit()
  print(
    "generation \(generation): \(try accounts.load(at: from * 8, as: Int64.self)), \(try accounts.load(at: to * 8, as: Int64.self))"
  )
  try accounts.close()
} catch {
  print(error)
}
