// SPDX-License-Identifier: Apache-2.0

#include "pgw_observe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgw_system.h"

static int open_unnoticed(int folder, const char *path, int extra) {
  int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | extra;
  int opened;
#if defined(O_NOATIME)
  // Allowed to the owner and to CAP_FOWNER only.
  do opened = openat(folder, path, flags | O_NOATIME);
  while (opened < 0 && errno == EINTR);
  if (opened >= 0 || errno != EPERM) return opened;
#endif
  do opened = openat(folder, path, flags);
  while (opened < 0 && errno == EINTR);
  return opened;
}

int pgw_open_unnoticed(const char *path) { return open_unnoticed(AT_FDCWD, path, 0); }

struct pgw_listing {
  DIR *stream;
};

pgw_listing *pgw_listing_open(const char *path) {
  int descriptor = pgw_open_unnoticed(path);
  if (descriptor < 0) return NULL;
  DIR *stream = fdopendir(descriptor);
  pgw_listing *listing = stream ? malloc(sizeof *listing) : NULL;
  if (listing == NULL) {
    int reason = errno;
    if (stream) closedir(stream);
    else close(descriptor);
    errno = reason;
    return NULL;
  }
  listing->stream = stream;
  return listing;
}

const char *pgw_listing_next(pgw_listing *listing, uint32_t *kind) {
  for (;;) {
    errno = 0;
    struct dirent *entry = readdir(listing->stream);
    if (entry == NULL) return NULL;
    const char *name = entry->d_name;
    if (name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0))) continue;
    // DT_UNKNOWN is 0 as well.
    *kind = DTTOIF(entry->d_type);
    return name;
  }
}

void pgw_listing_close(pgw_listing *listing) {
  closedir(listing->stream);
  free(listing);
}

int pgw_listing_open_file(const pgw_listing *listing, const char *name, bool follow) {
  return open_unnoticed(dirfd(listing->stream), name, follow ? 0 : O_NOFOLLOW);
}

int pgw_listing_stat(const pgw_listing *listing, const char *name, bool follow, pgw_stat *out) {
  return pgw_stat_at(dirfd(listing->stream), name, follow, out);
}

#if defined(__linux__)
int pgw_has_no_writer(int descriptor) {
  if (pgw_lease_read(descriptor, pgw_sigurg()) == 0) {
    pgw_lease_release(descriptor);
    return 1;
  }
  return errno == EAGAIN ? 0 : -1;
}

/// The access mode of an open descriptor, from the line "flags:\t0100002" of fdinfo. -1 when it cannot be read.
static int access_mode(const char *folder, const char *number) {
  char path[128], text[256];
  if ((size_t)snprintf(path, sizeof path, "%sinfo/%s", folder, number) >= sizeof path) return -1;
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return -1;
  ssize_t got = read(descriptor, text, sizeof text - 1);
  close(descriptor);
  if (got <= 0) return -1;
  text[got] = 0;
  const char *line = strstr(text, "flags:");
  return line ? (int)(strtoul(line + 6, NULL, 8) & O_ACCMODE) : -1;
}

static void name_of(const char *process, char *name, size_t room) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%.20s/comm", process);
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t got = descriptor < 0 ? -1 : read(descriptor, name, room - 1);
  if (descriptor >= 0) close(descriptor);
  if (got < 0) got = 0;
  name[got] = 0;
  char *end = strchr(name, '\n');
  if (end) *end = 0;
}

/// Looks for the file among the descriptors in a folder of /proc. 1: open for writing there, 0: not, -1: cannot be read. `seen`
/// counts the descriptors.
static int writes_in(const char *folder, uint64_t device, uint64_t inode, int *seen) {
  DIR *descriptors = opendir(folder);
  if (descriptors == NULL) return errno == ENOENT || errno == ESRCH ? 0 : -1;
  int found = 0;
  struct dirent *entry;
  while (!found && (entry = readdir(descriptors)) != NULL) {
    struct stat target;
    if (entry->d_name[0] == '.') continue;
    ++*seen;
    if (fstatat(dirfd(descriptors), entry->d_name, &target, 0) != 0) continue;
    if ((uint64_t)target.st_dev != device || (uint64_t)target.st_ino != inode) continue;
    int mode = access_mode(folder, entry->d_name);
    found = mode == O_WRONLY || mode == O_RDWR;
  }
  closedir(descriptors);
  return found;
}

/// The same of a process. One whose main thread has ended while others live shows nothing by its own number.
static int process_writes(const char *process, uint64_t device, uint64_t inode) {
  char path[96];
  int seen = 0;
  snprintf(path, sizeof path, "/proc/%.20s/fd", process);
  int outcome = writes_in(path, device, inode, &seen);
  if (outcome != 0 || seen > 0) return outcome;
  snprintf(path, sizeof path, "/proc/%.20s/task", process);
  DIR *threads = opendir(path);
  if (threads == NULL) return 0;
  struct dirent *entry;
  while (outcome == 0 && seen == 0 && (entry = readdir(threads)) != NULL) {
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/proc/%.20s/task/%.20s/fd", process, entry->d_name);
    outcome = writes_in(path, device, inode, &seen);
  }
  closedir(threads);
  return outcome;
}

int pgw_find_writer(uint64_t device, uint64_t inode, uint64_t budget_ns, pgw_writer *out) {
  uint64_t deadline = pgw_now_ns() + budget_ns;
  DIR *processes = opendir("/proc");
  if (processes == NULL) return -1;
  bool complete = true;
  int found = 0;
  struct dirent *process;
  while (!found && (process = readdir(processes)) != NULL) {
    if (process->d_name[0] < '0' || process->d_name[0] > '9') continue;
    if (pgw_now_ns() > deadline) {
      complete = false;
      break;
    }
    int outcome = process_writes(process->d_name, device, inode);
    if (outcome < 0) complete = false;
    if (outcome <= 0) continue;
    out->process = strtoll(process->d_name, NULL, 10);
    name_of(process->d_name, out->name, sizeof out->name);
    found = 1;
  }
  closedir(processes);
  return found ? 1 : complete ? 0 : -1;
}
#else
int pgw_has_no_writer(int descriptor) {
  (void)descriptor;
  return -1;
}
int pgw_find_writer(uint64_t device, uint64_t inode, uint64_t budget_ns, pgw_writer *out) {
  (void)device, (void)inode, (void)budget_ns, (void)out;
  return -1;
}
#endif
