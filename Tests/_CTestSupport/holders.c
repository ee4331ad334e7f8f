// SPDX-License-Identifier: Apache-2.0
//
// Children that hold files in known ways, and that crash in known ways. They were forked from a program with threads: system calls and
// their own stack only.

#include "CTestSupport.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

enum { MOST_HOLDS = 8 };

/// What parent and child share while the child gets ready.
struct scene {
  int ready;  // 1: ready, below 0: -errno
  uintptr_t address[MOST_HOLDS];
};

static struct scene *make_scene(void) {
  struct scene *scene = mmap(NULL, sizeof *scene, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return scene == MAP_FAILED ? NULL : scene;
}

static pid_t fork_quiet(pid_t parent) {
  pid_t pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
  // It lives long, and must not keep the files of other tests open.
  syscall(SYS_close_range, 3u, ~0u, 0u);
  return 0;
}

static pid_t await(struct scene *scene, pid_t pid) {
  if (pid < 0) return -errno;
  for (int waited = 0; __atomic_load_n(&scene->ready, __ATOMIC_ACQUIRE) == 0; waited++) {
    if (waited > 10000) break;
    usleep(1000);
  }
  int ready = __atomic_load_n(&scene->ready, __ATOMIC_ACQUIRE);
  if (ready == 1) return pid;
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  return ready < 0 ? ready : -ETIMEDOUT;
}

static void tell(struct scene *scene, int word) { __atomic_store_n(&scene->ready, word, __ATOMIC_RELEASE); }

static int sleeper(void *unused) {
  (void)unused;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) pause();
}

bool pgt_has_ended(pid_t pid) {
  siginfo_t info = {0};
  return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | WNOHANG) == 0 && info.si_pid == pid;
}

int pgt_kill_unawaited(pid_t pid) {
  siginfo_t info;
  if (kill(pid, SIGKILL) != 0) return -errno;
  return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0 ? 0 : -errno;
}

/// Waits until the main thread of a child has ended, 10 s at most: 0 or -errno.
static int await_end_of_main(pid_t pid) {
  char path[64], text[256];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  for (int waited = 0; waited < 10000; waited++) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return -errno;
    ssize_t got = read(descriptor, text, sizeof text - 1);
    close(descriptor);
    if (got > 0) {
      text[got] = 0;
      const char *name_end = strrchr(text, ')');
      if (name_end && name_end[1] == ' ' && name_end[2] == 'Z') return 0;
    }
    usleep(1000);
  }
  return -ETIMEDOUT;
}

pid_t pgt_fork_holder(const char *path, pgt_hold *holds, int count, int opens, int threads) {
  struct scene *scene = make_scene();
  if (scene == NULL || count > MOST_HOLDS) return -ENOMEM;
  pid_t parent = getpid(), pid = fork_quiet(parent);
  if (pid == 0) {
    static const int modes[] = {O_RDONLY, O_WRONLY, O_RDWR, O_PATH};
    for (int bit = 0; bit < 4; bit++)
      if (opens & 1 << bit && open(path, modes[bit] | O_CLOEXEC) < 0) tell(scene, -errno), _exit(1);
    for (int i = 0; i < count; i++) {
      pgt_hold *hold = &holds[i];
      int descriptor = open(path, hold->writable ? O_RDWR : O_RDONLY | O_CLOEXEC);
      if (descriptor < 0) tell(scene, -errno), _exit(1);
      uint8_t *base = mmap(NULL, (size_t)hold->length, hold->writable ? PROT_READ | PROT_WRITE : PROT_READ,
                           hold->shared ? MAP_SHARED : MAP_PRIVATE, descriptor, hold->offset);
      if (base == MAP_FAILED) tell(scene, -errno), _exit(1);
      close(descriptor);
      // Exactly the pages that are asked for, not those around them.
      madvise(base, (size_t)hold->length, MADV_RANDOM);
      for (int64_t at = 0; at < hold->reads; at += 4096) pgt_touch(base + at);
      for (int64_t at = 0; at < hold->stores; at += 4096) pgt_store(base + at, 0x77);
      if (hold->locked && mlock(base, (size_t)hold->length) != 0) tell(scene, -errno), _exit(1);
      scene->address[i] = (uintptr_t)base;
    }
    if (threads != PGT_THREADS_ONE) {
      static char stack[16384] __attribute__((aligned(64)));
      int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
      if (clone(sleeper, stack + sizeof stack, flags, NULL) < 0) tell(scene, -errno), _exit(1);
    }
    tell(scene, 1);
    if (threads == PGT_THREADS_MAIN_ENDED) syscall(SYS_exit, 0);
    sleeper(NULL);
  }
  pid = await(scene, pid);
  if (pid > 0 && threads == PGT_THREADS_MAIN_ENDED) {
    int failure = await_end_of_main(pid);
    if (failure != 0) pgt_kill(pid), pid = failure;
  }
  for (int i = 0; i < count; i++) holds[i].address = scene->address[i];
  munmap(scene, sizeof *scene);
  return pid;
}

pid_t pgt_fork_mappings(int count) {
  struct scene *scene = make_scene();
  if (scene == NULL) return -ENOMEM;
  pid_t parent = getpid(), pid = fork_quiet(parent);
  if (pid == 0) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), length = (size_t)count * page;
    uint8_t *base = mmap(NULL, length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) tell(scene, -errno), _exit(1);
    // Every second page other rights: none can be joined with its neighbours.
    for (size_t at = 0; at < length; at += 2 * page)
      if (mprotect(base + at, page, PROT_NONE) != 0) tell(scene, -errno), _exit(1);
    tell(scene, 1);
    sleeper(NULL);
  }
  pid = await(scene, pid);
  munmap(scene, sizeof *scene);
  return pid;
}

pid_t pgt_fork_locker(uint64_t limit, uint64_t locked) {
  struct scene *scene = make_scene();
  if (scene == NULL) return -ENOMEM;
  pid_t parent = getpid(), pid = fork_quiet(parent);
  if (pid == 0) {
    struct rlimit bound = {limit, limit};
    if (setrlimit(RLIMIT_MEMLOCK, &bound) != 0) tell(scene, -errno), _exit(1);
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) != 0) tell(scene, -errno), _exit(1);
    data[0].effective &= ~(1u << CAP_IPC_LOCK);
    if (syscall(SYS_capset, &header, data) != 0) tell(scene, -errno), _exit(1);
    void *base = mmap(NULL, locked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || mlock(base, locked) != 0) tell(scene, -errno), _exit(1);
    tell(scene, 1);
    sleeper(NULL);
  }
  pid = await(scene, pid);
  munmap(scene, sizeof *scene);
  return pid;
}

static int __attribute__((noinline)) run_down(int depth, volatile char *above) {
  volatile char room[2048];
  room[0] = (char)depth;
  if (above) above[1] = room[0];
  return depth < 0 ? 0 : run_down(depth + 1, room) + room[0];
}

pid_t pgt_fork_crash(const char *folder, const char *path, int kind, uintptr_t *address) {
  struct scene *scene = make_scene();
  if (scene == NULL) return -ENOMEM;
  pid_t parent = getpid(), pid = fork_quiet(parent);
  if (pid == 0) {
    for (int number = 1; number < 32; number++) signal(number, SIG_DFL);
    stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
    struct rlimit core = {RLIM_INFINITY, RLIM_INFINITY};
    if (chdir(folder) != 0 || setrlimit(RLIMIT_CORE, &core) != 0) tell(scene, -errno), _exit(1);
    prctl(PR_SET_DUMPABLE, 1);
    int filter = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
    if (filter >= 0 && write(filter, "0", 1) == 1) close(filter);
    int descriptor = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    uint8_t *base = NULL;
    if (descriptor >= 0) {
      base = mmap(NULL, 8192, PROT_READ, MAP_SHARED, descriptor, 0);
      if (base == MAP_FAILED) tell(scene, -errno), _exit(1);
    }
    uint8_t *target = kind == PGT_CRASH_PAST_END ? base + 4096 + 0x10 : kind == PGT_CRASH_READ_ONLY ? base + 0x20 : (uint8_t *)16;
    scene->address[0] = (uintptr_t)target;
    tell(scene, 1);
    switch (kind) {
    case PGT_CRASH_READ_ONLY: pgt_store(target, 1); break;
    case PGT_CRASH_STACK: _exit(run_down(0, NULL));
    case PGT_CRASH_ABORT: abort();
    default: pgt_touch(target);
    }
    _exit(0);
  }
  pid = await(scene, pid);
  *address = scene->address[0];
  munmap(scene, sizeof *scene);
  return pid;
}
