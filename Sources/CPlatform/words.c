// SPDX-License-Identifier: Apache-2.0

#include "pgw_shared.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pgw_system.h"

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#else
#include <os/os_sync_wait_on_address.h>
#include <mach/mach_time.h>
#endif

// Words in shared memory

#if defined(__linux__)
int pgw_word_wait(const uint32_t *word, uint32_t expected, uint64_t deadline_ns) {
  struct timespec end = {.tv_sec = (time_t)(deadline_ns / 1000000000), .tv_nsec = (long)(deadline_ns % 1000000000)};
  // The bitset form takes the end of the wait as a time of the monotonic clock. Not private: other processes wake it.
  return (int)syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, deadline_ns == UINT64_MAX ? NULL : &end, NULL,
                      FUTEX_BITSET_MATCH_ANY);
}

int pgw_word_wake(const uint32_t *word, int count) {
  long woken = syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
  return woken < 0 ? 0 : (int)woken;
}
#else
int pgw_word_wait(const uint32_t *word, uint32_t expected, uint64_t deadline_ns) {
  int result;
  if (deadline_ns == UINT64_MAX) {
    result = os_sync_wait_on_address((void *)word, expected, 4, OS_SYNC_WAIT_ON_ADDRESS_SHARED);
  } else {
    uint64_t now = pgw_now_ns();
    if (now >= deadline_ns) { errno = ETIMEDOUT; return -1; }
    result = os_sync_wait_on_address_with_timeout((void *)word, expected, 4, OS_SYNC_WAIT_ON_ADDRESS_SHARED,
                                                  OS_CLOCK_MACH_ABSOLUTE_TIME, deadline_ns - now);
  }
  return result < 0 ? -1 : 0;
}

int pgw_word_wake(const uint32_t *word, int count) {
  int woken = 0;
  if (count == 1) return os_sync_wake_by_address_any((void *)word, 4, OS_SYNC_WAKE_BY_ADDRESS_SHARED) == 0;
  while (woken < count && os_sync_wake_by_address_any((void *)word, 4, OS_SYNC_WAKE_BY_ADDRESS_SHARED) == 0) woken++;
  return woken;
}
#endif

int pgw_words_wait(const pgw_word_wait_entry *entries, int count, uint64_t deadline_ns) {
#if defined(__linux__)
  // Not in the headers of older systems: linux/futex.h (5.16).
  struct {
    uint64_t value, address;
    uint32_t flags, reserved;
  } waits[PGW_WORDS_LIMIT];
  if (count < 1 || count > PGW_WORDS_LIMIT) {
    errno = EINVAL;
    return -1;
  }
  for (int i = 0; i < count; i++) {
    waits[i].value = entries[i].expected;
    waits[i].address = (uintptr_t)entries[i].word;
    waits[i].flags = 2;  // 32 bits, shared between processes
    waits[i].reserved = 0;
  }
  struct timespec deadline = {(time_t)(deadline_ns / 1000000000), (long)(deadline_ns % 1000000000)};
  const long number = 449;  // futex_waitv, the same on every architecture
  long result = syscall(number, waits, count, 0, deadline_ns == UINT64_MAX ? NULL : &deadline, CLOCK_MONOTONIC);
  return result < 0 ? -1 : 0;
#else
  (void)entries, (void)count, (void)deadline_ns;
  errno = ENOSYS;
  return -1;
#endif
}

int pgw_event_descriptor(void) {
#if defined(__linux__)
  return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
#else
  errno = ENOSYS;
  return -1;
#endif
}

int pgw_event_signal(int descriptor) {
  const uint64_t one = 1;
  return write(descriptor, &one, sizeof one) == sizeof one || errno == EAGAIN ? 0 : -1;
}

int pgw_event_clear(int descriptor) {
  uint64_t count;
  return read(descriptor, &count, sizeof count) == sizeof count || errno == EAGAIN ? 0 : -1;
}

int pgw_processor_count(void) {
  long count = sysconf(_SC_NPROCESSORS_ONLN);
  return count < 1 ? 1 : (int)count;
}

int pgw_allowed_processor_count(void) {
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return CPU_COUNT(&allowed);
#endif
  return pgw_processor_count();
}

// Robust mutexes

#if defined(__linux__)
_Static_assert(sizeof(pthread_mutex_t) <= PGW_MUTEX_SIZE, "a mutex fits its place");

int pgw_mutex_image(void *bytes) {
  pthread_mutexattr_t attributes;
  pthread_mutex_t mutex;
  memset(&mutex, 0, sizeof mutex);
  int result = pthread_mutexattr_init(&attributes);
  if (result == 0) result = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  if (result == 0) result = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  if (result == 0) result = pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
  if (result == 0) result = pthread_mutex_init(&mutex, &attributes);
  memset(bytes, 0, PGW_MUTEX_SIZE);
  memcpy(bytes, &mutex, sizeof mutex);
  return result;
}

int pgw_mutex_lock(void *mutex, uint64_t deadline_ns) {
  if (deadline_ns == UINT64_MAX) return pthread_mutex_lock(mutex);
  if (deadline_ns == 0) return pthread_mutex_trylock(mutex);
  struct timespec end;
#if defined(__GLIBC__)
  end = (struct timespec){.tv_sec = (time_t)(deadline_ns / 1000000000), .tv_nsec = (long)(deadline_ns % 1000000000)};
  return pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &end);
#else
  uint64_t now = pgw_now_ns(), left = deadline_ns > now ? deadline_ns - now : 0;
  clock_gettime(CLOCK_REALTIME, &end);
  uint64_t sum = (uint64_t)end.tv_nsec + left % 1000000000;
  end.tv_sec += (time_t)(left / 1000000000 + sum / 1000000000);
  end.tv_nsec = (long)(sum % 1000000000);
  return pthread_mutex_timedlock(mutex, &end);
#endif
}

int pgw_mutex_consistent(void *mutex) { return pthread_mutex_consistent(mutex); }
int pgw_mutex_unlock(void *mutex) { return pthread_mutex_unlock(mutex); }
#else
int pgw_mutex_image(void *bytes) { (void)bytes; return ENOTSUP; }
int pgw_mutex_lock(void *mutex, uint64_t deadline_ns) { (void)mutex, (void)deadline_ns; return ENOTSUP; }
int pgw_mutex_consistent(void *mutex) { (void)mutex; return ENOTSUP; }
int pgw_mutex_unlock(void *mutex) { (void)mutex; return ENOTSUP; }
#endif
