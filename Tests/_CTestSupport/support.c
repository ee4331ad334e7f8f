// SPDX-License-Identifier: Apache-2.0
//
// Signals, memory, threads and time for tests.

#include "CTestSupport.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

// ---------------------------------------------------------------------------------- signals

static volatile int calls;
static volatile uintptr_t last_address;
static volatile bool saw_user;
static pgt_resolver resolver;
static struct sigaction replaced;
static int style_in_use;

static void three(int signal, siginfo_t *info, void *context) {
  if (style_in_use == PGT_STYLE_SAVED) {
    calls++;
    replaced.sa_sigaction(signal, info, context);
    return;
  }
  if (style_in_use == PGT_STYLE_RESOLVE) {
    if (resolver(signal, info, context)) return;
    calls++;
    _exit(43);
  }
  calls++;
  last_address = (uintptr_t)info->si_addr;
  saw_user = info->si_code <= 0;
  if (style_in_use == PGT_STYLE_RESET) return;
  if (style_in_use == PGT_STYLE_REPAIR) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *at = (void *)(last_address & ~(uintptr_t)(page - 1));
    mmap(at, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    memset(at, 0x52, page);
    return;
  }
  _exit(42);
}

static void one(int signal) {
  (void)signal;
  calls++;
  _exit(42);
}

int pgt_install_handler(int style, pgt_resolver resolve) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  sigemptyset(&action.sa_mask);
  style_in_use = style;
  resolver = resolve;
  switch (style) {
  case PGT_STYLE_ONE: action.sa_handler = one; break;
  case PGT_STYLE_IGNORE: action.sa_handler = SIG_IGN; break;
  case PGT_STYLE_DEFAULT_FLAGGED:
    action.sa_handler = SIG_DFL;
    action.sa_flags = SA_SIGINFO;
    break;
  default:
    action.sa_sigaction = three;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | (style == PGT_STYLE_RESET ? (int)SA_RESETHAND : 0);
  }
  return sigaction(SIGBUS, &action, &replaced);
}

int pgt_handler_calls(void) { return calls; }
uintptr_t pgt_handler_address(void) { return last_address; }
bool pgt_handler_saw_user(void) { return saw_user; }

int pgt_block_sigbus(bool block) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGBUS);
  return pthread_sigmask(block ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

int pgt_default_sigbus(void) { return signal(SIGBUS, SIG_DFL) == SIG_ERR ? -1 : 0; }
void pgt_raise_sigbus(void) { kill(getpid(), SIGBUS); }

static int signal_counts[65];
static void count_signal(int number) { __atomic_fetch_add(&signal_counts[number], 1, __ATOMIC_RELAXED); }
int pgt_count_signal(int number) {
  struct sigaction present;
  if (sigaction(number, NULL, &present) == 0 && present.sa_handler != count_signal) {
    memset(&present, 0, sizeof present);
    present.sa_handler = count_signal;
    present.sa_flags = SA_RESTART;
    sigaction(number, &present, NULL);
  }
  return __atomic_load_n(&signal_counts[number], __ATOMIC_RELAXED);
}

// ---------------------------------------------------------------------------------- memory

__attribute__((noinline, no_sanitize("address", "thread")))
uint8_t pgt_touch(const void *address) { return *(const volatile uint8_t *)address; }
__attribute__((noinline, no_sanitize("address", "thread")))
void pgt_store(void *address, uint8_t value) { *(volatile uint8_t *)address = value; }

void *pgt_map_file(int descriptor, size_t length, int64_t offset, bool writable) {
  void *base = mmap(NULL, length, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, descriptor, offset);
  return base == MAP_FAILED ? NULL : base;
}
int pgt_remap_file(void *base, size_t length, int descriptor, int64_t offset) {
  return mmap(base, length, PROT_READ, MAP_SHARED | MAP_FIXED, descriptor, offset) == MAP_FAILED ? -1 : 0;
}
void *pgt_map_anonymous(size_t length) {
  void *base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return base == MAP_FAILED ? NULL : base;
}
int pgt_unmap(void *base, size_t length) { return munmap(base, length); }

// Never zero, and different in neighbouring pages: 251 is prime to the page size.
static inline uint8_t pattern_at(uint64_t offset) { return (uint8_t)(1 + offset % 251); }

void pgt_pattern(void *bytes, size_t count, uint64_t offset) {
  uint8_t *at = bytes;
  uint32_t phase = (uint32_t)(offset % 251);
  for (size_t i = 0; i < count; i++) {
    at[i] = (uint8_t)(1 + phase);
    if (++phase == 251) phase = 0;
  }
}

__attribute__((no_sanitize("address", "thread")))
int64_t pgt_pattern_mismatch(const void *bytes, size_t count, uint64_t offset) {
  const volatile uint8_t *at = bytes;
  uint32_t phase = (uint32_t)(offset % 251);
  for (size_t i = 0; i < count; i++) {
    if (at[i] != (uint8_t)(1 + phase)) return (int64_t)i;
    if (++phase == 251) phase = 0;
  }
  return -1;
}

__attribute__((no_sanitize("address", "thread")))
int64_t pgt_pattern_mismatch_or(const void *bytes, size_t count, uint64_t offset, uint8_t other) {
  const volatile uint8_t *at = bytes;
  for (size_t i = 0; i < count; i++) {
    uint8_t byte = at[i];
    if (byte != pattern_at(offset + i) && byte != other) return (int64_t)i;
  }
  return -1;
}

// ---------------------------------------------------------------------------------- threads and time

enum { TICKETS = 256 };
static struct { uint64_t deadline; char what[200]; } tickets[TICKETS];
static pthread_mutex_t ticket_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t ticket_once = PTHREAD_ONCE_INIT;

uint64_t pgt_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
void pgt_sleep_us(unsigned microseconds) { usleep(microseconds); }

static void *watch(void *unused) {
  (void)unused;
  for (;;) {
    usleep(200000);
    uint64_t now = pgt_now_ns();
    pthread_mutex_lock(&ticket_lock);
    for (int i = 0; i < TICKETS; i++)
      if (tickets[i].deadline != 0 && now > tickets[i].deadline) {
        fprintf(stderr, "\nWATCHDOG: '%s' did not end in time; aborting\n", tickets[i].what);
        fflush(stderr);
        abort();
      }
    pthread_mutex_unlock(&ticket_lock);
  }
  return NULL;
}
static void start_watch(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, watch, NULL) == 0) pthread_detach(thread);
}

int pgt_watchdog_ticket(void) {
  pthread_once(&ticket_once, start_watch);
  pthread_mutex_lock(&ticket_lock);
  int found = -1;
  for (int i = 0; i < TICKETS && found < 0; i++)
    if (tickets[i].deadline == 0) {
      tickets[i].deadline = UINT64_MAX;
      found = i;
    }
  pthread_mutex_unlock(&ticket_lock);
  return found;
}
void pgt_watchdog_start(int ticket, unsigned seconds, const char *what) {
  if (ticket < 0) return;
  pthread_mutex_lock(&ticket_lock);
  snprintf(tickets[ticket].what, sizeof tickets[ticket].what, "%s", what);
  tickets[ticket].deadline = pgt_now_ns() + seconds * 1000000000ull;
  pthread_mutex_unlock(&ticket_lock);
}
void pgt_watchdog_stop(int ticket) {
  if (ticket < 0) return;
  pthread_mutex_lock(&ticket_lock);
  tickets[ticket].deadline = 0;
  pthread_mutex_unlock(&ticket_lock);
}

typedef struct { int index; void (*body)(int, void *); void *context; } thread_start;
static void *run_thread(void *raw) {
  thread_start *start = raw;
  start->body(start->index, start->context);
  return NULL;
}
int pgt_threads(int count, void (*body)(int, void *), void *context) {
  pthread_t threads[64];
  thread_start starts[64];
  if (count > 64) return EINVAL;
  int made = 0, result = 0;
  for (; made < count; made++) {
    starts[made] = (thread_start){made, body, context};
    result = pthread_create(&threads[made], NULL, run_thread, &starts[made]);
    if (result != 0) break;
  }
  for (int i = 0; i < made; i++) pthread_join(threads[i], NULL);
  return result;
}

typedef struct {
  pthread_barrier_t *gate;
  const uint8_t *range;
  size_t pages, page;
} limit_toucher;
static void *touch_at_limit(void *raw) {
  limit_toucher *own = raw;
  pthread_barrier_wait(own->gate);
  for (size_t i = 0; i < own->pages; i++) pgt_touch(own->range + i * 7 % own->pages * own->page);
  return NULL;
}
int pgt_touch_at_mapping_limit(const void *const *ranges, int count, size_t pages, int room) {
  pthread_t threads[64];
  limit_toucher own[64];
  pthread_barrier_t gate;
  size_t page = (size_t)sysconf(_SC_PAGESIZE), reach = 200000, used = 0;
  if (count > 64 || pages % 7 == 0) return EINVAL;
  pthread_barrier_init(&gate, NULL, (unsigned)count + 1);
  for (int i = 0; i < count; i++) {
    own[i] = (limit_toucher){&gate, ranges[i], pages, page};
    int error = pthread_create(&threads[i], NULL, touch_at_limit, &own[i]);
    if (error != 0) return error;
  }
  char *area = mmap(NULL, reach * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (area == MAP_FAILED) return errno;
  // Every second page gets rights of its own, until the kernel splits no more.
  while (used < reach && mprotect(area + used * page, page, PROT_READ) == 0) used += 2;
  for (int i = 1; i <= room; i++) munmap(area + (used - 2 * (size_t)i) * page, 2 * page);
  pthread_barrier_wait(&gate);
  for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
  munmap(area, reach * page);
  pthread_barrier_destroy(&gate);
  return used < reach ? 0 : ENOTSUP;
}

void *pgt_lock_make(void) {
  pthread_mutex_t *lock = malloc(sizeof *lock);
  pthread_mutex_init(lock, NULL);
  return lock;
}
void pgt_lock_free(void *lock) {
  pthread_mutex_destroy(lock);
  free(lock);
}
void pgt_lock(void *lock) { pthread_mutex_lock(lock); }
void pgt_unlock(void *lock) { pthread_mutex_unlock(lock); }

static int limit(int what, uint64_t value) {
  struct rlimit both = {value, value};
  return setrlimit(what, &both);
}
int pgt_limit_memlock(uint64_t bytes) { return limit(RLIMIT_MEMLOCK, bytes); }
int pgt_limit_files(uint64_t count) { return limit(RLIMIT_NOFILE, count); }
int pgt_limit_address_space(uint64_t bytes) { return limit(RLIMIT_AS, bytes); }
bool pgt_is_root(void) { return geteuid() == 0; }
int pgt_descriptor_flags_cloexec(int descriptor) {
  int flags = fcntl(descriptor, F_GETFD);
  return flags < 0 ? -1 : (flags & FD_CLOEXEC) != 0;
}
int pgt_set_user(uid_t user) { return setgid(user) == 0 && setuid(user) == 0 ? 0 : -1; }
