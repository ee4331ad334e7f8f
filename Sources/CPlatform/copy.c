// SPDX-License-Identifier: Apache-2.0

#include "pgw_copy.h"

#include <signal.h>
#include <string.h>

#include "guard_internal.h"

__thread pgw_portable_copy pgw_current_copy __attribute__((tls_model("initial-exec")));

__attribute__((noinline, no_sanitize("address", "thread")))
size_t pgw_copy_portable(void *destination, const void *source, size_t count) {
  // One page-sized step at a time, so that the remainder can be told. Page size 4096 is only the step: it need not
  // be the system's.
  enum { STEP = 4096 };
  volatile size_t done = 0;
  sigjmp_buf landing;
  pgw_portable_copy outer = pgw_current_copy;
  if (sigsetjmp(landing, 0) != 0) {
    // The handler ran with SIGBUS blocked and was left by a jump: unblock it, or the next fault ends the process.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    pgw_current_copy = outer;
    return count - done;
  }
  pgw_current_copy.low = (uintptr_t)source;
  pgw_current_copy.high = (uintptr_t)source + count;
  pgw_current_copy.target_low = (uintptr_t)destination;
  pgw_current_copy.target_high = (uintptr_t)destination + count;
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  pgw_current_copy.landing = &landing;
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  while (done < count) {
    size_t at = done;
    uintptr_t next = ((uintptr_t)source + at + STEP) & ~(uintptr_t)(STEP - 1);
    size_t step = next - ((uintptr_t)source + at);
    if (step > count - at) step = count - at;
    memcpy((char *)destination + at, (const char *)source + at, step);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    done = at + step;
  }
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  pgw_current_copy = outer;
  return 0;
}


#if defined(__x86_64__)
pgw_proved_copy pgw_copy_proving_wide(void *destination, const void *source, size_t count);
pgw_proved_copy pgw_copy_proving_narrow(void *destination, const void *source, size_t count);

pgw_proved_copy pgw_copy_proving(void *destination, const void *source, size_t count) {
  if (count >= 256 && __builtin_cpu_supports("avx2")) return pgw_copy_proving_wide(destination, source, count);
  return pgw_copy_proving_narrow(destination, source, count);
}
#else
size_t pgw_copy_checked(void *destination, const void *source, size_t count) {
  return pgw_copy_portable(destination, source, count);
}

pgw_proved_copy pgw_copy_proving(void *destination, const void *source, size_t count) {
  pgw_proved_copy result = {pgw_copy_portable(destination, source, count), 0};
  if (result.missing == 0 && count > 0) result.has_zero = memchr(destination, 0, count) != NULL;
  return result;
}

#define LOAD(name, type)                                         \
  pgw_loaded name(const void *source) {                          \
    type value = 0;                                              \
    pgw_loaded result = {0, 0};                                  \
    result.missing = pgw_copy_portable(&value, source, sizeof value); \
    result.value = value;                                        \
    return result;                                               \
  }
LOAD(pgw_load_checked_1, uint8_t)
LOAD(pgw_load_checked_2, uint16_t)
LOAD(pgw_load_checked_4, uint32_t)
LOAD(pgw_load_checked_8, uint64_t)
#endif
