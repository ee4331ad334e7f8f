// SPDX-License-Identifier: Apache-2.0

#include "pgw_shared.h"

#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "pgw_system.h"

#if defined(__linux__)
#include <sys/syscall.h>
#elif defined(__APPLE__)
#include <sys/event.h>
#endif

// Locks of an open file description

#ifndef F_OFD_SETLK
// Darwin has them under the same meaning; its header shows them to some programs only.
#define F_OFD_SETLK 90
#define F_OFD_GETLK 92
#endif

// Far beyond the end of any region, so that no lock of a range of data meets one.
static const int64_t token_base = (int64_t)1 << 60;

static struct flock token_range(uint64_t index, short type) {
  return (struct flock){
      .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)(token_base + (int64_t)(index & 0xffffffff)), .l_len = 1};
}

int pgw_token_lock(int descriptor, uint64_t index, bool alone) {
  struct flock range = token_range(index, alone ? F_WRLCK : F_RDLCK);
  int result;
  do result = fcntl(descriptor, F_OFD_SETLK, &range);
  while (result != 0 && errno == EINTR);
  if (result != 0 && errno == EACCES) errno = EAGAIN;
  return result;
}

int pgw_token_unlock(int descriptor, uint64_t index) {
  struct flock range = token_range(index, F_UNLCK);
  return fcntl(descriptor, F_OFD_SETLK, &range);
}

int pgw_token_is_held(int descriptor, uint64_t index) {
  struct flock range = token_range(index, F_WRLCK);
  if (fcntl(descriptor, F_OFD_GETLK, &range) != 0) return -1;
  return range.l_type != F_UNLCK;
}

/// "/proc/self/fd/N", by no function that a forked child may not call.
static void descriptor_path(char out[32], int descriptor) {
#if defined(__linux__)
  static const char prefix[] = "/proc/self/fd/";
#else
  static const char prefix[] = "/dev/fd/";
#endif
  memcpy(out, prefix, sizeof prefix - 1);
  char digits[12];
  int count = 0;
  unsigned number = (unsigned)descriptor;
  do digits[count++] = (char)('0' + number % 10);
  while ((number /= 10) != 0);
  char *at = out + sizeof prefix - 1;
  while (count > 0) *at++ = digits[--count];
  *at = 0;
}

int pgw_token_describe(int descriptor, bool for_writing) {
  char path[32];
  descriptor_path(path, descriptor);
  int opened;
  do opened = open(path, (for_writing ? O_RDWR : O_RDONLY) | O_CLOEXEC);
  while (opened < 0 && errno == EINTR);
  return opened;
}

// fork

enum { TOKEN_CAPACITY = 4096 };
/// Descriptor + 1; 0 is free.
static _Atomic int tokens[TOKEN_CAPACITY];
uint64_t pgw_generation = 1;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

/// Runs in the child, where only this thread lives: calls that a signal handler may make.
static void after_fork_in_child(void) {
  __atomic_fetch_add(&pgw_generation, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < TOKEN_CAPACITY; i++) {
    int descriptor = atomic_load_explicit(&tokens[i], memory_order_relaxed) - 1;
    if (descriptor < 0) continue;
    int flags = fcntl(descriptor, F_GETFL);
    int own = pgw_token_describe(descriptor, flags >= 0 && (flags & O_ACCMODE) != O_RDONLY);
    // Where it may not be opened again, anything else: the number must not keep the parent's token.
    if (own < 0) own = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (own < 0) {
      close(descriptor);
      continue;
    }
#if defined(__linux__)
    dup3(own, descriptor, O_CLOEXEC);
#else
    dup2(own, descriptor);
    fcntl(descriptor, F_SETFD, FD_CLOEXEC);
#endif
    close(own);
  }
}

static void install_fork_handler(void) { pthread_atfork(NULL, NULL, after_fork_in_child); }

bool pgw_token_watch_fork(int descriptor) {
  pthread_once(&fork_once, install_fork_handler);
  for (int i = 0; i < TOKEN_CAPACITY; i++) {
    int free_entry = 0;
    if (atomic_load_explicit(&tokens[i], memory_order_relaxed) == 0 &&
        atomic_compare_exchange_strong(&tokens[i], &free_entry, descriptor + 1))
      return true;
  }
  return false;
}

void pgw_token_forget(int descriptor) {
  for (int i = 0; i < TOKEN_CAPACITY; i++) {
    int entry = descriptor + 1;
    if (atomic_load_explicit(&tokens[i], memory_order_relaxed) == entry &&
        atomic_compare_exchange_strong(&tokens[i], &entry, 0))
      return;
  }
}

// Processes

uint64_t pgw_pid_namespace(void) {
#if defined(__linux__)
  struct stat found;
  return stat("/proc/self/ns/pid", &found) == 0 ? (uint64_t)found.st_ino : 0;
#else
  return 1;
#endif
}

int pgw_process_descriptor(pid_t pid) {
#if defined(__linux__)
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
  return (int)syscall(SYS_pidfd_open, pid, 0);
#else
  int queue = kqueue();
  if (queue < 0) return -1;
  fcntl(queue, F_SETFD, FD_CLOEXEC);
  struct kevent wanted;
  EV_SET(&wanted, pid, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, NULL);
  if (kevent(queue, &wanted, 1, NULL, 0, NULL) == 0) return queue;
  int reason = errno;
  close(queue);
  errno = reason;
  return -1;
#endif
}

int pgw_wait_for_either(int descriptor, int stop, uint64_t deadline_ns) {
  struct pollfd asked[2] = {{.fd = descriptor, .events = POLLIN}, {.fd = stop, .events = POLLIN}};
  for (;;) {
    int milliseconds = -1;
    if (deadline_ns != UINT64_MAX) {
      uint64_t now = pgw_now_ns();
      // Rounded up, so that the wait does not end before its time.
      uint64_t left = now >= deadline_ns ? 0 : (deadline_ns - now + 999999) / 1000000;
      milliseconds = left > 1000000 ? 1000000 : (int)left;
    }
    int ready = poll(asked, stop < 0 ? 1 : 2, milliseconds);
    if (ready < 0 && errno != EINTR) return -1;
    if (ready > 0) return asked[0].revents != 0 ? 1 : 2;
    if (ready == 0 && (milliseconds == 0 || pgw_now_ns() >= deadline_ns)) return 0;
  }
}

void pgw_sleep_until(uint64_t deadline_ns) {
  uint64_t now = pgw_now_ns();
  if (now >= deadline_ns) return;
  uint64_t left = deadline_ns - now;
  struct timespec time = {.tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000)};
  nanosleep(&time, NULL);
}

int pgw_duplicate_inherited(int descriptor) { return fcntl(descriptor, F_DUPFD, 3); }

bool pgw_can_write(int descriptor) {
  int flags = fcntl(descriptor, F_GETFL);
  return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
}

int pgw_close_on_exec(int descriptor) {
  return fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 ? descriptor : -1;
}

// Unix sockets

#if defined(__linux__)
enum { SOCKET_KIND = SOCK_SEQPACKET };
#else
enum { SOCKET_KIND = SOCK_STREAM };
#endif

static int closed_on_exec(int descriptor) {
  if (descriptor >= 0) {
    fcntl(descriptor, F_SETFD, FD_CLOEXEC);
#if defined(__APPLE__)
    int on = 1;
    setsockopt(descriptor, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
  }
  return descriptor;
}

static int new_socket(void) {
#if defined(__linux__)
  return socket(AF_UNIX, SOCKET_KIND | SOCK_CLOEXEC, 0);
#else
  return closed_on_exec(socket(AF_UNIX, SOCKET_KIND, 0));
#endif
}

int pgw_socket_pair(int out[2]) {
#if defined(__linux__)
  return socketpair(AF_UNIX, SOCKET_KIND | SOCK_CLOEXEC, 0, out);
#else
  if (socketpair(AF_UNIX, SOCKET_KIND, 0, out) != 0) return -1;
  closed_on_exec(out[0]);
  closed_on_exec(out[1]);
  return 0;
#endif
}

static int fill_address(struct sockaddr_un *out, const char *path) {
  memset(out, 0, sizeof *out);
  out->sun_family = AF_UNIX;
  if (strlen(path) >= sizeof out->sun_path) { errno = ENAMETOOLONG; return -1; }
  strcpy(out->sun_path, path);
  return 0;
}

static int closed(int descriptor) {
  int reason = errno;
  close(descriptor);
  errno = reason;
  return -1;
}

int pgw_socket_listen(const char *path, int backlog) {
  struct sockaddr_un address;
  if (fill_address(&address, path) != 0) return -1;
  int made = new_socket();
  if (made < 0) return -1;
  // Linux takes the mode of the name from the socket itself, so that nobody finds it with another mode for a moment.
  fchmod(made, 0600);
  if (bind(made, (struct sockaddr *)&address, sizeof address) != 0) return closed(made);
  if (chmod(path, 0600) != 0 || listen(made, backlog) != 0) {
    int reason = errno;
    unlink(path);
    errno = reason;
    return closed(made);
  }
  return made;
}

int pgw_socket_connect(const char *path, uint64_t deadline_ns) {
  struct sockaddr_un address;
  if (fill_address(&address, path) != 0) return -1;
  int made = new_socket();
  if (made < 0) return -1;
  // A server whose queue is full lets callers wait.
  if (deadline_ns != UINT64_MAX) {
    uint64_t now = pgw_now_ns();
    uint64_t left = now < deadline_ns ? (deadline_ns - now) / 1000 + 1 : 1;
    struct timeval time = {.tv_sec = (time_t)(left / 1000000), .tv_usec = (suseconds_t)(left % 1000000)};
    if (setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time) != 0) return closed(made);
  }
  int result;
  do result = connect(made, (struct sockaddr *)&address, sizeof address);
  while (result != 0 && errno == EINTR);
  if (result != 0 && errno == EAGAIN) errno = ETIMEDOUT;
  return result == 0 ? made : closed(made);
}

int pgw_socket_accept(int descriptor) {
  int made;
#if defined(__linux__)
  do made = accept4(descriptor, NULL, NULL, SOCK_CLOEXEC);
  while (made < 0 && (errno == EINTR || errno == ECONNABORTED));
  return made;
#else
  do made = accept(descriptor, NULL, NULL);
  while (made < 0 && (errno == EINTR || errno == ECONNABORTED));
  return closed_on_exec(made);
#endif
}

int pgw_send_descriptors(int socket, const int *descriptors, int descriptor_count, const void *bytes, size_t count) {
  if (count == 0 || count > 4096 || descriptor_count < 0 || descriptor_count > PGW_DESCRIPTORS) {
    errno = EINVAL;
    return -1;
  }
  struct iovec part = {(void *)bytes, count};
  union { struct cmsghdr header; char room[CMSG_SPACE(PGW_DESCRIPTORS * sizeof(int))]; } control;
  memset(&control, 0, sizeof control);
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (descriptor_count > 0) {
    size_t size = (size_t)descriptor_count * sizeof(int);
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(size);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(header), descriptors, size);
  }
#if defined(__linux__)
  const int flags = MSG_NOSIGNAL;
#else
  const int flags = 0;
#endif
  ssize_t sent;
  do sent = sendmsg(socket, &message, flags);
  while (sent < 0 && errno == EINTR);
  if (sent < 0) return -1;
  if ((size_t)sent != count) { errno = EMSGSIZE; return -1; }
  return 0;
}

ssize_t pgw_receive_descriptors(int socket, int descriptors[PGW_DESCRIPTORS], void *bytes, size_t capacity) {
  for (int i = 0; i < PGW_DESCRIPTORS; i++) descriptors[i] = -1;
  struct iovec part = {bytes, capacity};
  // Room for more, so that what a stranger sends beside them is seen and closed.
  union { struct cmsghdr header; char room[CMSG_SPACE(16 * sizeof(int))]; } control;
  memset(&control, 0, sizeof control);
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
#if defined(__linux__)
  const int flags = MSG_CMSG_CLOEXEC;
#else
  const int flags = 0;
#endif
  ssize_t got;
  do got = recvmsg(socket, &message, flags);
  while (got < 0 && errno == EINTR);
  if (got < 0) return -1;
  int found = 0;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int one;
      memcpy(&one, (char *)CMSG_DATA(header) + i * sizeof one, sizeof one);
      if (found < PGW_DESCRIPTORS) descriptors[found] = closed_on_exec(one);
      else close(one);
      found++;
    }
  }
  if (found > PGW_DESCRIPTORS || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    for (int i = 0; i < PGW_DESCRIPTORS; i++) {
      if (descriptors[i] >= 0) close(descriptors[i]);
      descriptors[i] = -1;
    }
    errno = EBADMSG;
    return -1;
  }
  return got;
}

int pgw_socket_credentials(int socket, pgw_credentials *out) {
#if defined(__linux__)
  struct ucred found;
  socklen_t size = sizeof found;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &found, &size) != 0) return -1;
  *out = (pgw_credentials){.pid = found.pid, .user = found.uid, .group = found.gid};
  return 0;
#else
  uid_t user;
  gid_t group;
  if (getpeereid(socket, &user, &group) != 0) return -1;
  pid_t pid = 0;
  socklen_t size = sizeof pid;
  getsockopt(socket, SOL_LOCAL, LOCAL_PEERPID, &pid, &size);
  *out = (pgw_credentials){.pid = pid, .user = user, .group = group};
  return 0;
#endif
}

// Files

int pgw_link_unnamed(int descriptor, int folder, const char *name) {
#if defined(__linux__)
  char path[32];
  descriptor_path(path, descriptor);
  return linkat(AT_FDCWD, path, folder, name, AT_SYMLINK_FOLLOW);
#else
  (void)descriptor, (void)folder, (void)name;
  errno = ENOTSUP;
  return -1;
#endif
}

int pgw_make_private_folder(const char *path) { return mkdir(path, 0700); }

int pgw_open_folder(const char *path) { return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }

int pgw_open_linked_folder(const char *path) {
  int opened = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
#if defined(O_PATH)
  if (opened < 0 && errno == EACCES) opened = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
#endif
  return opened;
}

int pgw_lock_folder(int folder) { return flock(folder, LOCK_EX | LOCK_NB); }

int pgw_unlock_folder(int folder) { return flock(folder, LOCK_UN); }

int pgw_open_in(int folder, const char *name, bool for_writing) {
  int opened;
  // O_NONBLOCK: a FIFO that somebody put there must not hold us.
  do opened = openat(folder, name, (for_writing ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  while (opened < 0 && errno == EINTR);
  return opened;
}

int pgw_open_unnamed_in(int folder) {
#if defined(__linux__)
  return openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
#else
  (void)folder;
  errno = ENOTSUP;
  return -1;
#endif
}

int pgw_unlink(const char *path) { return unlink(path); }

int pgw_unlink_in(int folder, const char *name) { return unlinkat(folder, name, 0); }

void pgw_free(void *memory) { free(memory); }

char *pgw_list_folder(int folder, size_t *size) {
  *size = 0;
  // A description of its own, so that two listings do not share a position.
  int own = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (own < 0) return NULL;
  DIR *stream = fdopendir(own);
  if (stream == NULL) {
    closed(own);
    return NULL;
  }
  size_t capacity = 4096, used = 0;
  char *names = malloc(capacity);
  struct dirent *entry;
  errno = 0;
  while (names != NULL && (entry = readdir(stream)) != NULL) {
    size_t length = strlen(entry->d_name) + 1;
    if (used + length > capacity) {
      char *larger = realloc(names, capacity * 2 + length);
      if (larger == NULL) { free(names); names = NULL; break; }
      names = larger;
      capacity = capacity * 2 + length;
    }
    memcpy(names + used, entry->d_name, length);
    used += length;
  }
  int reason = names == NULL ? ENOMEM : errno;
  closedir(stream);
  if (reason != 0) {
    free(names);
    errno = reason;
    return NULL;
  }
  *size = used;
  return names;
}

int pgw_set_mode(int descriptor, unsigned mode) { return fchmod(descriptor, (mode_t)mode); }

uint32_t pgw_effective_user(void) { return geteuid(); }
int64_t pgw_process_id(void) { return getpid(); }

uint64_t pgw_wall_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}
