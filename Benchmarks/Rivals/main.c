// SPDX-License-Identifier: Apache-2.0
//
// What is measured: one transaction that changes scattered pages of 4 KiB out of 64 MiB, 8 bytes of each or all of it, durable when
// it returns; the same numbers and the same places as in `pagewise-benchmarks --filter commit`, to be read beside it.
//
// Usage: rivals [--folder PATH] [--quick] [--no-loop]. As there: times are from the folder (default: the current one), KiB that reach
// the device are counted on an ext4 image of our own for root, else on the folder's device, which others may write to.

#include <limits.h>
#include <sqlite3.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rivals.h"

enum { ROUNDS = 21, COUNTED = 7 };

void rival_fail(const char *call, const char *why) {
  fprintf(stderr, "rivals: %s: %s\n", call, why);
  exit(1);
}

void rival_value(uint32_t number, void *value) {
  for (size_t i = 0; i < BASE_PAGE / 8; i++) {
    uint64_t word = ((uint64_t)number * (BASE_PAGE / 8) + i + 1) * 0x9e3779b97f4a7c15u;
    memcpy((char *)value + i * 8, &word, 8);
  }
}

void rival_change(uint32_t number, base_changes changes, void *value) {
  base_change_page(value, number, changes.value, changes.whole);
}

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

/// As CommitCell.changes: different pages, in no order.
static base_changes draw(uint32_t *pages, size_t count, size_t all, int round, int whole) {
  uint64_t state = 0x9e3779b9u + (uint64_t)round * 0x12345677u;
  char *seen = calloc(1, all);
  for (int i = 0; i < 8; i++) next_random(&state);
  for (size_t used = 0; used < count;) {
    uint32_t page = (uint32_t)(next_random(&state) % all);
    if (seen[page]) continue;
    seen[page] = 1;
    pages[used++] = page;
  }
  free(seen);
  return (base_changes){pages, count, (uint64_t)(round + 1) << 32, whole};
}

static int by_size(const void *a, const void *b) {
  double first = *(const double *)a, second = *(const double *)b;
  return first < second ? -1 : first > second;
}

static double sum(const double *values, int count) {
  double all = 0;
  for (int i = 0; i < count; i++) all += values[i];
  return all;
}

/// Every value must be what the changes make of it.
static void verify(const rival *rival, void *state, char *model, size_t all) {
  char value[BASE_PAGE];
  // One that fits a page of LMDB is shorter.
  size_t size = rival == &lmdb_fitting ? BASE_PAGE - 16 : BASE_PAGE;
  for (size_t i = 0; i < all; i++) {
    rival->read(state, (uint32_t)i, value);
    if (memcmp(value, model + i * BASE_PAGE, size) != 0) rival_fail(rival->name, "did not do the same work");
  }
}

/// Times one cell in `folder`, and prints a row with the KiB that were counted before.
static void measure(const rival *rival, const char *folder, size_t all, size_t pages, int whole, int rounds, double kib) {
  uint32_t *list = malloc(pages * sizeof *list);
  char *model = malloc(all * BASE_PAGE);
  double both[ROUNDS], commit[ROUNDS];
  for (size_t i = 0; i < all; i++) rival_value((uint32_t)i, model + i * BASE_PAGE);
  void *state = rival->open(folder, all);
  for (int round = 0; round <= rounds; round++) {
    base_changes changes = draw(list, pages, all, round, whole);
    uint64_t start = base_now_ns();
    rival->store(state, changes);
    uint64_t stored = base_now_ns();
    rival->commit(state);
    uint64_t end = base_now_ns();
    base_store(model, changes);
    if (round == 0) continue;
    both[round - 1] = (double)(end - start) / 1e3;
    commit[round - 1] = (double)(end - stored) / 1e3;
  }
  verify(rival, state, model, all);
  rival->close(state);
  double mean = sum(both, rounds) / rounds;
  qsort(both, (size_t)rounds, sizeof *both, by_size);
  qsort(commit, (size_t)rounds, sizeof *commit, by_size);
  printf("%-22s %5zu x %-6s %9.0f us  (%.0f–%.0f)  mean %.0f  commit alone %.0f", rival->name, pages, whole ? "4 KiB" : "8 B",
         both[rounds / 2], both[rounds / 10], both[rounds * 9 / 10], mean, commit[rounds / 2]);
  if (kib >= 0) printf("  device %.0f KiB", kib);
  printf("\n");
  fflush(stdout);
  free(model);
  free(list);
}

/// KiB that reach the device until the commit returns, median; -1 where nobody counts.
static double count_device(const rival *rival, const char *folder, size_t all, size_t pages, int whole, int rounds) {
  if (folder == NULL) return -1;
  uint32_t *list = malloc(pages * sizeof *list);
  double found[COUNTED];
  void *state = rival->open(folder, all);
  for (int round = 0; round <= rounds; round++) {
    base_changes changes = draw(list, pages, all, round, whole);
    base_sync_filesystem(folder);
    int64_t before = base_device_written(folder);
    rival->store(state, changes);
    rival->commit(state);
    if (round > 0) found[round - 1] = (double)(base_device_written(folder) - before) / 1024;
  }
  rival->close(state);
  free(list);
  qsort(found, (size_t)rounds, sizeof *found, by_size);
  return found[rounds / 2];
}

int main(int count, char **arguments) {
  const char *parent = ".";
  int quick = 0, loop = 1;
  for (int i = 1; i < count; i++) {
    if (strcmp(arguments[i], "--quick") == 0) quick = 1;
    else if (strcmp(arguments[i], "--no-loop") == 0) loop = 0;
    else if (strcmp(arguments[i], "--folder") == 0 && i + 1 < count) parent = arguments[++i];
    else rival_fail("usage", "rivals [--folder PATH] [--quick] [--no-loop]");
  }
  char whole[PATH_MAX], folder[PATH_MAX + 64], image[PATH_MAX + 80];
  if (realpath(parent, whole) == NULL) rival_fail("there is no folder", parent);
  snprintf(folder, sizeof folder, "%s/pagewise-rivals-%d", whole, (int)getpid());
  snprintf(image, sizeof image, "%s/loop", folder);
  if (mkdir(folder, 0700) != 0) rival_fail("mkdir", folder);
  int isImage = loop && !quick && base_mount_image(folder, (int64_t)2 << 30) == 0;
  const char *counted = isImage ? image : base_device_written(folder) >= 0 ? folder : NULL;

  size_t all = quick ? 256 : 16384, cells[] = {1, 10, 100, 1000};
  printf("SQLite %s, LMDB %d.%d.%d; %zu values of 4 KiB; median (10th–90th percentile) of changes and commit\n",
         sqlite3_libversion(), MDB_VERSION_MAJOR, MDB_VERSION_MINOR, MDB_VERSION_PATCH, all);
  printf("device KiB are counted on %s\n", isImage     ? "an ext4 image behind a loop device that nobody else writes to"
                                           : counted ? "the folder's device, which others may write to at the same time"
                                                     : "nothing: the kernel counts none for this place");
  const rival *rivals[] = {&sqlite_wal, &sqlite_delete, &lmdb_full, &lmdb_fitting};
  for (int form = 0; form < 2; form++) {
    for (size_t cell = 0; cell < (quick ? 2 : 4); cell++) {
      for (size_t i = 0; i < sizeof rivals / sizeof *rivals; i++) {
        double kib = count_device(rivals[i], counted, all, cells[cell], form, quick ? 1 : COUNTED);
        measure(rivals[i], folder, all, cells[cell], form, quick ? 2 : ROUNDS, kib);
      }
    }
  }
  if (isImage) base_unmount_image(folder);
  rmdir(folder);
  return 0;
}
