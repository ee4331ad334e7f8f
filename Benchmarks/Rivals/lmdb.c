// SPDX-License-Identifier: Apache-2.0
//
// LMDB: values by number. A value of 4 KiB takes two pages, with a header in front of it; one of 4,080 bytes takes one.

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rivals.h"

typedef struct state {
  MDB_env *environment;
  MDB_txn *transaction;
  MDB_dbi database;
  size_t size;
  char path[4096];
} state;

static void check(int result, const char *call) {
  if (result != 0) rival_fail(call, mdb_strerror(result));
}

static void put(state *state, uint32_t number, void *value) {
  MDB_val key = {sizeof number, &number}, data = {state->size, value};
  check(mdb_put(state->transaction, state->database, &key, &data, 0), "mdb_put");
}

static void *open_in(const char *folder, size_t count, size_t size) {
  state *new = calloc(1, sizeof *new);
  char value[BASE_PAGE];
  new->size = size;
  snprintf(new->path, sizeof new->path, "%s/rival.lmdb", folder);
  check(mdb_env_create(&new->environment), "mdb_env_create");
  check(mdb_env_set_mapsize(new->environment, (size_t)1 << 30), "mdb_env_set_mapsize");
  check(mdb_env_open(new->environment, new->path, MDB_NOSUBDIR, 0600), "mdb_env_open");
  check(mdb_txn_begin(new->environment, NULL, 0, &new->transaction), "mdb_txn_begin");
  check(mdb_dbi_open(new->transaction, NULL, MDB_INTEGERKEY, &new->database), "mdb_dbi_open");
  for (size_t i = 0; i < count; i++) {
    rival_value((uint32_t)i, value);
    put(new, (uint32_t)i, value);
  }
  check(mdb_txn_commit(new->transaction), "mdb_txn_commit");
  return new;
}

static void *open_full(const char *folder, size_t count) { return open_in(folder, count, BASE_PAGE); }
static void *open_fitting(const char *folder, size_t count) { return open_in(folder, count, BASE_PAGE - 16); }

static void store(void *opaque, base_changes changes) {
  state *state = opaque;
  char value[BASE_PAGE];
  check(mdb_txn_begin(state->environment, NULL, 0, &state->transaction), "mdb_txn_begin");
  for (size_t i = 0; i < changes.count; i++) {
    uint32_t number = changes.pages[i];
    if (!changes.whole) {
      // LMDB changes whole values: the old one is copied.
      MDB_val key = {sizeof number, &number}, data;
      check(mdb_get(state->transaction, state->database, &key, &data), "mdb_get");
      memcpy(value, data.mv_data, state->size);
    }
    rival_change(number, changes, value);
    put(state, number, value);
  }
}

static void commit(void *opaque) { check(mdb_txn_commit(((state *)opaque)->transaction), "mdb_txn_commit"); }

static void read_value(void *opaque, uint32_t number, void *value) {
  state *state = opaque;
  MDB_val key = {sizeof number, &number}, data;
  check(mdb_txn_begin(state->environment, NULL, MDB_RDONLY, &state->transaction), "mdb_txn_begin");
  check(mdb_get(state->transaction, state->database, &key, &data), "mdb_get");
  // What lies behind a short value is not kept.
  memset(value, 0, BASE_PAGE);
  memcpy(value, data.mv_data, state->size);
  mdb_txn_abort(state->transaction);
}

static void close_all(void *opaque) {
  state *state = opaque;
  char name[4200];
  mdb_env_close(state->environment);
  unlink(state->path);
  snprintf(name, sizeof name, "%s-lock", state->path);
  unlink(name);
  free(state);
}

const rival lmdb_full = {"LMDB, 4,096 B values", open_full, store, commit, read_value, close_all};
const rival lmdb_fitting = {"LMDB, 4,080 B values", open_fitting, store, commit, read_value, close_all};
