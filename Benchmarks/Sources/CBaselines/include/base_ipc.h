// SPDX-License-Identifier: Apache-2.0
//
// Messages between processes of one host: what a run is, and what all sides have in common. A run lies in memory that its processes share: what to
// do, what each of them has done, and the samples. The sides are in ipc_transports.c, ours in Swift, those of others in programs of their own
// (Rivals/ipc), which map the run's file.

#ifndef PGW_BASE_IPC_H
#define PGW_BASE_IPC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum base_kind {
  // Role 0 asks, role 1 answers with the same bytes. A sample is the time from one answer to the next.
  BASE_PING_PONG,
  // Role 0 sends, role 1 receives.
  BASE_ONE_WAY,
  // As one way, message number i at (i + 1) * interval from the beginning. A sample is the time from that moment to the message's receipt.
  BASE_OPEN_LOOP,
  // Roles 0 and 2... send, role 1 receives.
  BASE_FAN_IN
};

enum base_placement {
  // The receiver has a processor of its own.
  BASE_TWO_PROCESSORS,
  BASE_ONE_PROCESSOR,
  BASE_UNPINNED
};

enum { BASE_ROLES = 5 };

typedef struct base_scenario {
  int32_t kind;
  int32_t placement;
  // 1: all sides look again and again. 0: they sleep when there is nothing to do.
  int32_t spins;
  int32_t producers;
  // Messages of each producer, or round trips; those of the warm-up come before and are not counted.
  int64_t count;
  int64_t warm_up;
  int64_t size;
  // Bytes of each message that are written and read: all, or its head.
  int64_t touched;
  // Bytes that may wait, a power of two, where a side can choose.
  int64_t capacity;
  // Nanoseconds.
  int64_t interval;
  // Whether the sender writes where the receiver reads, if the side can.
  int32_t in_place;
  // Whether samples are taken: they cost a reading of the clock each.
  int32_t sampled;
} base_scenario;

typedef struct base_report {
  uint64_t start, end;
  // Processor time of the process from start to end, nanoseconds, and how often it gave the processor up.
  uint64_t cpu, switches;
  // The sum of all that it has read.
  uint64_t work;
  uint64_t cpu_before, switches_before;
} base_report;

typedef struct base_ipc_run {
  uint64_t byte_count;
  base_scenario scenario;
  uint32_t arrived;
  uint64_t epoch;
  base_report reports[BASE_ROLES];
  uint64_t samples[];
} base_ipc_run;

// A run in memory that forked processes share; in the file at `path` if that is not NULL, then made by `base_run_make` alone.
base_ipc_run *base_run_make(base_scenario scenario, const char *path);
base_ipc_run *base_run_open(const char *path);
void base_run_free(base_ipc_run *run);
int base_run_processes(const base_ipc_run *run);
// For Swift, which sees no arrays of C.
base_report *base_run_report(base_ipc_run *run, int role);
uint64_t *base_run_samples(base_ipc_run *run);

// In each process of a run: goes to its processor; is there and waits for the others, its measured part begins; has done its part.
void base_run_enter(const base_ipc_run *run, int role);
void base_run_arrive(base_ipc_run *run, int role);
void base_run_finish(base_ipc_run *run, int role, uint64_t work);
// Open loop: waits until it is time for message `number`; the nanoseconds that have passed since then.
void base_run_await(const base_ipc_run *run, int64_t number);
uint64_t base_run_lateness(const base_ipc_run *run, int64_t number);

// Forks a process for each role. 0 when all have ended well.
int base_run_fork(base_ipc_run *run, void (*side)(void *context, base_ipc_run *run, int role), void *context);
// A program with one argument. Its exit status; -1 when it could not be run or was killed.
int base_run_program(const char *program, const char *argument);

// The sides in C. 0 when it went well.
enum base_side {
  // Without a message: a word each way, on a cache line of its own, by looking again and again or by a futex. The least that a round trip can take.
  BASE_WORDS,
  // Fixed messages that fit evenly: an upper bound. By looking again and again.
  BASE_RING,
  BASE_PIPE,
  BASE_SOCKET,
  // POSIX message queues as they are by default: 10 messages of 8 KiB. What is longer goes in pieces.
  BASE_QUEUE
};
int base_run_side(int side, base_ipc_run *run);

// The work on a message that all sides do: fills it, sums it.
void base_fill_message(void *bytes, size_t size, uint64_t number);
uint64_t base_sum_message(const void *bytes, size_t size);

// What waits between two looks: a moment, or, where the other side needs this processor, a turn of somebody else.
void base_relax(const base_ipc_run *run, int role);

// For the sides in Swift.
pid_t base_fork(void);
void base_exit(int status);
int base_await(pid_t child);
// Ends the others when one of them fails. 0 when all have ended well.
int base_await_all(const pid_t *children, int count);
void base_kill(pid_t child);
void base_end_with_parent(void);
void base_pause(void);
void base_yield(void);
void base_sleep_ns(uint64_t nanoseconds);
uint64_t *base_shared_words(void);
uint64_t base_load(const uint64_t *word);
void base_store_word(uint64_t *word, uint64_t value);
// Nanoseconds of one reading of the clock.
double base_clock_cost(void);

// Recovery, without a ring: kills a child that waits, awaits it, forks another one, and reads the first byte it sends through a pipe. Nanoseconds.
uint64_t base_replace_child(void);

uint64_t base_now_ns(void);

#ifdef __cplusplus
}
#endif

#endif
