// SPDX-License-Identifier: Apache-2.0
//
// ZeroMQ over ipc:, PAIR; PUSH and PULL where several send. Its own thread in each process moves the messages, on the same processor. Limits as
// they are by default (1,000 messages). Messages are read where they lie.

#include <cstring>
#include <string>
#include <zmq.h>

#include "rival.h"

struct End {
  void *context;
  // Both directions of a PAIR.
  void *socket;
  zmq_msg_t message;
};

static void *address(base_ipc_run *) { return new std::string("ipc://@pagewise-benchmarks-" + std::to_string(getpid())); }

static void *attach(void *common, base_ipc_run *run, int role) {
  auto *end = new End;
  bool many = run->scenario.kind == BASE_FAN_IN;
  end->context = zmq_ctx_new();
  end->socket = zmq_socket(end->context, !many ? ZMQ_PAIR : role == 1 ? ZMQ_PULL : ZMQ_PUSH);
  const char *where = static_cast<std::string *>(common)->c_str();
  if ((role == 1 ? zmq_bind(end->socket, where) : zmq_connect(end->socket, where)) != 0) rival_fail("bind or connect");
  return end;
}

static inline void send(void *context, const void *bytes, size_t size) {
  if (zmq_send(static_cast<End *>(context)->socket, bytes, size, 0) != (int)size) rival_fail("zmq_send");
}

static inline const void *receive(void *context, void *, size_t size) {
  auto *end = static_cast<End *>(context);
  zmq_msg_init(&end->message);
  if (zmq_msg_recv(&end->message, end->socket, 0) != (int)size) rival_fail("zmq_msg_recv");
  return zmq_msg_data(&end->message);
}

static inline void release(void *context, const void *) { zmq_msg_close(&static_cast<End *>(context)->message); }

static void detach(void *context) {
  auto *end = static_cast<End *>(context);
  zmq_close(end->socket);
  zmq_ctx_term(end->context);
}

static void side(void *common, base_ipc_run *run, int role) {
  static const base_transport way = {attach, nullptr, send, receive, release, detach};
  base_run_role(&way, common, run, role);
}

int main(int count, char **arguments) { return rival_run(count, arguments, side, address); }
