// SPDX-License-Identifier: Apache-2.0
//
// What a side in C does in each kind of run, over a way to move messages. All of it is inlined, so that a transport whose functions the
// compiler sees costs no call. Also for C++.

#ifndef PGW_IPC_SIDES_H
#define PGW_IPC_SIDES_H

#include <stdlib.h>

#include "base_ipc.h"

#define BASE_INLINE static inline __attribute__((always_inline))

/// A way to move messages. Every function ends the process when it fails.
typedef struct base_transport {
  /// In each process: its ends. An asker and an answerer have a way in and a way out each.
  void *(*attach)(void *common, base_ipc_run *run, int role);
  /// Where to write the next message; NULL where all is copied.
  void *(*lend)(void *end, size_t size);
  /// Sends what was lent, or a copy of what was not.
  void (*send)(void *end, const void *bytes, size_t size);
  /// The next message: in `buffer`, or where it lies until the release.
  const void *(*receive)(void *end, void *buffer, size_t size);
  void (*release)(void *end, const void *bytes);
  /// After the last message has arrived.
  void (*detach)(void *end);
} base_transport;

BASE_INLINE void base_send_one(const base_transport *way, void *end, char *buffer, const base_scenario *what, int64_t number) {
  char *bytes = buffer;
  if (what->in_place) bytes = (char *)way->lend(end, (size_t)what->size);
  base_fill_message(bytes, (size_t)what->touched, (uint64_t)number);
  way->send(end, bytes, (size_t)what->size);
}

BASE_INLINE uint64_t base_receive_one(const base_transport *way, void *end, char *buffer, const base_scenario *what) {
  const void *bytes = way->receive(end, buffer, (size_t)what->size);
  uint64_t sum = base_sum_message(bytes, (size_t)what->touched);
  way->release(end, bytes);
  return sum;
}

BASE_INLINE uint64_t base_ask(const base_transport *way, void *end, char *buffer, base_ipc_run *run) {
  const base_scenario *what = &run->scenario;
  uint64_t sum = 0, last = 0;
  for (int64_t i = -what->warm_up; i < what->count; i++) {
    if (i == 0) base_run_arrive(run, 0), last = base_now_ns();
    base_send_one(way, end, buffer, what, i);
    sum += base_receive_one(way, end, buffer, what);
    if (what->sampled && i >= 0) {
      uint64_t now = base_now_ns();
      run->samples[i] = now - last;
      last = now;
    }
  }
  return sum;
}

BASE_INLINE uint64_t base_answer(const base_transport *way, void *end, char *buffer, base_ipc_run *run) {
  const base_scenario *what = &run->scenario;
  uint64_t sum = 0;
  for (int64_t i = -what->warm_up; i < what->count; i++) {
    if (i == 0) base_run_arrive(run, 1);
    const void *bytes = way->receive(end, buffer, (size_t)what->size);
    sum += base_sum_message(bytes, (size_t)what->touched);
    const void *answer = bytes;
    if (what->in_place) {
      char *place = (char *)way->lend(end, (size_t)what->size);
      __builtin_memcpy(place, bytes, (size_t)what->size);
      answer = place;
    }
    way->send(end, answer, (size_t)what->size);
    way->release(end, bytes);
  }
  return sum;
}

BASE_INLINE uint64_t base_produce(const base_transport *way, void *end, char *buffer, base_ipc_run *run, int role) {
  const base_scenario *what = &run->scenario;
  for (int64_t i = -what->warm_up; i < what->count; i++) {
    if (i == 0) base_run_arrive(run, role);
    if (what->kind == BASE_OPEN_LOOP && i >= 0) base_run_await(run, i);
    base_send_one(way, end, buffer, what, i);
  }
  return 0;
}

BASE_INLINE uint64_t base_consume(const base_transport *way, void *end, char *buffer, base_ipc_run *run) {
  const base_scenario *what = &run->scenario;
  int64_t times = what->kind == BASE_FAN_IN ? what->producers : 1;
  uint64_t sum = 0;
  for (int64_t i = -what->warm_up * times; i < what->count * times; i++) {
    if (i == 0) base_run_arrive(run, 1);
    sum += base_receive_one(way, end, buffer, what);
    if (what->kind == BASE_OPEN_LOOP && what->sampled && i >= 0) run->samples[i] = base_run_lateness(run, i);
  }
  return sum;
}

BASE_INLINE void base_run_role(const base_transport *way, void *common, base_ipc_run *run, int role) {
  size_t size = (size_t)(run->scenario.size + 63) / 64 * 64;
  char *buffer = (char *)aligned_alloc(64, size);
  __builtin_memset(buffer, 0, size);
  void *end = way->attach(common, run, role);
  uint64_t work = 0;
  if (run->scenario.kind == BASE_PING_PONG)
    work = role == 0 ? base_ask(way, end, buffer, run) : base_answer(way, end, buffer, run);
  else
    work = role == 1 ? base_consume(way, end, buffer, run) : base_produce(way, end, buffer, run, role);
  base_run_finish(run, role, work);
  way->detach(end);
  free(buffer);
}

#endif
