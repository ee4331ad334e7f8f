// SPDX-License-Identifier: Apache-2.0
//
// Boost.Interprocess message_queue: as much room as our rings, in messages of the run's size. It copies in and out under a mutex of the region.

#include <boost/interprocess/ipc/message_queue.hpp>
#include <new>
#include <string>

#include "rival.h"

namespace ipc = boost::interprocess;

struct Names {
  std::string ways[2];
};

struct End {
  base_ipc_run *run;
  int role;
  ipc::message_queue *out, *in;
};

static void *open_queues(base_ipc_run *run) {
  auto *names = new Names;
  size_t size = (size_t)run->scenario.size;
  for (int i = 0; i < 2; i++) {
    names->ways[i] = "pagewise-benchmarks-" + std::to_string(getpid()) + "-" + std::to_string(i);
    ipc::message_queue(ipc::create_only, names->ways[i].c_str(), (size_t)run->scenario.capacity / size, size);
  }
  return names;
}

static void *attach(void *common, base_ipc_run *run, int role) {
  auto *names = static_cast<Names *>(common);
  bool asks = run->scenario.kind == BASE_PING_PONG;
  auto *end = new End{run, role, nullptr, nullptr};
  end->out = new ipc::message_queue(ipc::open_only, names->ways[asks && role == 1].c_str());
  end->in = new ipc::message_queue(ipc::open_only, names->ways[asks && role == 0].c_str());
  return end;
}

static inline void send(void *context, const void *bytes, size_t size) {
  auto *end = static_cast<End *>(context);
  if (!end->run->scenario.spins) return end->out->send(bytes, size, 0);
  while (!end->out->try_send(bytes, size, 0)) base_relax(end->run, end->role);
}

static inline const void *receive(void *context, void *buffer, size_t size) {
  auto *end = static_cast<End *>(context);
  ipc::message_queue::size_type got = 0;
  unsigned priority;
  if (end->run->scenario.spins) {
    while (!end->in->try_receive(buffer, size, got, priority)) base_relax(end->run, end->role);
  } else {
    end->in->receive(buffer, size, got, priority);
  }
  if (got != size) rival_fail("receive");
  return buffer;
}

static void keep(void *, const void *) {}
static void nothing(void *) {}

static void side(void *common, base_ipc_run *run, int role) {
  static const base_transport way = {attach, nullptr, send, receive, keep, nothing};
  base_run_role(&way, common, run, role);
}

static Names *made;

int main(int count, char **arguments) {
  int status = rival_run(count, arguments, side, [](base_ipc_run *run) -> void * { return made = static_cast<Names *>(open_queues(run)); });
  if (made != nullptr)
    for (auto &way : made->ways) ipc::message_queue::remove(way.c_str());
  return status;
}
