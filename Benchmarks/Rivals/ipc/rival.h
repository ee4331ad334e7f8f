// SPDX-License-Identifier: Apache-2.0
//
// A rival is a program with one argument: the file of a run (base_ipc.h), which tells what to do and takes what was measured. `pagewise-benchmarks
// --filter ring --rivals FOLDER` starts it, one run of it beside one of ours.

#ifndef PGW_RIVAL_H
#define PGW_RIVAL_H

#include <stdio.h>
#include <unistd.h>

#include "ipc_sides.h"

[[noreturn]] inline void rival_fail(const char *what) {
  fprintf(stderr, "rival: %s failed\n", what);
  _exit(1);
}

/// Runs the sides of the run in `arguments`. What is common to them is made before, in `common`, and freed by the caller.
inline int rival_run(int count, char **arguments, void (*side)(void *, base_ipc_run *, int), void *(*open)(base_ipc_run *)) {
  base_ipc_run *run = count == 2 ? base_run_open(arguments[1]) : nullptr;
  if (run == nullptr) {
    fprintf(stderr, "usage: %s FILE-OF-A-RUN\n", arguments[0]);
    return 2;
  }
  void *common = open == nullptr ? nullptr : open(run);
  return base_run_fork(run, side, common);
}

#endif
