// SPDX-License-Identifier: Apache-2.0
//
// The fault guard: one SIGBUS handler and a lock-free table of the address ranges it answers for.
//
// Life of a fault in a registered range
//   1. The kernel raises SIGBUS because the page behind an access cannot be had (file cut, disk full, device error).
//   2. The handler finds the range's slot and pins it, so that unmapping waits.
//   3. It records the fault in the slot: offset, count, and last the sticky `state`.
//   4. Only then does it put anonymous memory over the lost page, or over the whole lost tail of a file that was cut.
//   5. The interrupted instruction runs again and reads the fill byte. Whoever reads `state` after the data sees the
//      loss, because step 3 came before step 4.
//
// A fault that is not ours goes to the handler that was there before. Nothing here jumps over a caller's frame.

#ifndef PGW_GUARD_H
#define PGW_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Bits of pgw_slot.state. Zero is healthy; bits are only ever added until pgw_guard_clear.
enum {
  PGW_LOST_TAIL = 1,    ///< The file ended before the page: everything from there on was replaced.
  PGW_LOST_PAGE = 2,    ///< A page inside the file could not be had (I/O error, no space).
  PGW_LOST_MEMORY = 4,  ///< The memory itself failed (BUS_MCEERR).
  PGW_LOST_STORE = 8,   ///< At least one of the faults was a store, so written bytes were lost.
  PGW_LOST_WHOLE = 16,  ///< The kernel refused a small replacement; the whole range was replaced.
};

/// One registered range. 128 bytes, two cache lines; `state` is the first word, so that Swift can read it as an
/// `Atomic<UInt32>` at the slot's address. Written by the handler, read by everybody, with __atomic builtins.
typedef struct pgw_slot {
  uint32_t state;         // PGW_LOST_*; stored (release) before any page is replaced
  uint32_t pins;          // handlers at work in this slot; unmapping waits for zero
  uintptr_t base;         // first byte, page aligned; 0 while the slot is free
  uintptr_t end;          // one past the last byte, page aligned
  uint64_t file_offset;   // the file's offset of `base`
  uint64_t first_lost;    // bytes from `base` of the first page that was lost
  uint64_t lost_from;     // lowest replaced byte from `base`
  uint64_t lost_to;       // one past the highest replaced byte from `base`
  uint64_t fault_count;   // faults answered since the last clear
  uint64_t page_size;     // unit of replacement: the system's page, or the huge page of a hugetlb range
  int32_t descriptor;     // to ask the file's size inside the handler; -1 when there is none
  int32_t protection;     // PROT_* of the replacement
  int32_t fill_descriptor;// memory file full of the fill byte; -1 for zeros
  uint32_t next_free;     // free list link: slot number + 1
  uint64_t reserved[5];
} pgw_slot;

/// Installs the handler once per process. Returns 0, or the errno of sigaction. Safe from any thread, idempotent.
int pgw_guard_install(void);

/// Installs the handler again on top of whatever is there now (after another library replaced it).
int pgw_guard_reinstall(void);

/// Registers [base, base + length). Length is rounded up to pages. `fill` is the byte a lost page shows; a part of more than
/// 1 GiB that is lost at once shows zeros. Ranges may overlap: each of them learns of a loss.
/// Installs the handler on first use. Returns NULL and sets *error (errno) when the table is full or the install failed.
pgw_slot *pgw_guard_add(void *base, size_t length, size_t page_size, int descriptor, uint64_t file_offset,
                        int protection, uint8_t fill, int *error);

/// Takes the range out of the table and waits until no handler works in it. Call before munmap.
void pgw_guard_remove(pgw_slot *slot);

/// Forgets the slot's faults: the caller has put the file's pages back.
void pgw_guard_clear(pgw_slot *slot);

/// Changes what the handler gives a replaced page (after mprotect).
void pgw_guard_set_protection(pgw_slot *slot, int protection);

/// Changes how far the range reaches, in bytes from its base: for a mapping that lies over more than its file has, where only
/// what the file has is ever touched.
void pgw_guard_set_length(pgw_slot *slot, size_t length);

/// Reads state with the order that a guarded scope needs: data loads before this call happened before the read.
uint32_t pgw_guard_state(const pgw_slot *slot);

/// What a slot tells of its losses, read while handlers may write it.
typedef struct pgw_loss {
  uint32_t state;
  uint64_t first_lost, lost_from, lost_to, fault_count;
} pgw_loss;
pgw_loss pgw_guard_loss(const pgw_slot *slot);

typedef struct pgw_guard_report {
  bool installed;           // the handler was installed by this process at some time
  bool current;             // it is the one the kernel calls now
  bool blocked;             // this thread blocks SIGBUS: a fault here ends the process
  uintptr_t handler;        // the address of the present handler when it is not ours
  uint64_t faults;          // faults answered in this process by replacing pages
  uint64_t copy_faults;     // faults answered inside a checked copy
  uint64_t chained;         // faults passed on to the previous handler
  uint32_t ranges;          // registered ranges
  char image[256];          // file name of the image that holds `handler`, empty when unknown
} pgw_guard_report;

void pgw_guard_inspect(pgw_guard_report *report);

/// For another signal handler: answers a SIGBUS if it is ours. Arguments as the handler got them; true when the
/// interrupted instruction can run again. Async-signal-safe.
bool pgw_guard_resolve(int signal, void *info, void *context);

/// Limit of registered ranges.
enum { PGW_GUARD_CAPACITY = 65536 };

#endif
