// SPDX-License-Identifier: Apache-2.0
//
// One piece of work on a thread of its own, which somebody waits for with a deadline.

#ifndef PGW_THREAD_H
#define PGW_THREAD_H

#include <stdbool.h>

typedef struct pgw_worker pgw_worker;
/// Runs `body` on a new thread, with all signals blocked so that none of the program's handlers runs there. NULL and errno when no
/// thread can be had.
pgw_worker *pgw_worker_start(void (*body)(void *), void *argument);
/// True once the body has returned; waits for at most so many milliseconds.
bool pgw_worker_wait(pgw_worker *worker, int milliseconds);
/// Waits for the end of the thread and frees what it had.
void pgw_worker_end(pgw_worker *worker);

#endif
