// SPDX-License-Identifier: Apache-2.0

#include "base_ipc.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Processes

void base_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

void base_yield(void) { sched_yield(); }
pid_t base_fork(void) { return fork(); }
void base_exit(int status) { _exit(status); }

int base_await(pid_t child) {
  int status;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void base_kill(pid_t child) { kill(child, SIGKILL); }
void base_end_with_parent(void) { prctl(PR_SET_PDEATHSIG, SIGKILL); }

void base_sleep_ns(uint64_t nanoseconds) {
  struct timespec time = {.tv_sec = (time_t)(nanoseconds / 1000000000), .tv_nsec = (long)(nanoseconds % 1000000000)};
  nanosleep(&time, NULL);
}

uint64_t *base_shared_words(void) {
  void *base = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (base == MAP_FAILED) abort();
  return base;
}

uint64_t base_load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
void base_store_word(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }

double base_clock_cost(void) {
  enum { TIMES = 1000000 };
  uint64_t start = base_now_ns();
  for (int i = 0; i < TIMES; i++) base_now_ns();
  return (double)(base_now_ns() - start) / TIMES;
}

void base_fill_message(void *bytes, size_t size, uint64_t number) {
  uint64_t *words = bytes;
  for (size_t i = 0; i < size / 8; i++) words[i] = number + i;
}

uint64_t base_sum_message(const void *bytes, size_t size) {
  const uint64_t *words = bytes;
  uint64_t sum = 0;
  for (size_t i = 0; i < size / 8; i++) sum += words[i];
  return sum;
}

// Runs

static base_ipc_run *map_run(int file, size_t byte_count) {
  int flags = MAP_SHARED | MAP_POPULATE | (file < 0 ? MAP_ANONYMOUS : 0);
  void *base = mmap(NULL, byte_count, PROT_READ | PROT_WRITE, flags, file, 0);
  return base == MAP_FAILED ? NULL : base;
}

base_ipc_run *base_run_make(base_scenario scenario, const char *path) {
  size_t byte_count = sizeof(base_ipc_run) + (scenario.sampled ? (size_t)scenario.count * 8 : 0);
  int file = -1;
  if (path != NULL) {
    file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, (off_t)byte_count) != 0) abort();
  }
  base_ipc_run *run = map_run(file, byte_count);
  if (run == NULL) abort();
  if (file >= 0) close(file);
  run->byte_count = byte_count;
  run->scenario = scenario;
  return run;
}

base_ipc_run *base_run_open(const char *path) {
  struct stat found;
  int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0 || fstat(file, &found) != 0 || (size_t)found.st_size < sizeof(base_ipc_run)) return NULL;
  base_ipc_run *run = map_run(file, (size_t)found.st_size);
  close(file);
  return run != NULL && run->byte_count == (uint64_t)found.st_size ? run : NULL;
}

void base_run_free(base_ipc_run *run) { munmap(run, run->byte_count); }

int base_run_processes(const base_ipc_run *run) {
  return run->scenario.kind == BASE_FAN_IN ? 1 + run->scenario.producers : 2;
}

/// The processor at this place among those that the process may use; the last one where there are fewer.
static int processor(int place) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return -1;
  int found = -1;
  for (int number = 0; number < CPU_SETSIZE && place >= 0; number++)
    if (CPU_ISSET(number, &allowed)) found = number, place--;
  return found;
}

void base_run_enter(const base_ipc_run *run, int role) {
  // Nobody outlives a run that hangs.
  alarm(60);
  base_end_with_parent();
  prctl(PR_SET_TIMERSLACK, 1);
  if (run->scenario.placement == BASE_UNPINNED) return;
  int number = processor(run->scenario.placement == BASE_TWO_PROCESSORS && role == 1 ? 1 : 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(number, &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) abort();
}

static void usage(uint64_t *cpu, uint64_t *switches) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  *cpu = ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * 1000000000 +
         ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000;
  *switches = (uint64_t)usage.ru_nvcsw;
}

void base_run_arrive(base_ipc_run *run, int role) {
  base_report *own = &run->reports[role];
  uint32_t all = (uint32_t)base_run_processes(run);
  __atomic_add_fetch(&run->arrived, 1, __ATOMIC_ACQ_REL);
  while (__atomic_load_n(&run->arrived, __ATOMIC_ACQUIRE) < all) sched_yield();
  usage(&own->cpu_before, &own->switches_before);
  own->start = base_now_ns();
  if (role == 0) __atomic_store_n(&run->epoch, own->start, __ATOMIC_RELEASE);
}

void base_run_finish(base_ipc_run *run, int role, uint64_t work) {
  base_report *own = &run->reports[role];
  own->end = base_now_ns();
  usage(&own->cpu, &own->switches);
  own->cpu -= own->cpu_before;
  own->switches -= own->switches_before;
  own->work = work;
}

static uint64_t due(const base_ipc_run *run, int64_t number) {
  return __atomic_load_n(&run->epoch, __ATOMIC_ACQUIRE) + (uint64_t)((number + 1) * run->scenario.interval);
}

void base_run_await(const base_ipc_run *run, int64_t number) {
  uint64_t then = due(run, number);
  while (1) {
    uint64_t now = base_now_ns();
    if (now >= then) return;
    // A timer comes late by more than most latencies: the last part is waited for awake, by every side.
    if (then - now > 4000000) base_sleep_ns(then - now - 2000000);
    else base_pause();
  }
}

uint64_t base_run_lateness(const base_ipc_run *run, int64_t number) {
  uint64_t now = base_now_ns(), then = due(run, number);
  return now > then ? now - then : 0;
}

void base_relax(const base_ipc_run *run, int role) {
  static unsigned looks;
  base_pause();
  if (run->scenario.placement == BASE_ONE_PROCESSOR || (run->scenario.kind == BASE_FAN_IN && role != 1)) sched_yield();
  // They may meet on one processor.
  else if (run->scenario.placement == BASE_UNPINNED && ++looks % 64 == 0) sched_yield();
}

base_report *base_run_report(base_ipc_run *run, int role) { return &run->reports[role]; }
uint64_t *base_run_samples(base_ipc_run *run) { return run->samples; }

int base_await_all(const pid_t *children, int count) {
  int ended[BASE_ROLES] = {0}, bad = 0;
  for (int left = count; left > 0;) {
    int status, role = 0;
    pid_t child = waitpid(-1, &status, 0);
    if (child < 0) return -1;
    while (role < count && children[role] != child) role++;
    // Somebody else's child.
    if (role == count) continue;
    ended[role] = 1, left--;
    if (bad || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) continue;
    // The others would wait for it.
    bad = 1;
    for (int other = 0; other < count; other++)
      if (!ended[other]) kill(children[other], SIGKILL);
  }
  return bad;
}

int base_run_fork(base_ipc_run *run, void (*side)(void *context, base_ipc_run *run, int role), void *context) {
  pid_t children[BASE_ROLES];
  int count = base_run_processes(run);
  for (int role = 0; role < count; role++) {
    children[role] = fork();
    if (children[role] != 0) continue;
    base_run_enter(run, role);
    side(context, run, role);
    _exit(0);
  }
  return base_await_all(children, count);
}

int base_run_program(const char *program, const char *argument) {
  pid_t child = fork();
  if (child == 0) {
    base_end_with_parent();
    execl(program, program, argument, (char *)NULL);
    _exit(127);
  }
  return base_await(child);
}

// Recovery

static pid_t fork_sender(int to) {
  pid_t child = fork();
  if (child == 0) {
    base_end_with_parent();
    if (write(to, "", 1) == 1) pause();
    _exit(1);
  }
  return child;
}

uint64_t base_replace_child(void) {
  int ends[2];
  char byte;
  if (pipe(ends) != 0) abort();
  pid_t child = fork_sender(ends[1]);
  if (read(ends[0], &byte, 1) != 1) abort();
  uint64_t start = base_now_ns();
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  child = fork_sender(ends[1]);
  if (read(ends[0], &byte, 1) != 1) abort();
  uint64_t end = base_now_ns();
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  close(ends[0]), close(ends[1]);
  return end - start;
}
