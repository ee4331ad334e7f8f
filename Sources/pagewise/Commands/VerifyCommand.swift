// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MemoryMapping
internal import SystemPackage

/// `pagewise verify`: checks files of our own formats.
struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Checks files of our own formats: what they are, whether they are whole, what the next open does.",
    discussion: """
      Reads only, and takes no lock: a writer is not held up.

      EXAMPLES:
        pagewise verify accounts.bin             one file
        pagewise verify --json *.npy             for programs
        find . -name '*.log' -print0 | pagewise verify -

      FORMATS, in the order in which they are looked for:
        transactional  FILE.pagewise-journal lies beside FILE (either is
                       given): the journal's header, its slots, the checksum
                       of each record, and that FILE is long enough. FILE has
                       no checksums: what it holds is not looked at.
        growable       begins as a file of GrowableMappedFile: header, slots,
                       lengths, and the checksum of what came with the newest
                       flush and after it; what lies before has none.
        numpy          a .npy file: its header, and that the file is as long as
                       it states. Elements are not looked at.

      JSON:
        As of advise. Each report has "kind" "transactional", "growable" or
        "numpy" and "sound"; numbers that are not known, because a writer has
        the file open or it is damaged, are null. Damage is in "errors" too.

      EXIT STATUS:
        0    all are whole; commits that wait in a journal are in order
        1    some are not: damaged, in none of our formats, missing, not
             readable; or the output did. Each has its sentence
        64   wrong usage
        130  interrupted; what was found until then is printed
      """)

  @OptionGroup var paths: PathArguments
  @OptionGroup var output: OutputArguments

  func run() throws { try PathRun.run(paths, output, one: verify) }

  private func verify(_ run: inout PathRun, _ path: FilePath, _ progress: Progress) throws(MappingError) {
    let found = try FileVerification(path)
    run.report(VerificationReport(path: path, found: found), after: progress)
    // Its place may be in the journal.
    if let problem = found.problem { run.fail(problem, path: problem.path ?? path) }
  }
}
