// SPDX-License-Identifier: Apache-2.0
//
// Child processes, mounts and special files for tests.

#include "CTestSupport.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/fs.h>
#include <linux/loop.h>
#endif

extern char **environ;

pid_t pgt_spawn(const char *const *arguments, const char *const *environment, int output) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (output >= 0) {
    posix_spawn_file_actions_adddup2(&actions, output, 1);
    posix_spawn_file_actions_adddup2(&actions, output, 2);
  }
  // Threads of the test program block signals; a program that is started by a shell has none blocked.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = -1;
  int result = posix_spawnp(&pid, arguments[0], &actions, &attributes, (char *const *)arguments,
                            environment ? (char *const *)environment : environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return result == 0 ? pid : -result;
}

int pgt_wait(pid_t pid, int milliseconds) {
  for (int waited = 0;; waited++) {
    int status;
    pid_t got = waitpid(pid, &status, WNOHANG);
    if (got == pid) return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
    if (got < 0 && errno != EINTR) return -errno - 1000;
    if (waited > milliseconds) break;
    usleep(1000);
  }
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  return -1;
}

pid_t pgt_fork_here(void) { return fork(); }

int pgt_become(const char *path, const char *argument) {
  execl(path, path, argument, (char *)NULL);
  return -errno;
}

pid_t pgt_fork(int (*body)(void *), void *context) {
  pid_t pid = fork();
  if (pid == 0) _exit(body(context));
  return pid;
}

pid_t pgt_fork_touch(const void *base, size_t kept, size_t count, uint8_t fill, const uint32_t *state) {
  pid_t pid = fork();
  if (pid != 0) return pid;
  const uint8_t *bytes = base;
  if (pgt_pattern_mismatch(bytes, kept, 0) >= 0) _exit(50);
  if (kept < count && state != NULL && __atomic_load_n(state, __ATOMIC_ACQUIRE) != 0) _exit(51);
  for (size_t at = kept; at < count; at++)
    if (pgt_touch(bytes + at) != fill) _exit(52);
  if (kept < count && state != NULL && __atomic_load_n(state, __ATOMIC_ACQUIRE) == 0) _exit(53);
  _exit(0);
}

int pgt_kill(pid_t pid) {
  kill(pid, SIGKILL);
  return waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

static uint32_t next_random(uint32_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

// The child uses system calls and its own stack only: it was forked from a program with threads.
typedef struct cut_request {
  int64_t size;
  char path[1024];
} cut_request;

int pgt_fork_cutter(void) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return -errno;
  pid_t pid = fork();
  if (pid < 0) return -errno;
  if (pid != 0) {
    close(ends[1]);
    return ends[0];
  }
  // As below: it must not keep the files of other tests open, nor its own other end.
  if (dup2(ends[1], 3) != 3) _exit(1);
  syscall(SYS_close_range, 4u, ~0u, 0u);
  cut_request request;
  while (recv(3, &request, sizeof request, 0) == sizeof request) {
    int reason = truncate(request.path, request.size) == 0 ? 0 : errno;
    if (send(3, &reason, sizeof reason, 0) != sizeof reason) break;
  }
  _exit(0);
}

int pgt_cut(int cutter, const char *path, int64_t size) {
  cut_request request = {.size = size};
  if (strlen(path) >= sizeof request.path) return ENAMETOOLONG;
  strcpy(request.path, path);
  int reason;
  if (send(cutter, &request, sizeof request, MSG_NOSIGNAL) != sizeof request) return errno;
  return recv(cutter, &reason, sizeof reason, 0) == sizeof reason ? reason : EPIPE;
}

pid_t pgt_fork_writer(const char *path, int64_t size, int mode, uint32_t seed) {
  int descriptor = open(path, O_RDWR | O_CLOEXEC);
  if (descriptor < 0) return -errno;
  pid_t parent = getpid();
  pid_t pid = fork();
  if (pid != 0) {
    close(descriptor);
    return pid;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
  // It lives long, and must not keep the files of other tests open: a full disk would stay full.
  if (dup2(descriptor, 3) != 3) _exit(1);
  descriptor = 3;
  syscall(SYS_close_range, 4u, ~0u, 0u);
  static uint8_t pattern[251 * 256];
  pgt_pattern(pattern, sizeof pattern, 0);
  int64_t page = sysconf(_SC_PAGESIZE);
  uint32_t state = seed | 1;
  for (;;) {
    int64_t cut = size > 0 ? (int64_t)(next_random(&state) % (uint64_t)size) : 0;
    if (mode == PGT_WRITER_PAGES) cut = cut / page * page;
    if (ftruncate(descriptor, cut) != 0) _exit(1);
    // Cut for longer than whole, so that most scopes meet it.
    for (volatile uint32_t spin = next_random(&state) % 60000; spin > 0; spin--) {
    }
    if (mode == PGT_WRITER_REWRITE) {
      for (int64_t at = cut; at < size;) {
        size_t phase = (size_t)(at % 251), step = sizeof pattern - phase;
        if (step > 4096) step = 1 + next_random(&state) % 4096;
        if ((int64_t)step > size - at) step = (size_t)(size - at);
        if (pwrite(descriptor, pattern + phase, step, at) != (ssize_t)step) _exit(1);
        at += (int64_t)step;
      }
    } else if (ftruncate(descriptor, size) != 0) {
      _exit(1);
    }
    for (volatile uint32_t spin = next_random(&state) % 20000; spin > 0; spin--) {
    }
  }
}

static int remove_one(const char *path, const struct stat *found, int kind, struct FTW *at) {
  (void)found, (void)kind, (void)at;
  return remove(path);
}
int pgt_remove_tree(const char *path) { return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT); }

int pgt_make_fifo(const char *path) { return mkfifo(path, 0600); }

int pgt_make_socket(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) { errno = ENAMETOOLONG; return -1; }
  strcpy(address.sun_path, path);
  int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -1;
  int result = bind(descriptor, (struct sockaddr *)&address, sizeof address);
  close(descriptor);
  return result;
}

int pgt_drop_caches(int descriptor) {
  fsync(descriptor);
  return posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
}

int pgt_lease(int descriptor, int kind) {
  static const int kinds[] = {F_RDLCK, F_WRLCK, F_UNLCK};
  return fcntl(descriptor, F_SETLEASE, kinds[kind]);
}
int pgt_lease_kind(int descriptor) {
  switch (fcntl(descriptor, F_GETLEASE)) {
  case F_RDLCK: return 0;
  case F_WRLCK: return 1;
  case F_UNLCK: return 2;
  default: return -1;
  }
}
int pgt_memfd(const char *name, bool sealable, bool hugetlb) {
  return memfd_create(name, MFD_CLOEXEC | (sealable ? MFD_ALLOW_SEALING : 0) | (hugetlb ? 4u : 0));
}
int pgt_allocate(int descriptor, int64_t offset, int64_t length) { return fallocate(descriptor, 0, offset, length); }

int pgt_mount_tmpfs(const char *folder, const char *options) {
  return mount("pagewise-test", folder, "tmpfs", MS_NOSUID | MS_NODEV, options);
}
int pgt_mount(const char *device, const char *folder, const char *type, const char *options) {
  return mount(device, folder, type, 0, options);
}
int pgt_unmount(const char *folder) { return umount2(folder, MNT_DETACH); }

int pgt_loop_attach(const char *image, char *device, size_t capacity) {
  int backing = open(image, O_RDWR | O_CLOEXEC);
  if (backing < 0) return -errno;
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0) { int e = errno; close(backing); return -e; }
  int result = -EBUSY;
  for (int attempt = 0; attempt < 50 && result != 0; attempt++) {
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) { result = -errno; break; }
    snprintf(device, capacity, "/dev/loop%d", number);
    int loop = open(device, O_RDWR | O_CLOEXEC);
    if (loop < 0) { result = -errno; usleep(10000); continue; }
    if (ioctl(loop, LOOP_SET_FD, backing) == 0) {
      // Autoclear: the device goes away with its last user, the mount, also when this process is killed.
      struct loop_info64 info;
      memset(&info, 0, sizeof info);
      info.lo_flags = LO_FLAGS_AUTOCLEAR;
      ioctl(loop, LOOP_SET_STATUS64, &info);
      result = loop;  // stays open until the mount holds the device
      break;
    }
    result = -errno;
    close(loop);
  }
  close(control);
  close(backing);
  return result;
}

int pgt_unmount_now(const char *folder) {
  // A writer that was just killed may still be leaving.
  for (int attempt = 0; attempt < 500; attempt++) {
    if (umount2(folder, 0) == 0) return 0;
    if (errno != EBUSY) return -1;
    usleep(10000);
  }
  return -1;
}

int pgt_clone_file(const char *from, const char *to) {
  int source = open(from, O_RDONLY | O_CLOEXEC);
  if (source < 0) return -errno;
  int target = open(to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  int result = target < 0 ? -errno : ioctl(target, _IOW(0x94, 9, int) /* FICLONE */, source) == 0 ? 0 : -errno;
  if (target >= 0) close(target);
  close(source);
  return result;
}

int pgt_shut_down(const char *folder) {
  int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return -1;
  uint32_t no_flush = 2;
  int result = ioctl(descriptor, _IOR('X', 125, uint32_t), &no_flush);
  close(descriptor);
  return result;
}

int pgt_clone(int destination, int source) { return ioctl(destination, FICLONE, source); }

int pgt_limit_file_size(uint64_t bytes) {
  struct rlimit limit = {bytes, bytes};
  return setrlimit(RLIMIT_FSIZE, &limit);
}

int pgt_set_attribute(const char *path, const char *name, const void *value, size_t size) {
  return setxattr(path, name, value, size, 0);
}
int pgt_get_attribute(const char *path, const char *name, void *value, size_t size) {
  return (int)getxattr(path, name, value, size);
}

int pgt_terminate(pid_t pid) { return kill(pid, SIGTERM); }
