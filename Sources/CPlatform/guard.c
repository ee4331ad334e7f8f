// SPDX-License-Identifier: Apache-2.0
//
// The SIGBUS handler and its table. Everything the handler calls is async-signal-safe: fstat, mmap and its kin, sched_yield,
// nanosleep, pthread_sigmask, sigaction and plain memory. It takes no lock and allocates nothing.

#include "pgw_guard.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "guard_internal.h"
#include "pgw_system.h"

#if defined(__APPLE__) && !defined(MAP_ANONYMOUS)
#define MAP_ANONYMOUS MAP_ANON
#endif
#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif
#ifndef BUS_MCEERR_AR
#define BUS_MCEERR_AR 4
#endif

_Static_assert(sizeof(pgw_slot) == 128, "a slot is two cache lines");
_Static_assert(offsetof(pgw_slot, state) == 0, "Swift reads the state at the slot's address");

// ------------------------------------------------------------------------------------------------ the table

enum { CHUNK_SLOTS = 1024, CHUNKS = PGW_GUARD_CAPACITY / CHUNK_SLOTS };

static pgw_slot first_chunk[CHUNK_SLOTS] __attribute__((aligned(128)));
static pgw_slot *chunks[CHUNKS] = {first_chunk};  // entries are only ever added (release / acquire)
static uint32_t slot_limit;       // slots ever used; the handler looks at no more (release / acquire)
static uint64_t free_head;        // tag << 32 | slot number + 1
static uint32_t range_count;
static uint64_t fault_total, copy_fault_total, chained_total;

static int install_state;         // 0 never, 1 installed
static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction previous; // written under install_lock before our handler can run
static int previous_is_spent;     // a predecessor with SA_RESETHAND has had its one call

static pgw_slot *slot_at(uint32_t number) {
  pgw_slot *chunk = __atomic_load_n(&chunks[number / CHUNK_SLOTS], __ATOMIC_ACQUIRE);
  return chunk ? &chunk[number % CHUNK_SLOTS] : NULL;
}

static pgw_slot *take_slot(void) {
  // A free one: the tag in the upper half makes a stale head fail the exchange.
  uint64_t head = __atomic_load_n(&free_head, __ATOMIC_ACQUIRE);
  while ((uint32_t)head != 0) {
    pgw_slot *slot = slot_at((uint32_t)head - 1);
    uint64_t next = ((head >> 32) + 1) << 32 | __atomic_load_n(&slot->next_free, __ATOMIC_RELAXED);
    if (__atomic_compare_exchange_n(&free_head, &head, next, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return slot;
  }
  // A new one.
  uint32_t number = __atomic_load_n(&slot_limit, __ATOMIC_RELAXED);
  do {
    if (number >= PGW_GUARD_CAPACITY) return NULL;
    if (__atomic_load_n(&chunks[number / CHUNK_SLOTS], __ATOMIC_ACQUIRE) == NULL) {
      void *fresh = mmap(NULL, CHUNK_SLOTS * sizeof(pgw_slot), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (fresh == MAP_FAILED) return NULL;
      pgw_slot *expected = NULL;
      if (!__atomic_compare_exchange_n(&chunks[number / CHUNK_SLOTS], &expected, fresh, false, __ATOMIC_RELEASE,
                                       __ATOMIC_RELAXED))
        munmap(fresh, CHUNK_SLOTS * sizeof(pgw_slot));
    }
  } while (!__atomic_compare_exchange_n(&slot_limit, &number, number + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
  return slot_at(number);
}

static uint32_t slot_number(const pgw_slot *slot) {
  for (uint32_t i = 0; i < CHUNKS; i++) {
    const pgw_slot *chunk = __atomic_load_n(&chunks[i], __ATOMIC_ACQUIRE);
    if (chunk != NULL && slot >= chunk && slot < chunk + CHUNK_SLOTS) return i * CHUNK_SLOTS + (uint32_t)(slot - chunk);
  }
  return UINT32_MAX;
}

static void give_slot(pgw_slot *slot) {
  uint32_t number = slot_number(slot);
  uint64_t head = __atomic_load_n(&free_head, __ATOMIC_RELAXED), next;
  do {
    __atomic_store_n(&slot->next_free, (uint32_t)head, __ATOMIC_RELAXED);
    next = ((head >> 32) + 1) << 32 | (number + 1);
  } while (!__atomic_compare_exchange_n(&free_head, &head, next, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

// --------------------------------------------------------------------------------------------- fill bytes

#if defined(__linux__)
// One memory file of FILL_SIZE bytes per fill byte in use. The handler maps it privately, as often as needed.
enum { FILL_SIZE = 2 << 20, FILL_LIMIT = 1 << 30 };
static int fill_descriptors[256];  // descriptor + 1; 0 while not made

static int fill_descriptor_for(uint8_t fill, int *error) {
  if (fill == 0) return -1;
  int known = __atomic_load_n(&fill_descriptors[fill], __ATOMIC_ACQUIRE);
  if (known != 0) return known - 1;
  int descriptor = pgw_memfd_create("pagewise-fill", MFD_CLOEXEC);
  if (descriptor < 0 || pgw_truncate(descriptor, FILL_SIZE) != 0) goto failed;
  void *bytes = mmap(NULL, FILL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (bytes == MAP_FAILED) goto failed;
  memset(bytes, fill, FILL_SIZE);
  munmap(bytes, FILL_SIZE);
  int expected = 0;
  if (!__atomic_compare_exchange_n(&fill_descriptors[fill], &expected, descriptor + 1, false, __ATOMIC_RELEASE,
                                   __ATOMIC_ACQUIRE)) {
    close(descriptor);
    return expected - 1;
  }
  return descriptor;
failed:
  *error = errno;
  if (descriptor >= 0) close(descriptor);
  return -2;
}
#endif

// -------------------------------------------------------------------------------------------- the handler

/// Puts private memory over [from, to) of the slot. True when every page was replaced.
static bool try_replace_pages(pgw_slot *slot, uintptr_t from, uintptr_t to) {
#if defined(__linux__)
  // Each piece of fill is a map entry. A part that is lost beyond that reads as zeros.
  if (slot->fill_descriptor >= 0 && to - from <= FILL_LIMIT) {
    for (uintptr_t at = from; at < to;) {
      size_t step = to - at < FILL_SIZE ? to - at : FILL_SIZE;
      if (mmap((void *)at, step, slot->protection, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, slot->fill_descriptor, 0) ==
          MAP_FAILED)
        return false;
      at += step;
    }
    return true;
  }
#endif
  return mmap((void *)from, to - from, slot->protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
              0) != MAP_FAILED;
}

/// The same, and again where the lost pages count against the limit of locked memory as long as they are there.
static bool replace_pages(pgw_slot *slot, uintptr_t from, uintptr_t to) {
  if (try_replace_pages(slot, from, to)) return true;
  if (errno != EAGAIN) return false;
  munlock((void *)from, to - from);
  return try_replace_pages(slot, from, to);
}

// Map entries kept aside. Once a process has more than vm.max_map_count of them (the split for one page in the middle adds
// two), Linux refuses every mmap, also one that would leave fewer. Unmapping these makes room for that one, and for the
// splits that other threads are in the middle of.
enum { SPARE_ENTRIES = 129 };
static void *spare;
static uint32_t spare_users;  // handlers that are in replace_all now
static size_t spare_page;

static void put_spare_aside(void) {
#if defined(__linux__)
  size_t length = SPARE_ENTRIES * spare_page;
  char *fresh = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (fresh == MAP_FAILED) return;
  // A rare flag, so that no neighbour merges with it: to unmap part of an entry needs one more. And different rights in turn,
  // which makes each page an entry.
  bool is_made = madvise(fresh, length, MADV_DONTDUMP) == 0;
  for (size_t page = 1; is_made && page < SPARE_ENTRIES; page += 2)
    is_made = mprotect(fresh + page * spare_page, spare_page, PROT_READ) == 0;
  void *none = NULL;
  if (!is_made || !__atomic_compare_exchange_n(&spare, &none, fresh, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
    munmap(fresh, length);
#endif
}

/// True while the process is at the limit of map entries: then no range may be split further.
static bool is_at_limit(void) {
#if defined(__linux__)
  return __atomic_load_n(&spare, __ATOMIC_RELAXED) == NULL || __atomic_load_n(&spare_users, __ATOMIC_RELAXED) != 0;
#else
  return false;
#endif
}

static bool replace_whole(pgw_slot *slot, uintptr_t base, uintptr_t end) {
  return mmap((void *)base, end - base, slot->protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
              0) != MAP_FAILED;
}

/// One zeroed mapping in place of all pieces of the slot: the fewest entries there can be.
static bool replace_all(pgw_slot *slot, uintptr_t base, uintptr_t end) {
  if (replace_whole(slot, base, end)) {
    if (__atomic_load_n(&spare, __ATOMIC_RELAXED) == NULL) put_spare_aside();
    return true;
  }
  // Other threads may be at the limit with us. One has the spare entries; its replacement, or theirs, makes room.
  for (int attempt = 0; attempt < 10000; attempt++) {
    __atomic_fetch_add(&spare_users, 1, __ATOMIC_ACQ_REL);
    void *taken = __atomic_exchange_n(&spare, NULL, __ATOMIC_ACQUIRE);
    if (taken != NULL) munmap(taken, SPARE_ENTRIES * spare_page);
    bool replaced = replace_whole(slot, base, end);
    // Also one that another thread could not put back.
    if (replaced && __atomic_load_n(&spare, __ATOMIC_RELAXED) == NULL) put_spare_aside();
    __atomic_fetch_sub(&spare_users, 1, __ATOMIC_ACQ_REL);
    if (replaced) return true;
    // A second in all before this is given up.
    if (attempt < 100) {
      sched_yield();
    } else {
      struct timespec pause = {0, 100000};
      nanosleep(&pause, NULL);
    }
  }
  return false;
}

static void lower(uint64_t *field, uint64_t value) {
  uint64_t old = __atomic_load_n(field, __ATOMIC_RELAXED);
  while (value < old && !__atomic_compare_exchange_n(field, &old, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

static void raise_to(uint64_t *field, uint64_t value) {
  uint64_t old = __atomic_load_n(field, __ATOMIC_RELAXED);
  while (value > old && !__atomic_compare_exchange_n(field, &old, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

/// Writes a loss down, bytes from the slot's base. The state comes last: who sees it sees the rest.
static void record_loss(pgw_slot *slot, uint64_t from, uint64_t to, uint32_t bits) {
  lower(&slot->lost_from, from);
  raise_to(&slot->lost_to, to);
  uint64_t none = UINT64_MAX;
  __atomic_compare_exchange_n(&slot->first_lost, &none, from, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  __atomic_fetch_add(&slot->fault_count, 1, __ATOMIC_RELAXED);
  // Pairs with the fence + load at the end of a guarded scope: whoever reads a fill byte finds the state set.
  __atomic_fetch_or(&slot->state, bits, __ATOMIC_SEQ_CST);
}

/// Another range that has pages of the part that is going to be replaced: a second guard over somebody's mapping.
static void mark_others(const pgw_slot *self, uintptr_t from, uintptr_t to, uint32_t bits) {
  uint32_t limit = __atomic_load_n(&slot_limit, __ATOMIC_ACQUIRE);
  for (uint32_t number = 0; number < limit; number++) {
    pgw_slot *slot = slot_at(number);
    if (slot == NULL || slot == self) continue;
    uintptr_t base = __atomic_load_n(&slot->base, __ATOMIC_ACQUIRE);
    if (base == 0 || to <= base || from >= __atomic_load_n(&slot->end, __ATOMIC_RELAXED)) continue;
    __atomic_fetch_add(&slot->pins, 1, __ATOMIC_SEQ_CST);
    base = __atomic_load_n(&slot->base, __ATOMIC_SEQ_CST);
    uintptr_t end = __atomic_load_n(&slot->end, __ATOMIC_RELAXED);
    if (base != 0 && to > base && from < end)
      record_loss(slot, from > base ? from - base : 0, (to < end ? to : end) - base, bits);
    __atomic_fetch_sub(&slot->pins, 1, __ATOMIC_SEQ_CST);
  }
}

/// Records the loss, then replaces the pages. The slot is pinned.
static bool resolve_in_slot(pgw_slot *slot, uintptr_t base, uintptr_t end, uintptr_t address, int code, bool is_store) {
  uintptr_t page = address & ~(uintptr_t)(slot->page_size - 1);
  if (page < base) page = base;
  uintptr_t from = page, to = page + slot->page_size;
  uint32_t bits = code == BUS_MCEERR_AR ? PGW_LOST_MEMORY : PGW_LOST_PAGE;
  struct stat now;
  if (bits == PGW_LOST_PAGE && slot->descriptor >= 0 && fstat(slot->descriptor, &now) == 0 && S_ISREG(now.st_mode)) {
    uint64_t size = (uint64_t)now.st_size;
    uint64_t left = size > slot->file_offset ? size - slot->file_offset : 0;  // what of the range the file still has
    if (left <= page - base) {
      // The tail begins where the file ends, which may lie before this fault: memcpy is free to load the end first.
      bits = PGW_LOST_TAIL;
      from = base + (uintptr_t)((left + slot->page_size - 1) & ~(slot->page_size - 1));
      to = end;
    }
  }
  if (to > end) to = end;
  if (is_store) bits |= PGW_LOST_STORE;

  record_loss(slot, from - base, to - base, bits);
  mark_others(slot, from, to, bits);
  __atomic_fetch_add(&fault_total, 1, __ATOMIC_RELAXED);

  if ((!is_at_limit() || (from == base && to == end)) && replace_pages(slot, from, to)) return true;
  // The kernel will not split the range once more (vm.max_map_count): replacing all of it needs no further entry.
  lower(&slot->lost_from, 0);
  raise_to(&slot->lost_to, end - base);
  __atomic_fetch_or(&slot->state, PGW_LOST_WHOLE, __ATOMIC_SEQ_CST);
  mark_others(slot, base, end, bits | PGW_LOST_WHOLE);
  return replace_all(slot, base, end);
}

static bool was_store(const ucontext_t *context) {
#if defined(__linux__) && defined(__x86_64__)
  return (context->uc_mcontext.gregs[REG_ERR] & 2) != 0;  // page-fault error code, bit 1: a write
#elif defined(__APPLE__) && defined(__x86_64__)
  return (context->uc_mcontext->__es.__err & 2) != 0;
#elif defined(__APPLE__) && defined(__aarch64__)
  return (context->uc_mcontext->__es.__esr & 0x40) != 0;  // ESR_EL1.WnR of a data abort
#elif defined(__linux__) && defined(__aarch64__)
  // The kernel appends the syndrome as a tagged record to the reserved area.
  const unsigned char *at = (const unsigned char *)context->uc_mcontext.__reserved;
  for (size_t used = 0; used + 16 <= sizeof(context->uc_mcontext.__reserved);) {
    uint32_t magic, size;
    uint64_t esr;
    memcpy(&magic, at + used, 4);
    memcpy(&size, at + used + 4, 4);
    if (magic == 0 || size < 8) return false;
    if (magic == 0x45535201) {  // ESR_MAGIC
      memcpy(&esr, at + used + 8, 8);
      return (esr & 0x40) != 0;
    }
    used += size;
  }
  return false;
#else
  (void)context;
  return false;
#endif
}

static bool is_recoverable_code(int code) {
#if defined(__linux__)
  return code == BUS_ADRERR || code == BUS_MCEERR_AR;
#else
  return code > 0 && code != BUS_ADRALN;
#endif
}

/// Moves a fault inside the assembly copy to its landing pad.
static bool land_copy(ucontext_t *context) {
#if defined(__x86_64__)
#if defined(__APPLE__)
  uint64_t *counter = &context->uc_mcontext->__ss.__rip;
#else
  greg_t *counter = &context->uc_mcontext.gregs[REG_RIP];
#endif
  uintptr_t at = (uintptr_t)*counter;
  const char *landing;
  if (at >= (uintptr_t)pgw_copy_begin && at < (uintptr_t)pgw_copy_end)
    landing = at < (uintptr_t)pgw_copy_string ? pgw_copy_landing : pgw_copy_landing_string;
  else if (at >= (uintptr_t)pgw_wide_begin && at < (uintptr_t)pgw_wide_end)
    landing = pgw_wide_landing;
  else if (at >= (uintptr_t)pgw_load_begin && at < (uintptr_t)pgw_load_end)
    landing = pgw_load_landing;
  else
    return false;
  *counter = (__typeof__(*counter))(uintptr_t)landing;
  return true;
#else
  (void)context;
  return false;
#endif
}

/// Answers the fault in the first range that holds the address, among those with or without a descriptor.
static bool resolve_in_table(uintptr_t address, int code, void *raw_context, bool has_descriptor) {
  uint32_t limit = __atomic_load_n(&slot_limit, __ATOMIC_ACQUIRE);
  for (uint32_t number = 0; number < limit; number++) {
    pgw_slot *slot = slot_at(number);
    if (slot == NULL) continue;
    uintptr_t base = __atomic_load_n(&slot->base, __ATOMIC_ACQUIRE);
    if (base == 0 || address < base || address >= __atomic_load_n(&slot->end, __ATOMIC_RELAXED)) continue;
    if ((slot->descriptor >= 0) != has_descriptor) continue;
    // Pin, then look again: pgw_guard_remove clears the base first and then waits for the pins (both seq_cst).
    __atomic_fetch_add(&slot->pins, 1, __ATOMIC_SEQ_CST);
    base = __atomic_load_n(&slot->base, __ATOMIC_SEQ_CST);
    uintptr_t end = __atomic_load_n(&slot->end, __ATOMIC_RELAXED);
    bool resolved = false;
    if (base != 0 && address >= base && address < end) {
      int saved = errno;
      bool is_store = raw_context != NULL && was_store(raw_context);
      resolved = resolve_in_slot(slot, base, end, address, code, is_store);
      errno = saved;
    }
    __atomic_fetch_sub(&slot->pins, 1, __ATOMIC_SEQ_CST);
    if (resolved) return true;
  }
  return false;
}

bool pgw_guard_resolve(int signal, void *raw_info, void *raw_context) {
  const siginfo_t *info = raw_info;
  if (signal != SIGBUS || info == NULL || !is_recoverable_code(info->si_code)) return false;
  uintptr_t address = (uintptr_t)info->si_addr;

  if (raw_context != NULL && land_copy(raw_context)) {
    __atomic_fetch_add(&copy_fault_total, 1, __ATOMIC_RELAXED);
    return true;
  }
  pgw_portable_copy *copy = &pgw_current_copy;
  if (copy->landing != NULL && ((address >= copy->low && address < copy->high) ||
                                (address >= copy->target_low && address < copy->target_high))) {
    __atomic_fetch_add(&copy_fault_total, 1, __ATOMIC_RELAXED);
    siglongjmp(*copy->landing, 1);  // inside pgw_copy_portable: no other frame is between
  }

  // Where ranges overlap, one that can ask its file comes first: it replaces a lost tail at once.
  return resolve_in_table(address, info->si_code, raw_context, true) ||
         resolve_in_table(address, info->si_code, raw_context, false);
}

static void handle_sigbus(int signal, siginfo_t *info, void *context) {
  if (pgw_guard_resolve(signal, info, context)) return;

  __atomic_fetch_add(&chained_total, 1, __ATOMIC_RELAXED);
  bool takes_three = (previous.sa_flags & SA_SIGINFO) != 0;
  void (*plain)(int) = previous.sa_handler;
  // The kernel looks at the handler before the flags: SIG_DFL with SA_SIGINFO is still the default action.
  if (plain == SIG_DFL || plain == SIG_IGN) takes_three = false;
  bool was_sent = info == NULL || info->si_code <= 0;
  // Ignored means ignored, and we stay installed. The kernel itself ends a process that faults with SIGBUS ignored.
  if (!takes_three && plain == SIG_IGN && was_sent) return;
  // SA_RESETHAND: one call, then the default action, as the kernel would have done. Such a handler may return and count
  // on the repeated fault to end the process.
  if ((previous.sa_flags & SA_RESETHAND) != 0 && __atomic_exchange_n(&previous_is_spent, 1, __ATOMIC_RELAXED) != 0) {
    takes_three = false;
    plain = SIG_DFL;
  }
  if (!takes_three && (plain == SIG_DFL || plain == SIG_IGN)) {
    // Put the old action back and return: the instruction faults again and the kernel acts as if we were never here.
    // A signal that somebody sent has no instruction to repeat, so it is sent again.
    int saved = errno;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = plain;
    sigaction(SIGBUS, &action, NULL);
    if (was_sent) raise(signal);
    errno = saved;
    return;
  }
  // As the kernel would have called it: its mask added, SIGBUS open if it asked for that.
  pthread_sigmask(SIG_BLOCK, &previous.sa_mask, NULL);
  if (previous.sa_flags & SA_NODEFER) {
    sigset_t own;
    sigemptyset(&own);
    sigaddset(&own, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &own, NULL);
  }
  if (takes_three)
    previous.sa_sigaction(signal, info, context);
  else
    plain(signal);
}

// -------------------------------------------------------------------------------------------- installation

/// In a forked child only the calling thread exists: a pin held by another thread's handler would stay for ever.
static void forget_pins_in_child(void) {
  uint32_t limit = __atomic_load_n(&slot_limit, __ATOMIC_ACQUIRE);
  for (uint32_t number = 0; number < limit; number++) {
    pgw_slot *slot = slot_at(number);
    if (slot != NULL) __atomic_store_n(&slot->pins, 0, __ATOMIC_RELAXED);
  }
}

static int install(bool again) {
  if (!again && __atomic_load_n(&install_state, __ATOMIC_ACQUIRE) == 1) return 0;
  pthread_mutex_lock(&install_lock);
  int result = 0;
  struct sigaction present;
  bool first = install_state == 0;
  if (first || again) {
    if (sigaction(SIGBUS, NULL, &present) != 0) {
      result = errno;
    } else if ((present.sa_flags & SA_SIGINFO) == 0 || present.sa_sigaction != handle_sigbus) {
      // When somebody replaced us and calls us in turn, taking them as `previous` would make a ring. They know us, so
      // keep what we had before; when they do not, the fault ends at our own predecessor: still the right end.
      if (first) previous = present;
      struct sigaction ours;
      memset(&ours, 0, sizeof ours);
      ours.sa_sigaction = handle_sigbus;
      // SA_ONSTACK: a thread with an alternate stack keeps its own stack. No SA_NODEFER: a fault inside the handler
      // must end the process, not recurse.
      ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
      sigemptyset(&ours.sa_mask);
      if (sigaction(SIGBUS, &ours, NULL) != 0) result = errno;
    }
    if (result == 0 && first) {
      pthread_atfork(NULL, NULL, forget_pins_in_child);
      spare_page = pgw_page_size();
      put_spare_aside();
      __atomic_store_n(&install_state, 1, __ATOMIC_RELEASE);
    }
  }
  pthread_mutex_unlock(&install_lock);
  return result;
}

int pgw_guard_install(void) { return install(false); }

int pgw_guard_reinstall(void) { return install(true); }

pgw_slot *pgw_guard_add(void *base, size_t length, size_t page_size, int descriptor, uint64_t file_offset,
                        int protection, uint8_t fill, int *error) {
  *error = pgw_guard_install();
  if (*error != 0) return NULL;
  int fill_descriptor = -1;
#if defined(__linux__)
  fill_descriptor = fill_descriptor_for(fill, error);
  if (fill_descriptor == -2) return NULL;
#else
  (void)fill;
#endif
  pgw_slot *slot = take_slot();
  if (slot == NULL) {
    *error = ENOBUFS;
    return NULL;
  }
  slot->file_offset = file_offset;
  slot->page_size = page_size;
  slot->descriptor = descriptor;
  slot->protection = protection;
  slot->fill_descriptor = fill_descriptor;
  pgw_guard_clear(slot);
  uintptr_t end = ((uintptr_t)base + length + page_size - 1) & ~(uintptr_t)(page_size - 1);
  __atomic_store_n(&slot->end, end, __ATOMIC_RELAXED);
  // The handler's acquire load of `base` sees every field above.
  __atomic_store_n(&slot->base, (uintptr_t)base, __ATOMIC_RELEASE);
  __atomic_fetch_add(&range_count, 1, __ATOMIC_RELAXED);
  return slot;
}

void pgw_guard_remove(pgw_slot *slot) {
  __atomic_store_n(&slot->base, 0, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&slot->pins, __ATOMIC_SEQ_CST) != 0) sched_yield();
  __atomic_fetch_sub(&range_count, 1, __ATOMIC_RELAXED);
  give_slot(slot);
}

void pgw_guard_clear(pgw_slot *slot) {
  __atomic_store_n(&slot->first_lost, UINT64_MAX, __ATOMIC_RELAXED);
  __atomic_store_n(&slot->lost_from, UINT64_MAX, __ATOMIC_RELAXED);
  __atomic_store_n(&slot->lost_to, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&slot->fault_count, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&slot->state, 0, __ATOMIC_RELEASE);
}

void pgw_guard_set_protection(pgw_slot *slot, int protection) {
  __atomic_store_n(&slot->protection, protection, __ATOMIC_RELEASE);
}

void pgw_guard_set_length(pgw_slot *slot, size_t length) {
  uintptr_t end = (slot->base + length + slot->page_size - 1) & ~(uintptr_t)(slot->page_size - 1);
  __atomic_store_n(&slot->end, end, __ATOMIC_RELEASE);
}

uint32_t pgw_guard_state(const pgw_slot *slot) {
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  return __atomic_load_n(&slot->state, __ATOMIC_RELAXED);
}

pgw_loss pgw_guard_loss(const pgw_slot *slot) {
  pgw_loss loss;
  loss.state = pgw_guard_state(slot);
  // Pairs with the state's store in record_loss: what was written before it is seen.
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  loss.first_lost = __atomic_load_n(&slot->first_lost, __ATOMIC_RELAXED);
  loss.lost_from = __atomic_load_n(&slot->lost_from, __ATOMIC_RELAXED);
  loss.lost_to = __atomic_load_n(&slot->lost_to, __ATOMIC_RELAXED);
  loss.fault_count = __atomic_load_n(&slot->fault_count, __ATOMIC_RELAXED);
  return loss;
}

void pgw_guard_inspect(pgw_guard_report *report) {
  memset(report, 0, sizeof *report);
  report->installed = __atomic_load_n(&install_state, __ATOMIC_ACQUIRE) == 1;
  struct sigaction present;
  if (sigaction(SIGBUS, NULL, &present) == 0) {
    bool takes_three = (present.sa_flags & SA_SIGINFO) != 0;
    report->current = takes_three && present.sa_sigaction == handle_sigbus;
    if (!report->current) {
      report->handler = takes_three ? (uintptr_t)present.sa_sigaction : (uintptr_t)present.sa_handler;
      Dl_info image;
      if (report->handler > 1 && dladdr((void *)report->handler, &image) != 0 && image.dli_fname != NULL)
        snprintf(report->image, sizeof report->image, "%s", image.dli_fname);
    }
  }
  sigset_t mask;
  if (pthread_sigmask(SIG_BLOCK, NULL, &mask) == 0) report->blocked = sigismember(&mask, SIGBUS) == 1;
  report->faults = __atomic_load_n(&fault_total, __ATOMIC_RELAXED);
  report->copy_faults = __atomic_load_n(&copy_fault_total, __ATOMIC_RELAXED);
  report->chained = __atomic_load_n(&chained_total, __ATOMIC_RELAXED);
  report->ranges = __atomic_load_n(&range_count, __ATOMIC_RELAXED);
}
