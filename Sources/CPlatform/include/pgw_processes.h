// SPDX-License-Identifier: Apache-2.0
//
// Looking at other processes through /proc. ENOTSUP where there is none.

#ifndef PGW_PROCESSES_H
#define PGW_PROCESSES_H

#include <stdbool.h>
#include <stdint.h>

#include "pgw_system.h"

/// stat(2) as pgw_stat_path with links followed, but from what this kernel knows: no server is asked (AT_STATX_DONT_SYNC).
int pgw_stat_unsynced(const char *path, pgw_stat *out);
/// Opens a place, not its content (O_PATH): for pgw_fstat and pgw_fstatfs. No device is started, no time moves.
int pgw_open_place(const char *path);
/// Opens the regular file that such a descriptor stands for, for reading.
int pgw_reopen_place(int place);
/// The device number of a major and a minor, as stat(2) gives it.
uint64_t pgw_device_number(uint32_t major, uint32_t minor);
/// read(2), again after EINTR.
ssize_t pgw_read(int descriptor, void *buffer, size_t count);

/// The open descriptors of a process.
typedef struct pgw_descriptors pgw_descriptors;
/// By the path of the folder `fd` of a process or a thread. NULL and errno when they cannot be listed.
pgw_descriptors *pgw_descriptors_open(const char *path);
/// The next one and the file that it stands for. False at the end.
bool pgw_descriptors_next(pgw_descriptors *list, int *number, uint64_t *device, uint64_t *inode);
void pgw_descriptors_close(pgw_descriptors *list);

/// Bytes of a range of a file that have no blocks (FIEMAP): to store there needs space. Preallocated ones and those that wait for
/// their write-back have some. -1 where the file system does not tell.
int64_t pgw_bytes_without_blocks(int descriptor, int64_t offset, int64_t length);

/// 1: there is a process or thread of this number, whoever may see it, 0: none, -1: not known.
int pgw_process_exists(int64_t process);

#endif
