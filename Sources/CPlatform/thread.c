// SPDX-License-Identifier: Apache-2.0

#include "pgw_thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

struct pgw_worker {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t condition;
  bool is_done;
  void (*body)(void *);
  void *argument;
};

static void *run(void *given) {
  pgw_worker *worker = given;
  worker->body(worker->argument);
  pthread_mutex_lock(&worker->lock);
  worker->is_done = true;
  pthread_cond_signal(&worker->condition);
  pthread_mutex_unlock(&worker->lock);
  return NULL;
}

pgw_worker *pgw_worker_start(void (*body)(void *), void *argument) {
  pgw_worker *worker = calloc(1, sizeof *worker);
  if (worker == NULL) return NULL;
  worker->body = body;
  worker->argument = argument;
  pthread_mutex_init(&worker->lock, NULL);
  pthread_cond_init(&worker->condition, NULL);
  // Faults of the thread itself must still be answered.
  sigset_t all, before;
  sigfillset(&all);
  sigdelset(&all, SIGBUS);
  sigdelset(&all, SIGSEGV);
  sigdelset(&all, SIGILL);
  sigdelset(&all, SIGFPE);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  int reason = pthread_create(&worker->thread, NULL, run, worker);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (reason == 0) return worker;
  pthread_cond_destroy(&worker->condition);
  pthread_mutex_destroy(&worker->lock);
  free(worker);
  errno = reason;
  return NULL;
}

bool pgw_worker_wait(pgw_worker *worker, int milliseconds) {
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += milliseconds / 1000;
  end.tv_nsec += (long)(milliseconds % 1000) * 1000000;
  if (end.tv_nsec >= 1000000000) {
    end.tv_nsec -= 1000000000;
    end.tv_sec += 1;
  }
  pthread_mutex_lock(&worker->lock);
  // One wait: a wake without a reason only makes the caller ask again earlier.
  if (!worker->is_done) pthread_cond_timedwait(&worker->condition, &worker->lock, &end);
  bool is_done = worker->is_done;
  pthread_mutex_unlock(&worker->lock);
  return is_done;
}

void pgw_worker_end(pgw_worker *worker) {
  pthread_join(worker->thread, NULL);
  pthread_cond_destroy(&worker->condition);
  pthread_mutex_destroy(&worker->lock);
  free(worker);
}
