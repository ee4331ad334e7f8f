// SPDX-License-Identifier: Apache-2.0
//
// Two processes on one host that exchange messages. Each function forks the other side, and returns how much work both did: the rounds, or
// the sum of all bytes that the receiver has read.

#ifndef PGW_BASE_IPC_H
#define PGW_BASE_IPC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Both sides spin on a cache line each: the least that a round trip between two processors can take.
uint64_t base_spin_pingpong(size_t rounds);
// Both sides sleep on a futex when it is not their turn: the least that a round trip with sleepers can take.
uint64_t base_futex_pingpong(size_t rounds);
// One byte over two pipes.
uint64_t base_pipe_pingpong(size_t rounds);

// `count` messages of `size` bytes one way. Every byte is written before and read after.
enum base_stream { BASE_STREAM_RING, BASE_STREAM_PIPE, BASE_STREAM_SOCKET };
uint64_t base_message_stream(int kind, size_t count, size_t size);

// The work on a message that all sides do: fills it, sums it.
void base_fill_message(void *bytes, size_t size, uint64_t number);
uint64_t base_sum_message(const void *bytes, size_t size);

// For our own sides: a child of this process, a word that both see, processor time of this process and its awaited children.
pid_t base_fork(void);
void base_exit(int status);
int base_await(pid_t child);
uint64_t *base_shared_word(void);
double base_cpu_seconds(void);
void base_pause(void);

#endif
