// SPDX-License-Identifier: Apache-2.0
//
// What reaches the device below a folder: asked of the kernel, which counts sectors for each block device.

#ifndef PGW_BASE_DEVICE_H
#define PGW_BASE_DEVICE_H

#include <stddef.h>
#include <stdint.h>

/// Bytes written to the block device below `path` since boot, by everybody; -1 where there is none (tmpfs) or it is not known (btrfs).
int64_t base_device_written(const char *path);
/// The device's name, as in /sys/block, and the magic number of the file system. 0, or -1 when there is no such device.
int base_device_name(const char *path, char *name, size_t room);
uint64_t base_filesystem_magic(const char *path);
/// Everything of the file system that holds `path` is written (syncfs).
int base_sync_filesystem(const char *path);

/// Makes an ext4 image of `size` bytes in `folder` and mounts it at `folder`/loop, for this process and its children alone: the kernel
/// takes it away with the process, however that ends. Root only; the mounts of nobody else change. 0 or -1.
int base_mount_image(const char *folder, int64_t size);
/// Takes it away earlier, so that the folder can be removed.
void base_unmount_image(const char *folder);

#endif
