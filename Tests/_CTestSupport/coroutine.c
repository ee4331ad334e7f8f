// SPDX-License-Identifier: Apache-2.0

#include <stdlib.h>
#include <ucontext.h>

#include "CTestSupport.h"

enum { STACK_SIZE = 128 << 10 };

struct pgt_coroutine {
  ucontext_t own, caller;
  void (*body)(void *);
  void *context;
  bool has_ended;
  char *stack;
};

static void run(unsigned high, unsigned low) {
  pgt_coroutine *coroutine = (pgt_coroutine *)(((uintptr_t)high << 32) | low);
  coroutine->body(coroutine->context);
  coroutine->has_ended = true;
  swapcontext(&coroutine->own, &coroutine->caller);
}

pgt_coroutine *pgt_coroutine_new(void (*body)(void *), void *context) {
  pgt_coroutine *made = calloc(1, sizeof *made);
  char *stack = malloc(STACK_SIZE);
  if (made == NULL || stack == NULL || getcontext(&made->own) != 0) abort();
  made->body = body;
  made->context = context;
  made->stack = stack;
  made->own.uc_stack.ss_sp = stack;
  made->own.uc_stack.ss_size = STACK_SIZE;
  made->own.uc_link = NULL;
  uintptr_t self = (uintptr_t)made;
  makecontext(&made->own, (void (*)(void))run, 2, (unsigned)(self >> 32), (unsigned)self);
  return made;
}

bool pgt_coroutine_resume(pgt_coroutine *coroutine) {
  if (!coroutine->has_ended) swapcontext(&coroutine->caller, &coroutine->own);
  return !coroutine->has_ended;
}

void pgt_coroutine_yield(pgt_coroutine *coroutine) { swapcontext(&coroutine->own, &coroutine->caller); }

void pgt_coroutine_free(pgt_coroutine *coroutine) {
  free(coroutine->stack);
  free(coroutine);
}
