// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MemoryMapping
internal import PageCache
internal import SystemPackage

/// The looks of `pagewise residency`: one, or with `--watch` one after the other.
struct ResidencyLooks {
  let command: ResidencyCommand
  /// Resident bytes of each path at the look before.
  private var before: [FilePath: Int64] = [:]

  init(command: ResidencyCommand) { self.command = command }

  /// Looks at all paths once.
  ///
  /// - Returns: the exit status.
  mutating func look(_ paths: [FilePath]) -> Int32 {
    var sum = ResidencySum()
    var counted = ResidencyScanner.CountedFiles()
    let scanner = ResidencyScanner(options: command.options)
    let rows = command.isInRows ? ResidencyRows(command) : nil
    var metrics = command.openmetrics ? CacheMetrics() : nil
    rows?.begin()
    let output = command.isInRows || command.openmetrics ? PathRun.Form.errorsOnly : .reports(command.output)
    return PathRun.round(paths, output, progress: command.progress.progress) {
      run, path, progress throws(MappingError) in
      let report: ResidencyReport
      do throws(MappingError) {
        let each = rows?.streams(path, command)
        report =
          paths.count == 1
          ? try scanner.scan(path, each: each, progress: progress.show, isCancelled: { Interruption.isRequested })
          : try scanner.scan(
            path, notIn: &counted, each: each, progress: progress.show, isCancelled: { Interruption.isRequested })
      } catch {
        metrics?.fail(path)
        throw error
      }
      sum.add(report)
      if let rows {
        rows.add(report)
      } else if metrics != nil {
        metrics?.add(report)
      } else {
        var shown = ResidencyShown(report)
        if command.watch != nil {
          shown.before = before[path]
          before[path] = shown.residentBytes
        }
        if command.ranges { shown.findRanges { run.fail($0, path: $1) } }
        run.report(shown, after: progress)
      }
      if let walk = report.walk { run.fail(walk, path: path) }
    } ending: { run in
      if let rows {
        rows.end(sum)
      } else if let metrics {
        let text = metrics.text
        guard let target = command.into else { return Standard.output(text) }
        do throws(MappingError) {
          let bytes = Array(text.utf8)
          try unsafe replaceFile(target, with: bytes.span.bytes)
        } catch {
          run.fail(error, path: target)
        }
      } else if paths.count > 1 {
        run.report(sum)
      }
    }
  }
}

/// All paths together.
struct ResidencySum {
  var paths = 0
  var size: Int64 = 0
  var files = 0
  var pages = CachedPages()

  mutating func add(_ report: ResidencyReport) {
    paths += 1
    size += report.size
    files += report.walk?.files ?? (report.pages == CachedPages() ? 0 : 1)
    pages.add(report.pages)
  }
}
