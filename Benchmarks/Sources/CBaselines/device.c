// SPDX-License-Identifier: Apache-2.0

#include "CBaselines.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#else
#include <sys/mount.h>
#include <sys/param.h>
#endif

#if defined(__linux__)
int64_t base_device_written(const char *path) {
  struct stat found;
  char name[64];
  if (stat(path, &found) != 0) return -1;
  snprintf(name, sizeof name, "/sys/dev/block/%u:%u/stat", major(found.st_dev), minor(found.st_dev));
  FILE *file = fopen(name, "re");
  if (file == NULL) return -1;
  // Field 7: sectors of 512 bytes written, whatever the device's own sectors are (Documentation/block/stat.rst).
  unsigned long long sectors = 0;
  int got = fscanf(file, "%*u %*u %*u %*u %*u %*u %llu", &sectors);
  fclose(file);
  return got == 1 ? (int64_t)(sectors * 512) : -1;
}

int base_device_name(const char *path, char *name, size_t room) {
  struct stat found;
  char link[64], target[256];
  if (stat(path, &found) != 0) return -1;
  snprintf(link, sizeof link, "/sys/dev/block/%u:%u", major(found.st_dev), minor(found.st_dev));
  ssize_t length = readlink(link, target, sizeof target - 1);
  if (length < 0) return -1;
  target[length] = 0;
  const char *last = strrchr(target, '/');
  snprintf(name, room, "%s", last ? last + 1 : target);
  return 0;
}

uint64_t base_filesystem_magic(const char *path) {
  struct statfs found;
  return statfs(path, &found) == 0 ? (uint64_t)found.f_type : 0;
}

int base_sync_filesystem(const char *path) {
  int folder = open(path, O_RDONLY | O_CLOEXEC);
  if (folder < 0) return -1;
  int result = syncfs(folder);
  close(folder);
  return result;
}

int base_mount_image(const char *folder, int64_t size) {
  char image[4096], target[4096];
  if (geteuid() != 0) return -1;
  snprintf(image, sizeof image, "%s/image", folder);
  snprintf(target, sizeof target, "%s/loop", folder);
  // A name space of mounts of our own, from which nothing comes back to the one that everybody sees.
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return -1;
  int descriptor = open(image, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (descriptor < 0) return -1;
  int result = ftruncate(descriptor, size) != 0 || (mkdir(target, 0700) != 0 && errno != EEXIST) ? -1 : 0;
  close(descriptor);
  // All inodes at once: else the kernel makes them in the background, and its writes would count as ours.
  char *make[] = {"mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image, NULL};
  char *put[] = {"mount", "-o", "loop", image, target, NULL};
  if (result == 0 && (base_run(make) == 0 || base_run(put) == 0)) result = -1;
  // The loop device keeps it.
  unlink(image);
  if (result != 0) rmdir(target);
  return result;
}

void base_unmount_image(const char *folder) {
  char target[4096];
  snprintf(target, sizeof target, "%s/loop", folder);
  umount2(target, MNT_DETACH);
  rmdir(target);
}
#else
int64_t base_device_written(const char *path) { return (void)path, -1; }
int base_device_name(const char *path, char *name, size_t room) { return (void)path, (void)name, (void)room, -1; }
uint64_t base_filesystem_magic(const char *path) { return (void)path, 0; }
int base_sync_filesystem(const char *path) { return (void)path, sync(), 0; }
int base_mount_image(const char *folder, int64_t size) { return (void)folder, (void)size, -1; }
void base_unmount_image(const char *folder) { (void)folder; }
#endif
