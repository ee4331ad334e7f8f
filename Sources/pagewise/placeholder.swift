// SPDX-License-Identifier: Apache-2.0

@main struct Pagewise { static func main() {} }
