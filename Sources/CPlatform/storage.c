// SPDX-License-Identifier: Apache-2.0

#include "pgw_storage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#if defined(__APPLE__)
#include <sys/random.h>
#endif
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "pgw_system.h"

// ------------------------------------------------------------------------------------------------ the seam

static __thread const pgw_call_watch *watch;

void pgw_watch_calls(const pgw_call_watch *new_watch) { watch = new_watch; }

/// What to do about the call: PGW_PERFORM, PGW_PRETEND, PGW_SHORT, or 1 when it has failed and errno is set.
static int ask(const pgw_call *call) {
  if (watch == NULL) return PGW_PERFORM;
  int answer = watch->before(watch->context, call);
  if (answer <= 0) return answer;
  errno = answer;
  if (watch->after) watch->after(watch->context, call, -1);
  errno = answer;
  return 1;
}

static int64_t tell(const pgw_call *call, int64_t result) {
  if (watch != NULL && watch->after) {
    int saved = errno;
    watch->after(watch->context, call, result);
    errno = saved;
  }
  return result;
}

/// Performs `expression` under the watch. EINTR, from the kernel or from the watch, means again.
#define WATCHED(call, expression)                                                   \
  ({                                                                                \
    int64_t outcome;                                                                \
    do {                                                                            \
      int answer = ask(&(call));                                                    \
      outcome = answer == PGW_PRETEND ? tell(&(call), 0)                            \
                : answer > 0          ? -1                                          \
                                      : tell(&(call), (int64_t)(expression));       \
    } while (outcome < 0 && errno == EINTR);                                        \
    outcome;                                                                        \
  })

// ------------------------------------------------------------------------------------------ open, read, write

int pgw_storage_open(const char *path, int flags, int mode) {
  pgw_call call = {.kind = PGW_CALL_OPEN, .descriptor = -1, .path = path};
  return (int)WATCHED(call, open(path, flags | O_CLOEXEC, mode));
}

int pgw_storage_stat(int descriptor, uint64_t *size, uint64_t *allocated) {
  pgw_call call = {.kind = PGW_CALL_STAT, .descriptor = descriptor};
  struct stat found;
  if (WATCHED(call, fstat(descriptor, &found)) != 0) return -1;
  *size = (uint64_t)found.st_size;
  *allocated = (uint64_t)found.st_blocks * 512;
  return 0;
}

int pgw_storage_fstat(int descriptor, pgw_stat *out) {
  pgw_call call = {.kind = PGW_CALL_STAT, .descriptor = descriptor};
  return (int)WATCHED(call, pgw_fstat(descriptor, out));
}

ssize_t pgw_storage_read(int descriptor, void *buffer, size_t count, int64_t offset) {
  size_t done = 0;
  while (done < count) {
    pgw_call call = {.kind = PGW_CALL_READ, .descriptor = descriptor, .offset = offset + (int64_t)done, .length = count - done};
    int answer = ask(&call);
    if (answer > 0 && errno == EINTR) continue;
    if (answer > 0) return -1;
    size_t want = answer == PGW_SHORT && count - done > 1 ? (count - done) / 2 : count - done;
    ssize_t got = (ssize_t)tell(&call, pread(descriptor, (char *)buffer + done, want, (off_t)(offset + (int64_t)done)));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    done += (size_t)got;
  }
  return (ssize_t)done;
}

int pgw_storage_write(int descriptor, const void *bytes, size_t count, int64_t offset) {
  size_t done = 0;
  while (done < count) {
    pgw_call call = {.kind = PGW_CALL_WRITE,
                     .descriptor = descriptor,
                     .offset = offset + (int64_t)done,
                     .length = count - done,
                     .bytes = (const char *)bytes + done};
    int answer = ask(&call);
    if (answer > 0 && errno == EINTR) continue;
    if (answer > 0) return -1;
    if (answer == PGW_PRETEND) {
      tell(&call, (int64_t)(count - done));
      return 0;
    }
    if (answer == PGW_SHORT && count - done > 1) call.length = (count - done) / 2;
    ssize_t put = (ssize_t)tell(&call, pgw_pwrite(descriptor, (const char *)bytes + done, call.length, call.offset));
    if (put < 0) return -1;
    if (put == 0) {
      // No progress and no reason: POSIX allows it, no file system does it. Better an error than a loop.
      errno = EIO;
      return -1;
    }
    done += (size_t)put;
  }
  return 0;
}

int pgw_storage_truncate(int descriptor, int64_t size) {
  pgw_call call = {.kind = PGW_CALL_TRUNCATE, .descriptor = descriptor, .offset = size};
  return (int)WATCHED(call, pgw_truncate(descriptor, size));
}

int pgw_storage_allocate(int descriptor, int64_t offset, int64_t length) {
  pgw_call call = {.kind = PGW_CALL_ALLOCATE, .descriptor = descriptor, .offset = offset, .length = (uint64_t)length};
  return (int)WATCHED(call, pgw_allocate(descriptor, offset, length));
}

static int allocate_ahead(int descriptor, int64_t offset, int64_t length) {
#if defined(__linux__)
  return fallocate(descriptor, FALLOC_FL_KEEP_SIZE, offset, length);
#else
  // F_PREALLOCATE leaves the size alone anyway.
  return pgw_allocate(descriptor, offset, length);
#endif
}

int pgw_storage_allocate_ahead(int descriptor, int64_t offset, int64_t length) {
  pgw_call call = {.kind = PGW_CALL_ALLOCATE, .descriptor = descriptor, .offset = offset, .length = (uint64_t)length};
  return (int)WATCHED(call, allocate_ahead(descriptor, offset, length));
}

static int punch(int descriptor, int64_t offset, int64_t length) {
#if defined(__APPLE__)
  struct fpunchhole hole = {0, 0, offset, length};
  return fcntl(descriptor, F_PUNCHHOLE, &hole);
#else
  return fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
#endif
}

int pgw_storage_punch(int descriptor, int64_t offset, int64_t length) {
  pgw_call call = {.kind = PGW_CALL_PUNCH, .descriptor = descriptor, .offset = offset, .length = (uint64_t)length};
  return (int)WATCHED(call, punch(descriptor, offset, length));
}

// ------------------------------------------------------------------------------------------------- names

int pgw_storage_rename(const char *from, const char *to) {
  pgw_call call = {.kind = PGW_CALL_RENAME, .descriptor = -1, .path = from, .other = to};
  return (int)WATCHED(call, rename(from, to));
}

static int rename_new(const char *from, const char *to) {
#if defined(__linux__) && defined(RENAME_NOREPLACE)
  if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
#elif defined(__APPLE__)
  if (renamex_np(from, to, RENAME_EXCL) == 0) return 0;
  if (errno != ENOTSUP && errno != EINVAL) return -1;
#endif
  if (link(from, to) != 0) return -1;
  unlink(from);
  return 0;
}

int pgw_storage_rename_new(const char *from, const char *to) {
  pgw_call call = {.kind = PGW_CALL_RENAME, .descriptor = -1, .path = from, .other = to};
  return (int)WATCHED(call, rename_new(from, to));
}

int pgw_storage_unlink(const char *path) {
  pgw_call call = {.kind = PGW_CALL_UNLINK, .descriptor = -1, .path = path};
  return (int)WATCHED(call, unlink(path));
}

static int sync_call(int descriptor, pgw_sync_level level);

static int sync_folder(const char *path) {
  int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return -1;
  int result = sync_call(folder, PGW_SYNC_DEVICE);
#if defined(__linux__)
  // As is_alive, for which a folder has no call; XFS refuses to open one.
  if (result == 0) {
    int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (again >= 0) close(again);
    else if (errno == EIO || errno == EROFS) result = -1;
  }
#endif
  int saved = errno;
  close(folder);
  errno = saved;
  // Some file systems have nothing to sync in a folder and say so.
  return result != 0 && errno == EINVAL ? 0 : result;
}

int pgw_storage_sync_folder(const char *path) {
  pgw_call call = {.kind = PGW_CALL_SYNC_FOLDER, .descriptor = -1, .path = path};
  return (int)WATCHED(call, sync_folder(path));
}

// -------------------------------------------------------------------------------------------------- sync

static int sync_call(int descriptor, pgw_sync_level level) {
#if defined(__APPLE__)
  if (level == PGW_SYNC_DEVICE) {
    if (fcntl(descriptor, F_FULLFSYNC) == 0) return 0;
    // File systems without it (network) know fsync only.
    return errno == ENOTSUP || errno == ENOTTY ? fsync(descriptor) : -1;
  }
#if defined(F_BARRIERFSYNC)
  if (level == PGW_SYNC_BARRIER && fcntl(descriptor, F_BARRIERFSYNC) == 0) return 0;
#endif
  return fsync(descriptor);
#else
  return level == PGW_SYNC_DEVICE ? fsync(descriptor) : fdatasync(descriptor);
#endif
}

/// Whether the file system of a regular file still works, asked after a sync that said 0. Where it gives up (it is shut down, or its
/// journal cannot be written) while a sync is under way, ext4 and XFS may drop the transaction that the sync was for and answer 0
/// (Linux 6.18, shut down: up to 18 of 100 fdatasync calls in that moment). They have noted their end before that, and refuse
/// I/O of no bytes, too: XFS reads, ext4 reads and writes, and only writes where it made itself read-only (by its source; not run).
/// These touch nothing and cost half a microsecond.
static bool is_alive(int descriptor) {
#if defined(__linux__)
  char none = 0;
  if (pread(descriptor, &none, 0, 0) < 0 && errno == EIO) return false;
  // EBADF: open for reading only.
  if (pwrite(descriptor, &none, 0, 0) < 0 && (errno == EIO || errno == EROFS)) return false;
#endif
  return true;
}

static int sync_open_file(int descriptor, pgw_sync_level level) {
  int result = sync_call(descriptor, level);
  return result == 0 && !is_alive(descriptor) ? -1 : result;
}

static int sync_range(int descriptor, void *base, size_t length) {
  int result = msync(base, length, MS_SYNC);
  return result == 0 && !is_alive(descriptor) ? -1 : result;
}

int pgw_storage_sync(int descriptor, pgw_sync_level level) {
  pgw_call call = {.kind = level == PGW_SYNC_DEVICE ? PGW_CALL_SYNC_FILE : PGW_CALL_SYNC_DATA, .descriptor = descriptor};
  return (int)WATCHED(call, sync_open_file(descriptor, level));
}

int pgw_storage_sync_range(int descriptor, void *base, size_t length) {
  pgw_call call = {.kind = PGW_CALL_SYNC_RANGE, .descriptor = descriptor, .length = length, .bytes = base};
  return (int)WATCHED(call, sync_range(descriptor, base, length));
}

int pgw_storage_writeback(int descriptor, int64_t offset, int64_t length) {
  pgw_call call = {.kind = PGW_CALL_WRITEBACK, .descriptor = descriptor, .offset = offset, .length = (uint64_t)length};
#if defined(__linux__)
  return (int)WATCHED(call, sync_file_range(descriptor, offset, length, SYNC_FILE_RANGE_WRITE));
#else
  return (int)WATCHED(call, (errno = ENOTSUP, -1));
#endif
}

// ------------------------------------------------------------------------------------------------ identity

char *pgw_real_path(const char *path) { return realpath(path, NULL); }

char *pgw_read_link(const char *path) {
  for (size_t room = 256;; room *= 2) {
    char *text = malloc(room);
    if (text == NULL) return NULL;
    ssize_t length = readlink(path, text, room);
    if (length < 0) {
      int saved = errno;
      free(text);
      errno = saved;
      return NULL;
    }
    if ((size_t)length < room) {
      text[length] = 0;
      return text;
    }
    free(text);
  }
}

int64_t pgw_birth_ns(int descriptor) {
#if defined(__linux__)
  struct statx found;
  memset(&found, 0, sizeof found);
  if (statx(descriptor, "", AT_EMPTY_PATH, STATX_BTIME, &found) != 0 || !(found.stx_mask & STATX_BTIME)) return 0;
  return found.stx_btime.tv_sec * 1000000000 + found.stx_btime.tv_nsec;
#elif defined(__APPLE__)
  struct stat found;
  if (fstat(descriptor, &found) != 0) return 0;
  return (int64_t)found.st_birthtimespec.tv_sec * 1000000000 + found.st_birthtimespec.tv_nsec;
#else
  (void)descriptor;
  return 0;
#endif
}

void pgw_sleep_ns(uint64_t nanoseconds) {
  struct timespec pause = {(time_t)(nanoseconds / 1000000000), (long)(nanoseconds % 1000000000)};
  nanosleep(&pause, NULL);
}

int pgw_random(void *bytes, size_t count) { return getentropy(bytes, count); }

// ------------------------------------------------------------------------------------------- who else has it

#if defined(__linux__)
int pgw_storage_lock(int descriptor) {
  pgw_call call = {.kind = PGW_CALL_LOCK, .descriptor = descriptor};
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  return (int)WATCHED(call, fcntl(descriptor, F_OFD_SETLK, &whole));
}

int pgw_storage_unlock(int descriptor) {
  struct flock whole = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
  return fcntl(descriptor, F_OFD_SETLK, &whole);
}

int pgw_storage_is_locked(int descriptor) {
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  // A reader's descriptor may ask about a lock that it could not take.
  if (fcntl(descriptor, F_OFD_GETLK, &whole) != 0) return -1;
  return whole.l_type != F_UNLCK;
}

int pgw_storage_is_alone(int descriptor) {
  if (fcntl(descriptor, F_SETLEASE, F_WRLCK) != 0) return errno == EAGAIN ? 0 : -1;
  fcntl(descriptor, F_SETLEASE, F_UNLCK);
  return 1;
}
#else
int pgw_storage_lock(int descriptor) {
  pgw_call call = {.kind = PGW_CALL_LOCK, .descriptor = descriptor};
  int result = (int)WATCHED(call, flock(descriptor, LOCK_EX | LOCK_NB));
  if (result != 0 && errno == EWOULDBLOCK) errno = EAGAIN;
  return result;
}

int pgw_storage_unlock(int descriptor) { return flock(descriptor, LOCK_UN); }

int pgw_storage_is_locked(int descriptor) {
  if (flock(descriptor, LOCK_SH | LOCK_NB) != 0) return errno == EWOULDBLOCK ? 1 : -1;
  flock(descriptor, LOCK_UN);
  return 0;
}

int pgw_storage_is_alone(int descriptor) {
  (void)descriptor;
  return -1;
}
#endif

// ------------------------------------------------------------------------------------------------ mappings

void *pgw_storage_map(void *hint, size_t length, int protection, int flags, int descriptor, int64_t offset) {
  pgw_call call = {.kind = PGW_CALL_MAP, .descriptor = descriptor, .offset = offset, .length = length};
  int answer;
  do answer = ask(&call);
  while (answer > 0 && errno == EINTR);
  if (answer > 0) return NULL;
  void *base = pgw_map(hint, length, protection, flags, descriptor, offset);
  tell(&call, base == NULL ? -1 : 0);
  return base;
}

int pgw_storage_populate(void *base, size_t length) {
  pgw_call call = {.kind = PGW_CALL_POPULATE, .descriptor = -1, .length = length, .bytes = base};
  return (int)WATCHED(call, pgw_madvise(base, length, PGW_MADV_POPULATE_WRITE));
}

// ---------------------------------------------------------------------------------------------- attributes

static ssize_t list_attributes(int descriptor, char *names, size_t size) {
#if defined(__APPLE__)
  return flistxattr(descriptor, names, size, 0);
#else
  return flistxattr(descriptor, names, size);
#endif
}

static ssize_t get_attribute(int descriptor, const char *name, void *value, size_t size) {
#if defined(__APPLE__)
  return fgetxattr(descriptor, name, value, size, 0, 0);
#else
  return fgetxattr(descriptor, name, value, size);
#endif
}

static int set_attribute(int descriptor, const char *name, const void *value, size_t size) {
#if defined(__APPLE__)
  return fsetxattr(descriptor, name, value, size, 0, 0);
#else
  return fsetxattr(descriptor, name, value, size, 0);
#endif
}

/// True for an error that says that this attribute is not for this user or this file system.
static bool is_refusal(int error) {
  return error == EPERM || error == EACCES || error == ENOTSUP || error == EOPNOTSUPP || error == EINVAL;
}

/// One attribute. 0, 1 when it was refused, -1.
static int copy_extended_attribute(int model, int descriptor, const char *name) {
  ssize_t size = get_attribute(model, name, NULL, 0);
  char *value = size < 0 ? NULL : malloc((size_t)size + 1);
  if (value == NULL) return size < 0 && is_refusal(errno) ? 1 : -1;
  size = get_attribute(model, name, value, (size_t)size);
  int result = size < 0 ? -1 : set_attribute(descriptor, name, value, (size_t)size), saved = errno;
  free(value);
  errno = saved;
  return result != 0 && is_refusal(errno) ? 1 : result;
}

/// Labels and access control lists travel as extended attributes. One that is refused is left out; `*lost_list` tells that it was
/// the access control list. 0 or -1: a list that is left out for want of space would let others in.
static int copy_extended_attributes(int model, int descriptor, bool *lost_list) {
  ssize_t room = list_attributes(model, NULL, 0);
  if (room <= 0) return room == 0 || is_refusal(errno) ? 0 : -1;
  char *names = malloc((size_t)room);
  if (names == NULL) return -1;
  ssize_t used = list_attributes(model, names, (size_t)room);
  int result = used < 0 ? -1 : 0;
  for (ssize_t at = 0; at < used && result == 0; at += (ssize_t)strlen(names + at) + 1) {
    result = copy_extended_attribute(model, descriptor, names + at);
    if (result == 1) {
      if (strcmp(names + at, "system.posix_acl_access") == 0) *lost_list = true;
      result = 0;
    }
  }
  int saved = errno;
  free(names);
  errno = saved;
  return result;
}

static int copy_attributes(int model, int descriptor, bool strict) {
  struct stat found, own;
  if (fstat(model, &found) != 0 || fstat(descriptor, &own) != 0) return -1;
  // The owner first: changing it takes the set-user bits away.
  if (found.st_uid != own.st_uid || found.st_gid != own.st_gid) {
    if (fchown(descriptor, found.st_uid, found.st_gid) != 0) {
      if (strict) return -1;
      // The group alone, which a member may give; else neither set-user nor set-group bits may stay.
      if (fchown(descriptor, (uid_t)-1, found.st_gid) != 0) found.st_mode &= ~(mode_t)(S_ISUID | S_ISGID);
      found.st_mode &= ~(mode_t)S_ISUID;
    }
  }
  bool lost_list = false;
  if (copy_extended_attributes(model, descriptor, &lost_list) != 0) return -1;
  // With a list the group's bits are the list's upper limit, not the group's rights.
  if (lost_list) found.st_mode &= ~(mode_t)S_IRWXG;
  return fchmod(descriptor, found.st_mode & 07777);
}

int pgw_storage_copy_attributes(int model, int descriptor, bool strict) {
  pgw_call call = {.kind = PGW_CALL_ATTRIBUTES, .descriptor = descriptor};
  return (int)WATCHED(call, copy_attributes(model, descriptor, strict));
}
