// SPDX-License-Identifier: Apache-2.0
//
// What guard.c and copy.c share: the landing pads of the assembly copy and the jump buffer of the portable one.

#ifndef PGW_GUARD_INTERNAL_H
#define PGW_GUARD_INTERNAL_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct pgw_portable_copy {
  uintptr_t low, high;  // the source range; a fault outside it and the next is not this copy's
  uintptr_t target_low, target_high;
  sigjmp_buf *landing;  // NULL while no portable copy runs on this thread
} pgw_portable_copy;

/// One per thread. The initial-exec model means that the handler's access never allocates.
extern __thread pgw_portable_copy pgw_current_copy __attribute__((tls_model("initial-exec")));

#if defined(__x86_64__)
extern const char pgw_copy_begin[], pgw_copy_string[], pgw_copy_end[];
extern const char pgw_copy_landing[], pgw_copy_landing_string[];
extern const char pgw_wide_begin[], pgw_wide_end[], pgw_wide_landing[];
extern const char pgw_load_begin[], pgw_load_end[], pgw_load_landing[];
#endif

#endif
