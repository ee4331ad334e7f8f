// SPDX-License-Identifier: Apache-2.0

#include "base_ipc.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *shared(size_t size) {
  void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (base == MAP_FAILED) abort();
  return base;
}

void base_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

pid_t base_fork(void) { return fork(); }
void base_exit(int status) { _exit(status); }

int base_await(pid_t child) {
  int status;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

uint64_t *base_shared_word(void) { return shared(4096); }

double base_cpu_seconds(void) {
  double total = 0;
  for (int who = 0; who < 2; who++) {
    struct rusage usage;
    getrusage(who == 0 ? RUSAGE_SELF : RUSAGE_CHILDREN, &usage);
    total += (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6;
    total += (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
  }
  return total;
}

void base_fill_message(void *bytes, size_t size, uint64_t number) {
  uint64_t *words = bytes;
  for (size_t i = 0; i < size / 8; i++) words[i] = number + i;
}

uint64_t base_sum_message(const void *bytes, size_t size) {
  const uint64_t *words = bytes;
  uint64_t sum = 0;
  for (size_t i = 0; i < size / 8; i++) sum += words[i];
  return sum;
}

// Round trips

typedef struct pair {
  _Alignas(128) _Atomic uint32_t ping;
  _Alignas(128) _Atomic uint32_t pong;
} pair;

uint64_t base_spin_pingpong(size_t rounds) {
  pair *words = shared(sizeof *words);
  pid_t child = fork();
  if (child == 0) {
    for (uint32_t i = 1; i <= rounds; i++) {
      while (atomic_load_explicit(&words->ping, memory_order_acquire) != i) base_pause();
      atomic_store_explicit(&words->pong, i, memory_order_release);
    }
    _exit(0);
  }
  for (uint32_t i = 1; i <= rounds; i++) {
    atomic_store_explicit(&words->ping, i, memory_order_release);
    while (atomic_load_explicit(&words->pong, memory_order_acquire) != i) base_pause();
  }
  base_await(child);
  munmap(words, sizeof *words);
  return rounds;
}

static void await_word(_Atomic uint32_t *word, uint32_t wanted) {
  uint32_t now;
  while ((now = atomic_load_explicit(word, memory_order_acquire)) != wanted)
    syscall(SYS_futex, word, FUTEX_WAIT, now, NULL, NULL, 0);
}

static void tell_word(_Atomic uint32_t *word, uint32_t value) {
  atomic_store_explicit(word, value, memory_order_release);
  syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

uint64_t base_futex_pingpong(size_t rounds) {
  pair *words = shared(sizeof *words);
  pid_t child = fork();
  if (child == 0) {
    for (uint32_t i = 1; i <= rounds; i++) {
      await_word(&words->ping, i);
      tell_word(&words->pong, i);
    }
    _exit(0);
  }
  for (uint32_t i = 1; i <= rounds; i++) {
    tell_word(&words->ping, i);
    await_word(&words->pong, i);
  }
  base_await(child);
  munmap(words, sizeof *words);
  return rounds;
}

uint64_t base_pipe_pingpong(size_t rounds) {
  int there[2], back[2];
  if (pipe(there) != 0 || pipe(back) != 0) abort();
  pid_t child = fork();
  char message[64] = {0};
  if (child == 0) {
    for (size_t i = 0; i < rounds; i++)
      if (read(there[0], message, 64) != 64 || write(back[1], message, 64) != 64) _exit(1);
    _exit(0);
  }
  size_t done = 0;
  while (done < rounds && write(there[1], message, 64) == 64 && read(back[0], message, 64) == 64) done++;
  base_await(child);
  for (int i = 0; i < 2; i++) close(there[i]), close(back[i]);
  return done;
}

// Streams

enum { RING_SIZE = 1 << 20 };

typedef struct ring {
  _Alignas(128) _Atomic uint64_t tail;
  _Alignas(128) _Atomic uint64_t head;
  _Alignas(128) char data[RING_SIZE];
} ring;

/// Fixed messages whose size divides the ring's, so that there is no end to look after: an upper bound.
static void ring_send(ring *to, const void *message, size_t size, uint64_t *tail, uint64_t *known_head) {
  while (*tail + size - *known_head > RING_SIZE) {
    *known_head = atomic_load_explicit(&to->head, memory_order_acquire);
    if (*tail + size - *known_head > RING_SIZE) base_pause();
  }
  memcpy(to->data + *tail % RING_SIZE, message, size);
  *tail += size;
  atomic_store_explicit(&to->tail, *tail, memory_order_release);
}

static uint64_t ring_sum(ring *from, size_t count, size_t size) {
  uint64_t head = 0, known_tail = 0, sum = 0;
  for (size_t i = 0; i < count; i++) {
    while (known_tail == head) {
      known_tail = atomic_load_explicit(&from->tail, memory_order_acquire);
      if (known_tail == head) base_pause();
    }
    sum += base_sum_message(from->data + head % RING_SIZE, size);
    head += size;
    atomic_store_explicit(&from->head, head, memory_order_release);
  }
  return sum;
}

static bool read_all(int from, char *bytes, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t got = read(from, bytes + done, size - done);
    if (got <= 0) return false;
    done += (size_t)got;
  }
  return true;
}

static bool write_all(int to, const char *bytes, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t put = write(to, bytes + done, size - done);
    if (put <= 0) return false;
    done += (size_t)put;
  }
  return true;
}

uint64_t base_message_stream(int kind, size_t count, size_t size) {
  ring *ways = kind == BASE_STREAM_RING ? shared(sizeof *ways) : NULL;
  uint64_t *result = shared(4096);
  int ends[2] = {-1, -1};
  if (kind == BASE_STREAM_PIPE && pipe(ends) != 0) abort();
  if (kind == BASE_STREAM_SOCKET && socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) abort();
  char *message = aligned_alloc(64, size < 64 ? 64 : size);
  pid_t child = fork();
  if (child == 0) {
    uint64_t sum = 0;
    if (kind == BASE_STREAM_RING) sum = ring_sum(ways, count, size);
    else
      for (size_t i = 0; i < count; i++) {
        if (!read_all(ends[0], message, size)) _exit(1);
        sum += base_sum_message(message, size);
      }
    *result = sum;
    _exit(0);
  }
  uint64_t tail = 0, known_head = 0;
  for (size_t i = 0; i < count; i++) {
    base_fill_message(message, size, i);
    if (kind == BASE_STREAM_RING) ring_send(ways, message, size, &tail, &known_head);
    else if (!write_all(ends[1], message, size)) break;
  }
  base_await(child);
  uint64_t sum = *result;
  if (ways != NULL) munmap(ways, sizeof *ways);
  munmap(result, 4096);
  if (ends[0] >= 0) close(ends[0]), close(ends[1]);
  free(message);
  return sum;
}
