// SPDX-License-Identifier: Apache-2.0
//
// What tests need from C: handlers to chain with, raw faults, child processes, file system shutdown, small system calls.

#ifndef PGW_CTEST_SUPPORT_H
#define PGW_CTEST_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// ---------------------------------------------------------------------------------- signals

/// How pgt_install_handler behaves when it is called with a SIGBUS.
enum {
  PGT_STYLE_THREE = 0,     ///< SA_SIGINFO, three arguments
  PGT_STYLE_ONE = 1,       ///< the old one-argument form
  PGT_STYLE_RESET = 2,     ///< SA_SIGINFO | SA_RESETHAND: counts, returns, expects the default action next
  PGT_STYLE_RESOLVE = 3,   ///< asks `resolve` first; exits with 43 when it says no
  PGT_STYLE_SAVED = 4,     ///< calls the handler that it replaced (saved sigaction) for everything
  PGT_STYLE_IGNORE = 5,    ///< SIG_IGN
  PGT_STYLE_DEFAULT_FLAGGED = 6,  ///< SIG_DFL with SA_SIGINFO set
  PGT_STYLE_REPAIR = 7,    ///< maps a page of 0x52 over the fault and returns: another library's guard
};
typedef bool (*pgt_resolver)(int, void *, void *);

/// Installs a SIGBUS handler of the given style. It counts its calls; THREE and ONE end the process with status 42.
int pgt_install_handler(int style, pgt_resolver resolve);
int pgt_handler_calls(void);
/// The address that the handler saw last; 0 for the one-argument form.
uintptr_t pgt_handler_address(void);
/// True when the signal that the handler saw came from kill(2) or raise.
bool pgt_handler_saw_user(void);
int pgt_block_sigbus(bool block);
int pgt_default_sigbus(void);
void pgt_raise_sigbus(void);
/// SIGIO and SIGURG counters, to see that a lease break is harmless.
int pgt_count_signal(int signal);

// ---------------------------------------------------------------------------------- memory

/// Reads one byte, opaque to the optimizer.
uint8_t pgt_touch(const void *address);
void pgt_store(void *address, uint8_t value);
void *pgt_map_file(int descriptor, size_t length, int64_t offset, bool writable);
int pgt_remap_file(void *base, size_t length, int descriptor, int64_t offset);
void *pgt_map_anonymous(size_t length);
int pgt_unmap(void *base, size_t length);

/// Fills with bytes of the pattern: 1 + (offset * 131 >> 3 ... ) & 0x7f, never zero. Offset counts from the file's start.
void pgt_pattern(void *bytes, size_t count, uint64_t offset);
/// The first index whose byte is not the pattern's, or -1.
int64_t pgt_pattern_mismatch(const void *bytes, size_t count, uint64_t offset);
/// The first index whose byte is neither the pattern's nor `other`, or -1.
int64_t pgt_pattern_mismatch_or(const void *bytes, size_t count, uint64_t offset, uint8_t other);

// ---------------------------------------------------------------------------------- processes

/// Starts a process by posix_spawn. `arguments` and `environment` end with NULL; environment NULL inherits. Output goes to
/// `output` (a descriptor) for both stdout and stderr, or is inherited with -1. Returns the pid or -errno.
pid_t pgt_spawn(const char *const *arguments, const char *const *environment, int output);
/// Waits at most `milliseconds`; kills the child after that. The exit status, or 256 + signal, or -1 when it was killed late.
int pgt_wait(pid_t pid, int milliseconds);
/// fork, run `body` in the child and _exit with its result. Parent gets the pid.
/// fork(2), for a program of one thread.
pid_t pgt_fork_here(void);
/// Replaces this program by another. Returns only when it cannot: -errno.
int pgt_become(const char *path, const char *argument);
pid_t pgt_fork(int (*body)(void *), void *context);
/// A child that reads `count` bytes: the first `kept` must be the pattern from offset 0, the others `fill`; and the word
/// `state`, unless NULL, must be 0 before the first of those and not 0 afterwards. Exits with 0, or 50 to 53.
pid_t pgt_fork_touch(const void *base, size_t kept, size_t count, uint8_t fill, const uint32_t *state);
/// A child that does to `path` what `script` says until it is killed: see support.c.
/// A child that cuts files when it is asked to, through the socket that is returned, until that is closed. -errno when there is none.
int pgt_fork_cutter(void);
/// Has it make the file `size` bytes long: 0 or an errno.
int pgt_cut(int cutter, const char *path, int64_t size);
pid_t pgt_fork_writer(const char *path, int64_t size, int mode, uint32_t seed);
enum {
  PGT_WRITER_PAGES = 1,    ///< cuts at page edges, grows again with holes
  PGT_WRITER_ANY = 2,      ///< cuts anywhere, grows again with holes
  PGT_WRITER_REWRITE = 3,  ///< cuts anywhere, grows again by writing the pattern from the front
};
int pgt_kill(pid_t pid);
/// SIGTERM: also for a program that was started with SIGINT ignored.
int pgt_terminate(pid_t pid);
int pgt_set_user(uid_t user);
int pgt_limit_memlock(uint64_t bytes);
int pgt_limit_files(uint64_t count);
int pgt_limit_address_space(uint64_t bytes);
bool pgt_is_root(void);
int pgt_descriptor_flags_cloexec(int descriptor);

// ---------------------------------------------------------------------------------- holders

/// What a child does with a file: one mapping.
typedef struct pgt_hold {
  int64_t offset, length;
  /// Bytes from the front that it reads, and that it stores to.
  int64_t reads, stores;
  bool shared, writable, locked;
  /// Out: where it lies.
  uintptr_t address;
} pgt_hold;
enum { PGT_OPEN_READ = 1, PGT_OPEN_WRITE = 2, PGT_OPEN_READ_WRITE = 4, PGT_OPEN_PATH = 8 };
/// A child that maps `path` so, keeps it open as `opens` says (numbers from 3 on, in the order of the bits) and then sleeps until it is
/// killed. It has no other descriptor, and of mappings those of the process that made it. `threads` is one of PGT_THREADS_*. Returns when
/// it is ready: the pid or -errno.
pid_t pgt_fork_holder(const char *path, pgt_hold *holds, int count, int opens, int threads);
enum {
  PGT_THREADS_ONE = 0,
  PGT_THREADS_TWO = 1,
  PGT_THREADS_MAIN_ENDED = 2,  ///< two, and the main thread has ended: a zombie with a thread that lives
};
/// True once a child has ended, which then still waits to be awaited.
bool pgt_has_ended(pid_t pid);
/// Kills a child and leaves it a zombie of which no thread lives, for pgt_kill to await: 0 or -errno.
int pgt_kill_unawaited(pid_t pid);
/// A child that sleeps and has `count` mappings more than its limits allow it to join.
pid_t pgt_fork_mappings(int count);
/// A child under RLIMIT_MEMLOCK, without CAP_IPC_LOCK, that has locked `locked` bytes.
pid_t pgt_fork_locker(uint64_t limit, uint64_t locked);
/// A child in `folder` that dies of a signal and leaves a core there, of headers and notes only. Returns its pid.
pid_t pgt_fork_crash(const char *folder, const char *path, int kind, uintptr_t *address);
enum {
  PGT_CRASH_PAST_END = 1,   ///< reads the second page of a shared mapping of `path`, which has one
  PGT_CRASH_READ_ONLY = 2,  ///< stores to a read-only mapping of `path`
  PGT_CRASH_UNMAPPED = 3,   ///< reads address 16
  PGT_CRASH_STACK = 4,      ///< runs down its stack
  PGT_CRASH_ABORT = 5,      ///< abort(): no address
};

// ---------------------------------------------------------------------------------- file systems

int pgt_mount_tmpfs(const char *folder, const char *options);
int pgt_mount(const char *device, const char *folder, const char *type, const char *options);
/// Lazy unmount (MNT_DETACH), so that a leftover user does not keep it.
int pgt_unmount(const char *folder);
/// Attaches `image` to a free loop device that goes away with its last user. A descriptor of the device, which the caller
/// closes once the mount holds it, or -errno.
int pgt_loop_attach(const char *image, char *device, size_t capacity);
/// Unmounts and waits until it is done: what was shut down is forgotten.
int pgt_unmount_now(const char *folder);
/// A copy by FICLONE. 0 or -errno.
int pgt_clone_file(const char *from, const char *to);
/// EXT4_IOC_SHUTDOWN / XFS_IOC_GOINGDOWN without flushing: every later I/O fails.
int pgt_shut_down(const char *folder);
int pgt_drop_caches(int descriptor);
/// FICLONE: `destination`, empty, shares the blocks of `source`.
int pgt_clone(int destination, int source);
int pgt_limit_file_size(uint64_t bytes);
/// An extended attribute: 0 or its size; -1.
int pgt_set_attribute(const char *path, const char *name, const void *value, size_t size);
int pgt_get_attribute(const char *path, const char *name, void *value, size_t size);
/// Removes a folder and all in it; neither follows links nor enters what is still mounted there.
int pgt_remove_tree(const char *path);
int pgt_make_fifo(const char *path);
int pgt_make_socket(const char *path);
/// fcntl F_SETLEASE; kind 0 read, 1 write, 2 none.
int pgt_lease(int descriptor, int kind);
int pgt_lease_kind(int descriptor);
int pgt_memfd(const char *name, bool sealable, bool hugetlb);
int pgt_allocate(int descriptor, int64_t offset, int64_t length);

// ---------------------------------------------------------------------------------- threads and time

/// Ends the process with a message after `seconds`, unless cancelled. Returns a ticket.
void pgt_watchdog_start(int ticket, unsigned seconds, const char *what);
void pgt_watchdog_stop(int ticket);
int pgt_watchdog_ticket(void);
/// Runs `body(index, context)` on `count` threads and waits for all.
int pgt_threads(int count, void (*body)(int, void *), void *context);
/// Takes up every mapping that the kernel grants this process (vm.max_map_count) but for `room` splits, and lets `count`
/// threads, started before, touch every page of one range of `pages` pages each, in an order that joins no neighbours.
/// Neither Swift nor malloc runs in between. Returns 0, or an errno; ENOTSUP where no limit was met.
int pgt_touch_at_mapping_limit(const void *const *ranges, int count, size_t pages, int room);
/// A pthread mutex, which ThreadSanitizer knows, unlike Swift's own.
void *pgt_lock_make(void);
void pgt_lock_free(void *lock);
void pgt_lock(void *lock);
void pgt_unlock(void *lock);
/// A flow of control with a stack of its own that runs on the caller's thread: from pgt_coroutine_resume to the next pgt_coroutine_yield. What is
/// left on its stack at pgt_coroutine_free is forgotten.
typedef struct pgt_coroutine pgt_coroutine;
pgt_coroutine *pgt_coroutine_new(void (*body)(void *), void *context);
/// False once the body has returned.
bool pgt_coroutine_resume(pgt_coroutine *coroutine);
void pgt_coroutine_yield(pgt_coroutine *coroutine);
void pgt_coroutine_free(pgt_coroutine *coroutine);
uint64_t pgt_now_ns(void);
void pgt_sleep_us(unsigned microseconds);

#endif
