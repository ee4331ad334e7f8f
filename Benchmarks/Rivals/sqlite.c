// SPDX-License-Identifier: Apache-2.0
//
// SQLite: a table of blobs by rowid. 8 bytes are changed through the interface for parts of blobs, which is its fastest way.

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rivals.h"

typedef struct state {
  sqlite3 *database;
  sqlite3_stmt *begin, *commit, *update, *select;
  char path[4096];
} state;

static void check(state *state, int result, int expected, const char *call) {
  if (result != expected) rival_fail(call, sqlite3_errmsg(state->database));
}

static void run(state *state, const char *text) {
  check(state, sqlite3_exec(state->database, text, NULL, NULL, NULL), SQLITE_OK, text);
}

static sqlite3_stmt *prepare(state *state, const char *text) {
  sqlite3_stmt *statement;
  check(state, sqlite3_prepare_v2(state->database, text, -1, &statement, NULL), SQLITE_OK, text);
  return statement;
}

static void step(state *state, sqlite3_stmt *statement) {
  check(state, sqlite3_step(statement), SQLITE_DONE, sqlite3_sql(statement));
  sqlite3_reset(statement);
}

static void *open_in(const char *folder, size_t count, const char *journal) {
  state *new = calloc(1, sizeof *new);
  char value[BASE_PAGE];
  snprintf(new->path, sizeof new->path, "%s/rival.sqlite", folder);
  if (sqlite3_open(new->path, &new->database) != SQLITE_OK) rival_fail("sqlite3_open", new->path);
  run(new, journal);
  run(new, "PRAGMA synchronous=FULL");
  // The whole file fits, as it does in the page cache for the others.
  run(new, "PRAGMA cache_size=-200000");
  run(new, "CREATE TABLE pages(id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)");
  run(new, "BEGIN");
  sqlite3_stmt *insert = prepare(new, "INSERT INTO pages VALUES(?1, ?2)");
  for (size_t i = 0; i < count; i++) {
    rival_value((uint32_t)i, value);
    sqlite3_bind_int64(insert, 1, (sqlite3_int64)i);
    sqlite3_bind_blob(insert, 2, value, sizeof value, SQLITE_STATIC);
    step(new, insert);
  }
  sqlite3_finalize(insert);
  run(new, "COMMIT");
  run(new, "PRAGMA wal_checkpoint(TRUNCATE)");
  new->begin = prepare(new, "BEGIN IMMEDIATE");
  new->commit = prepare(new, "COMMIT");
  new->update = prepare(new, "UPDATE pages SET bytes = ?2 WHERE id = ?1");
  new->select = prepare(new, "SELECT bytes FROM pages WHERE id = ?1");
  return new;
}

static void *open_wal(const char *folder, size_t count) { return open_in(folder, count, "PRAGMA journal_mode=WAL"); }
static void *open_delete(const char *folder, size_t count) {
  return open_in(folder, count, "PRAGMA journal_mode=DELETE");
}

static void store(void *opaque, base_changes changes) {
  state *state = opaque;
  char value[BASE_PAGE];
  sqlite3_blob *blob = NULL;
  step(state, state->begin);
  for (size_t i = 0; i < changes.count; i++) {
    uint32_t number = changes.pages[i];
    rival_change(number, changes, value);
    if (changes.whole) {
      sqlite3_bind_int64(state->update, 1, number);
      sqlite3_bind_blob(state->update, 2, value, sizeof value, SQLITE_STATIC);
      step(state, state->update);
      continue;
    }
    int place = (int)base_place(number);
    int found = blob == NULL ? sqlite3_blob_open(state->database, "main", "pages", "bytes", number, 1, &blob)
                             : sqlite3_blob_reopen(blob, number);
    check(state, found, SQLITE_OK, "sqlite3_blob_open");
    check(state, sqlite3_blob_write(blob, value + place, 8, place), SQLITE_OK, "sqlite3_blob_write");
  }
  sqlite3_blob_close(blob);
}

static void commit(void *opaque) { step(opaque, ((state *)opaque)->commit); }

static void read_value(void *opaque, uint32_t number, void *value) {
  state *state = opaque;
  sqlite3_bind_int64(state->select, 1, number);
  check(state, sqlite3_step(state->select), SQLITE_ROW, "SELECT");
  memcpy(value, sqlite3_column_blob(state->select, 0), BASE_PAGE);
  sqlite3_reset(state->select);
}

static void close_all(void *opaque) {
  state *state = opaque;
  sqlite3_stmt *all[] = {state->begin, state->commit, state->update, state->select};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) sqlite3_finalize(all[i]);
  check(state, sqlite3_close(state->database), SQLITE_OK, "sqlite3_close");
  const char *suffixes[] = {"", "-wal", "-shm", "-journal"};
  char name[4200];
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
    snprintf(name, sizeof name, "%s%s", state->path, suffixes[i]);
    unlink(name);
  }
  free(state);
}

const rival sqlite_wal = {"SQLite, WAL, FULL", open_wal, store, commit, read_value, close_all};
const rival sqlite_delete = {"SQLite, DELETE, FULL", open_delete, store, commit, read_value, close_all};
