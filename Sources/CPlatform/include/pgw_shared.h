// SPDX-License-Identifier: Apache-2.0
//
// What processes that share memory need of the kernel: proof of life, waiting on a word of shared memory, and passing descriptors.
//
// Proof of life is a lock of one byte, far beyond the end of the region's file, held by an open file description that one process has
// for itself (F_OFD_SETLK). The kernel gives it back when the last descriptor of that description closes: at the end of the process
// however it comes, at exec, also for a zombie. PID reuse and PID namespaces have no part in it, and a stopped process keeps it.

#ifndef PGW_SHARED_H
#define PGW_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Locks of an open file description

/// Takes the lock of byte `index`, alone (the descriptor is open for writing) or with others (for reading). 0; -1 and EAGAIN when somebody has it.
int pgw_token_lock(int descriptor, uint64_t index, bool alone);
int pgw_token_unlock(int descriptor, uint64_t index);
/// 1 when another open file description holds byte `index`, 0 when none does, -1 on error. Its own lock is no answer: it never
/// conflicts with itself.
int pgw_token_is_held(int descriptor, uint64_t index);

/// A new open file description of the same file, through /proc/self/fd. -1 and errno.
int pgw_token_describe(int descriptor, bool for_writing);

// fork
//
// A forked child has the parent's descriptions, and would keep their locks for as long as it lives. So each descriptor that holds a
// token is registered, and in every child made by fork(3) its number is given a description of its own. Children made by raw system
// calls are not seen: their copies keep the tokens alive until they exec or end, which errs on the side of life.

/// Registers. False when the table (4,096 descriptors) is full.
bool pgw_token_watch_fork(int descriptor);
/// Call before the descriptor is closed.
void pgw_token_forget(int descriptor);
/// How many forks lie between this process and the first of its line that used a token. A handle made before a fork knows an older number.
/// Asked with each message, hence no call.
static inline uint64_t pgw_fork_generation(void) {
  extern uint64_t pgw_generation;
  return __atomic_load_n(&pgw_generation, __ATOMIC_RELAXED);
}

// Words in shared memory

/// Sleeps until *word is no longer `expected`, somebody wakes, or `deadline_ns` of the monotonic clock (UINT64_MAX: none). 0 when woken; -1
/// and EAGAIN (the word differs), ETIMEDOUT or EINTR.
int pgw_word_wait(const uint32_t *word, uint32_t expected, uint64_t deadline_ns);
/// A word that one call of pgw_words_wait waits for, with others.
typedef struct pgw_word_wait_entry {
  const uint32_t *word;
  uint32_t expected;
} pgw_word_wait_entry;
enum { PGW_WORDS_LIMIT = 128 };
/// Sleeps until one of up to PGW_WORDS_LIMIT words is no longer what is expected, somebody wakes one of them, or the deadline. 0 when woken; -1 and EAGAIN
/// (a word differs), ETIMEDOUT, EINTR; ENOSYS, EPERM where the kernel (before Linux 5.16), or a filter of its calls, does not have it.
int pgw_words_wait(const pgw_word_wait_entry *entries, int count, uint64_t deadline_ns);
/// A descriptor that becomes readable by pgw_event_signal (eventfd), non-blocking and close-on-exec. -1 and errno; ENOSYS where there is none.
int pgw_event_descriptor(void);
int pgw_event_signal(int descriptor);
int pgw_event_clear(int descriptor);
/// A moment of waiting in a loop, for the processor.
static inline void pgw_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}
/// Processors of the machine, and those that this thread may run on.
int pgw_processor_count(void);
int pgw_allowed_processor_count(void);
/// Wakes up to `count` sleepers of every process. How many there were.
int pgw_word_wake(const uint32_t *word, int count);

// Robust mutexes
//
// A pthread mutex that processes share, robust and checking. The kernel knows which thread has it, and gives it on when that thread ends with
// it, by whatever means. ENOTSUP where the platform has none (Darwin).

enum { PGW_MUTEX_SIZE = 64 };
/// The bytes of a new mutex, PGW_MUTEX_SIZE of them, to be copied to where it shall be. 0 or an errno.
int pgw_mutex_image(void *bytes);
/// 0; EOWNERDEAD: locked, and the owner before died with it; ETIMEDOUT; EDEADLK: this thread has it; ENOTRECOVERABLE; EINVAL. `deadline_ns` of the monotonic
/// clock: UINT64_MAX none, 0 does not wait (EBUSY).
int pgw_mutex_lock(void *mutex, uint64_t deadline_ns);
/// After EOWNERDEAD: what it protects is right again.
int pgw_mutex_consistent(void *mutex);
int pgw_mutex_unlock(void *mutex);

// Processes

/// The PID namespace of this process, as the inode of /proc/self/ns/pid; 0 where there is none to ask.
uint64_t pgw_pid_namespace(void);
/// A descriptor that becomes readable when the process ends. -1 and ESRCH, ENOSYS. Darwin: a kqueue that says the same.
int pgw_process_descriptor(pid_t pid);
/// Waits until `descriptor` is readable, or `stop` is (-1: none), or the deadline. 1, 2 and 0; -1 and errno.
int pgw_wait_for_either(int descriptor, int stop, uint64_t deadline_ns);

/// Sleeps until the deadline of the monotonic clock, or a signal.
void pgw_sleep_until(uint64_t deadline_ns);

/// The same description under a new number that stays open over exec; and the same number with close-on-exec set. -1 and errno.
int pgw_duplicate_inherited(int descriptor);
int pgw_close_on_exec(int descriptor);
/// Whether it was opened for writing.
bool pgw_can_write(int descriptor);

// Unix sockets

/// A connected pair, SOCK_SEQPACKET where the platform has it, else SOCK_STREAM.
int pgw_socket_pair(int out[2]);
/// Binds and listens at a path; the file is made with mode 0600. -1 and errno; ENAMETOOLONG beyond 107 bytes.
int pgw_socket_listen(const char *path, int backlog);
int pgw_socket_connect(const char *path, uint64_t deadline_ns);
int pgw_socket_accept(int descriptor);
enum { PGW_DESCRIPTORS = 2 };
/// Sends `count` bytes (at most 4,096) and up to PGW_DESCRIPTORS descriptors. 0 or -1; EPIPE without a signal.
int pgw_send_descriptors(int socket, const int *descriptors, int descriptor_count, const void *bytes, size_t count);
/// Receives one message of at most `capacity` bytes and its descriptors, close-on-exec; -1 for those that it has not. The count of bytes, 0
/// at the end. A message that was cut or carries more descriptors is EBADMSG, and nothing of it stays open.
ssize_t pgw_receive_descriptors(int socket, int descriptors[PGW_DESCRIPTORS], void *bytes, size_t capacity);
typedef struct pgw_credentials {
  int64_t pid;  // as this process sees it; 0 when it is not in this PID namespace
  uint32_t user, group;
} pgw_credentials;
int pgw_socket_credentials(int socket, pgw_credentials *out);

// Files

/// Gives an unnamed file (O_TMPFILE, or a name that is taken away on Darwin) its name in an open folder. EEXIST when it is taken.
int pgw_link_unnamed(int descriptor, int folder, const char *name);
/// 0700 for a folder that is not there; EEXIST when it is.
int pgw_make_private_folder(const char *path);
/// Opens a folder, never through a symbolic link.
int pgw_open_folder(const char *path);
/// Opens a folder, through symbolic links. One that may not be read can be used for names below it, and not be locked.
int pgw_open_linked_folder(const char *path);
/// A lock of an open folder that ends with it (flock). Does not wait: EWOULDBLOCK while somebody else has it.
int pgw_lock_folder(int folder);
int pgw_unlock_folder(int folder);
/// Opens a file of the folder for reading and writing, or for reading, never through a symbolic link.
int pgw_open_in(int folder, const char *name, bool for_writing);
/// An unnamed file in the open folder, mode 0600.
int pgw_open_unnamed_in(int folder);
int pgw_unlink(const char *path);
int pgw_unlink_in(int folder, const char *name);
/// The names in a folder, each ended by NUL, one behind the other; given back by pgw_free. NULL and errno; *size is 0 for none.
char *pgw_list_folder(int folder, size_t *size);
void pgw_free(void *memory);
int pgw_set_mode(int descriptor, unsigned mode);
uint32_t pgw_effective_user(void);
int64_t pgw_process_id(void);
/// Nanoseconds since 1970.
uint64_t pgw_wall_ns(void);

#endif
