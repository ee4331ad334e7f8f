// SPDX-License-Identifier: Apache-2.0
//
// The controls, and what the kernel offers.

#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc_sides.h"

static void *shared(size_t size) {
  void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (base == MAP_FAILED) abort();
  return base;
}

static void nothing(void *end) { (void)end; }
static void keep(void *end, const void *bytes) { (void)end, (void)bytes; }

// Words

typedef struct words {
  _Alignas(128) _Atomic uint32_t ping;
  _Alignas(128) _Atomic uint32_t pong;
} words;

BASE_INLINE void await_word(_Atomic uint32_t *word, uint32_t wanted, const base_ipc_run *run, int role) {
  uint32_t now;
  while ((now = atomic_load_explicit(word, memory_order_acquire)) != wanted) {
    if (run->scenario.spins) base_relax(run, role);
    else syscall(SYS_futex, word, FUTEX_WAIT, now, NULL, NULL, 0);
  }
}

BASE_INLINE void tell_word(_Atomic uint32_t *word, uint32_t value, const base_ipc_run *run) {
  atomic_store_explicit(word, value, memory_order_release);
  if (!run->scenario.spins) syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void exchange_words(void *context, base_ipc_run *run, int role) {
  words *both = context;
  const base_scenario *what = &run->scenario;
  uint64_t last = 0;
  uint32_t turn = 0;
  for (int64_t i = -what->warm_up; i < what->count; i++) {
    turn++;
    if (i == 0) base_run_arrive(run, role), last = base_now_ns();
    if (role == 1) {
      await_word(&both->ping, turn, run, role);
      tell_word(&both->pong, turn, run);
      continue;
    }
    tell_word(&both->ping, turn, run);
    await_word(&both->pong, turn, run, role);
    if (what->sampled && i >= 0) {
      uint64_t now = base_now_ns();
      run->samples[i] = now - last;
      last = now;
    }
  }
  base_run_finish(run, role, 0);
}

// Rings

enum { RING_LIMIT = 4 << 20 };

typedef struct ring {
  _Alignas(128) _Atomic uint64_t tail;
  _Alignas(128) _Atomic uint64_t head;
  _Alignas(128) char data[RING_LIMIT];
} ring;

typedef struct ring_end {
  base_ipc_run *run;
  int role, rings, turn;
  uint64_t capacity;
  ring *out, *in;
  // Of the way out, and of each way in.
  uint64_t tail, known_head, heads[BASE_ROLES], known_tails[BASE_ROLES];
} ring_end;

static void *ring_attach(void *common, base_ipc_run *run, int role) {
  ring *rings = common;
  ring_end *end = calloc(1, sizeof *end);
  end->run = run, end->role = role;
  end->capacity = (uint64_t)run->scenario.capacity;
  if (run->scenario.kind == BASE_PING_PONG) {
    end->out = &rings[role], end->in = &rings[1 - role], end->rings = 1;
  } else {
    // Each producer has a ring of its own.
    end->out = &rings[role == 0 ? 0 : role - 1], end->in = rings;
    end->rings = run->scenario.kind == BASE_FAN_IN ? run->scenario.producers : 1;
  }
  return end;
}

BASE_INLINE void *ring_lend(void *context, size_t size) {
  ring_end *end = context;
  while (end->tail + size - end->known_head > end->capacity) {
    end->known_head = atomic_load_explicit(&end->out->head, memory_order_acquire);
    if (end->tail + size - end->known_head > end->capacity) base_relax(end->run, end->role);
  }
  return end->out->data + (end->tail & (end->capacity - 1));
}

BASE_INLINE void ring_send(void *context, const void *bytes, size_t size) {
  ring_end *end = context;
  if (!end->run->scenario.in_place) memcpy(ring_lend(end, size), bytes, size);
  end->tail += size;
  atomic_store_explicit(&end->out->tail, end->tail, memory_order_release);
}

BASE_INLINE const void *ring_receive(void *context, void *buffer, size_t size) {
  ring_end *end = context;
  (void)buffer, (void)size;
  while (true) {
    for (int i = 0; i < end->rings; i++) {
      ring *from = &end->in[end->turn];
      uint64_t head = end->heads[end->turn];
      if (end->known_tails[end->turn] == head)
        end->known_tails[end->turn] = atomic_load_explicit(&from->tail, memory_order_acquire);
      if (end->known_tails[end->turn] != head) return from->data + (head & (end->capacity - 1));
      end->turn = end->turn + 1 == end->rings ? 0 : end->turn + 1;
    }
    base_relax(end->run, end->role);
  }
}

BASE_INLINE void ring_release(void *context, const void *bytes) {
  ring_end *end = context;
  (void)bytes;
  end->heads[end->turn] += (uint64_t)end->run->scenario.size;
  atomic_store_explicit(&end->in[end->turn].head, end->heads[end->turn], memory_order_release);
  end->turn = end->turn + 1 == end->rings ? 0 : end->turn + 1;
}

static void run_ring(void *context, base_ipc_run *run, int role) {
  static const base_transport way = {ring_attach, ring_lend, ring_send, ring_receive, ring_release, nothing};
  base_run_role(&way, context, run, role);
}

// Pipes and sockets

typedef struct stream_end {
  int out, in;
} stream_end;

static void *stream_attach(void *common, base_ipc_run *run, int role) {
  // Two ways, each with an end to read from and an end to write to.
  int *ends = common;
  stream_end *end = calloc(1, sizeof *end);
  bool asks = run->scenario.kind == BASE_PING_PONG;
  end->out = asks && role == 1 ? ends[3] : ends[1];
  end->in = asks && role == 0 ? ends[2] : ends[0];
  return end;
}

BASE_INLINE void stream_send(void *context, const void *bytes, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t put = write(((stream_end *)context)->out, (const char *)bytes + done, size - done);
    if (put <= 0) _exit(1);
    done += (size_t)put;
  }
}

BASE_INLINE const void *stream_receive(void *context, void *buffer, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t got = read(((stream_end *)context)->in, (char *)buffer + done, size - done);
    if (got <= 0) _exit(1);
    done += (size_t)got;
  }
  return buffer;
}

static void run_stream(void *context, base_ipc_run *run, int role) {
  static const base_transport way = {stream_attach, NULL, stream_send, stream_receive, keep, nothing};
  base_run_role(&way, context, run, role);
}

// Message queues

typedef struct queue_end {
  mqd_t out, in;
  size_t limit;
} queue_end;

static void *queue_attach(void *common, base_ipc_run *run, int role) {
  mqd_t *queues = common;
  queue_end *end = calloc(1, sizeof *end);
  bool asks = run->scenario.kind == BASE_PING_PONG;
  struct mq_attr found;
  if (mq_getattr(queues[0], &found) != 0) _exit(1);
  end->out = queues[asks && role == 1], end->in = queues[asks && role == 0];
  end->limit = (size_t)found.mq_msgsize;
  return end;
}

BASE_INLINE void queue_send(void *context, const void *bytes, size_t size) {
  queue_end *end = context;
  for (size_t done = 0; done < size;) {
    size_t piece = size - done < end->limit ? size - done : end->limit;
    if (mq_send(end->out, (const char *)bytes + done, piece, 0) != 0) _exit(1);
    done += piece;
  }
}

BASE_INLINE const void *queue_receive(void *context, void *buffer, size_t size) {
  queue_end *end = context;
  // A call takes room for the longest message, whatever comes.
  static char last[65536];
  for (size_t done = 0; done < size;) {
    bool fits = size - done >= end->limit;
    ssize_t got = mq_receive(end->in, fits ? (char *)buffer + done : last, fits ? size - done : sizeof last, NULL);
    if (got <= 0) _exit(1);
    if (!fits) memcpy((char *)buffer + done, last, (size_t)got);
    done += (size_t)got;
  }
  return buffer;
}

static void run_queue(void *context, base_ipc_run *run, int role) {
  static const base_transport way = {queue_attach, NULL, queue_send, queue_receive, keep, nothing};
  base_run_role(&way, context, run, role);
}

static int open_queues(mqd_t *queues) {
  for (int i = 0; i < 2; i++) {
    char name[64];
    snprintf(name, sizeof name, "/pagewise-benchmarks-%d-%d", (int)getpid(), i);
    queues[i] = mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, NULL);
    if (queues[i] == (mqd_t)-1) return -1;
    mq_unlink(name);
  }
  return 0;
}

int base_run_side(int side, base_ipc_run *run) {
  int status = -1, ends[4] = {-1, -1, -1, -1};
  mqd_t queues[2] = {-1, -1};
  switch (side) {
  case BASE_WORDS: {
    words *both = shared(sizeof *both);
    status = base_run_fork(run, exchange_words, both);
    munmap(both, sizeof *both);
    break;
  }
  case BASE_RING: {
    size_t size = sizeof(ring) * (size_t)(run->scenario.kind == BASE_FAN_IN ? run->scenario.producers : 2);
    ring *rings = shared(size);
    status = base_run_fork(run, run_ring, rings);
    munmap(rings, size);
    break;
  }
  case BASE_PIPE:
    if (pipe(ends) != 0 || pipe(ends + 2) != 0) break;
    status = base_run_fork(run, run_stream, ends);
    break;
  case BASE_SOCKET: {
    // Where several write, messages must keep together.
    int type = run->scenario.kind == BASE_FAN_IN ? SOCK_SEQPACKET : SOCK_STREAM;
    if (socketpair(AF_UNIX, type, 0, ends) != 0 || socketpair(AF_UNIX, type, 0, ends + 2) != 0) break;
    status = base_run_fork(run, run_stream, ends);
    break;
  }
  case BASE_QUEUE:
    if (open_queues(queues) == 0) status = base_run_fork(run, run_queue, queues);
    break;
  }
  for (int i = 0; i < 4; i++)
    if (ends[i] >= 0) close(ends[i]);
  for (int i = 0; i < 2; i++)
    if (queues[i] != (mqd_t)-1) mq_close(queues[i]);
  return status;
}
