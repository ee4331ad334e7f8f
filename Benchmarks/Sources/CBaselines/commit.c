// SPDX-License-Identifier: Apache-2.0

#include "CBaselines.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__APPLE__)
// Declared nowhere, and no more than fsync there.
#define fdatasync fsync
#endif

struct base_committer {
  int way, descriptor, journal;
  size_t size, room, used;
  char *bytes, *record;
};

static int write_all(int descriptor, const void *bytes, size_t count, off_t offset) {
  for (size_t done = 0; done < count;) {
    ssize_t put = pwrite(descriptor, (const char *)bytes + done, count - done, offset + (off_t)done);
    if (put <= 0) return -1;
    done += (size_t)put;
  }
  return 0;
}

int base_fill(const char *path, size_t size) {
  int descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  uint64_t *words = malloc(size);
  if (descriptor < 0 || words == NULL) return -1;
  for (size_t i = 0; i < size / 8; i++) words[i] = (i + 1) * 0x9e3779b97f4a7c15u;
  int result = write_all(descriptor, words, size, 0) != 0 || fsync(descriptor) != 0 ? -1 : 0;
  free(words);
  close(descriptor);
  return result;
}

size_t base_place(uint32_t page) { return (page * 40u) % BASE_PAGE; }

void base_change_page(void *opaque, uint32_t page, uint64_t value, int whole) {
  char *bytes = opaque;
  if (!whole) {
    value ^= page;
    memcpy(bytes + base_place(page), &value, 8);
    return;
  }
  for (size_t i = 0; i < BASE_PAGE / 8; i++) {
    uint64_t word = (value ^ page) + i * 0xff51afd7ed558ccdu;
    memcpy(bytes + i * 8, &word, 8);
  }
}

void base_store(void *bytes, base_changes changes) {
  for (size_t i = 0; i < changes.count; i++) {
    char *page = (char *)bytes + (size_t)changes.pages[i] * BASE_PAGE;
    base_change_page(page, changes.pages[i], changes.value, changes.whole);
  }
}

uint64_t base_digest(const char *path) {
  base_evict(path);
  size_t length = 0;
  const char *bytes = base_map(path, &length);
  if (bytes == NULL) return 0;
  uint64_t digest = length;
  for (size_t i = 0; i + 8 <= length; i += 8) {
    uint64_t word;
    memcpy(&word, bytes + i, 8);
    digest = (digest ^ word) * 0x9e3779b97f4a7c15u;
    digest ^= digest >> 32;
  }
  base_unmap((void *)bytes, length);
  return digest;
}

/// A journal long enough for any commit here, of zeros that were written: overwriting them changes no metadata.
static int open_journal(const char *path, size_t room) {
  char name[4096];
  size_t length = strlen(path);
  if (length + 9 > sizeof name) return -1;
  memcpy(name, path, length);
  memcpy(name + length, ".journal", 9);
  int journal = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  char *zeros = calloc(1, room);
  if (journal < 0 || zeros == NULL || write_all(journal, zeros, room, 0) != 0 || fsync(journal) != 0) return -1;
  free(zeros);
  // The name is of no use: it is only measured.
  unlink(name);
  return journal;
}

base_committer *base_committer_open(const char *path, int way) {
  base_committer *new = calloc(1, sizeof *new);
  struct stat found;
  new->way = way;
  new->journal = -1;
  new->descriptor = open(path, O_RDWR | O_CLOEXEC);
  if (new->descriptor < 0 || fstat(new->descriptor, &found) != 0) return NULL;
  new->size = (size_t)found.st_size;
  if (way == BASE_COMMIT_MSYNC) {
    new->bytes = mmap(NULL, new->size, PROT_READ | PROT_WRITE, MAP_SHARED, new->descriptor, 0);
    if (new->bytes == MAP_FAILED) return NULL;
  }
  if (way == BASE_COMMIT_JOURNAL) {
    new->room = (new->size < (8u << 20) ? new->size : (8u << 20)) + (1u << 16);
    new->record = malloc(new->room);
    new->journal = open_journal(path, new->room);
    if (new->record == NULL || new->journal < 0) return NULL;
  }
  return new;
}

/// In place, by a write for each page: 8 bytes or all of them.
static int write_pages(int descriptor, base_changes changes) {
  char page[BASE_PAGE];
  for (size_t i = 0; i < changes.count; i++) {
    uint32_t number = changes.pages[i];
    size_t from = changes.whole ? 0 : base_place(number), count = changes.whole ? BASE_PAGE : 8;
    base_change_page(page, number, changes.value, changes.whole);
    if (write_all(descriptor, page + from, count, (off_t)number * BASE_PAGE + (off_t)from) != 0) return -1;
  }
  return 0;
}

/// One record: for each page its offset, its length and the bytes.
static void make_record(base_committer *committer, base_changes changes) {
  char page[BASE_PAGE];
  committer->used = 0;
  for (size_t i = 0; i < changes.count; i++) {
    uint32_t number = changes.pages[i];
    size_t from = changes.whole ? 0 : base_place(number);
    uint64_t head[2] = {(uint64_t)number * BASE_PAGE + from, changes.whole ? BASE_PAGE : 8};
    if (committer->used + sizeof head + head[1] > committer->room) return;
    base_change_page(page, number, changes.value, changes.whole);
    memcpy(committer->record + committer->used, head, sizeof head);
    memcpy(committer->record + committer->used + sizeof head, page + from, head[1]);
    committer->used += sizeof head + head[1];
  }
}

int base_committer_store(base_committer *committer, base_changes changes) {
  switch (committer->way) {
    case BASE_COMMIT_MSYNC: base_store(committer->bytes, changes); return 0;
    case BASE_COMMIT_PWRITE: return write_pages(committer->descriptor, changes);
    default: make_record(committer, changes); return 0;
  }
}

int base_committer_commit(base_committer *committer) {
  switch (committer->way) {
    case BASE_COMMIT_MSYNC: return msync(committer->bytes, committer->size, MS_SYNC);
    case BASE_COMMIT_PWRITE: return fdatasync(committer->descriptor);
    default:
      if (write_all(committer->journal, committer->record, committer->used, 0) != 0) return -1;
      return fdatasync(committer->journal);
  }
}

int base_committer_settle(base_committer *committer, base_changes changes) {
  if (committer->way != BASE_COMMIT_JOURNAL) return 0;
  return write_pages(committer->descriptor, changes) == 0 ? fdatasync(committer->descriptor) : -1;
}

void base_committer_close(base_committer *committer) {
  if (committer->bytes) munmap(committer->bytes, committer->size);
  if (committer->journal >= 0) close(committer->journal);
  close(committer->descriptor);
  free(committer->record);
  free(committer);
}

uint64_t base_flush(base_committer *committer, int way) {
  uint64_t from = base_now_ns();
  int result = -1;
  switch (way) {
    case BASE_FLUSH_MSYNC: result = msync(committer->bytes, committer->size, MS_SYNC); break;
    case BASE_FLUSH_FDATASYNC: result = fdatasync(committer->descriptor); break;
    case BASE_FLUSH_FSYNC: result = fsync(committer->descriptor); break;
    case BASE_FLUSH_QUEUE:
#if defined(__linux__)
      result = sync_file_range(committer->descriptor, 0, (off_t)committer->size, SYNC_FILE_RANGE_WRITE);
#endif
      break;
  }
  return result == 0 ? base_now_ns() - from : 0;
}
