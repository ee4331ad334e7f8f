// SPDX-License-Identifier: Apache-2.0
//
// iceoryx 2.0: messages are written and read in place (loan, take). No message is lost: the producer is blocked when the queue is full. Sleeping, it waits with a
// WaitSet; spinning, it takes again and again. Needs the daemon, iox-roudi, with roudi.toml; its processor time is not counted.

#include <cstdlib>
#include <string>

#include "iceoryx_posh/popo/untyped_publisher.hpp"
#include "iceoryx_posh/popo/untyped_subscriber.hpp"
#include "iceoryx_posh/popo/wait_set.hpp"
#include "iceoryx_posh/runtime/posh_runtime.hpp"
#include "iceoryx_hoofs/log/logmanager.hpp"
#include "rival.h"

using namespace iox;

struct End {
  base_ipc_run *run;
  int role;
  popo::UntypedPublisher *out;
  popo::UntypedSubscriber *in;
  popo::WaitSet<1> *waits;
};

static void *service(base_ipc_run *) { return new std::string(std::to_string(getpid())); }

static void *attach(void *common, base_ipc_run *run, int role) {
  capro::IdString_t name(cxx::TruncateToCapacity, ("run-" + *static_cast<std::string *>(common)).c_str());
  log::LogManager::GetLogManager().SetDefaultLogLevel(log::LogLevel::kOff, log::LogLevelOutput::kHideLogLevel);
  runtime::PoshRuntime::initRuntime(RuntimeName_t(cxx::TruncateToCapacity, ("pagewise-" + std::to_string(getpid())).c_str()));
  auto *end = new End{run, role, nullptr, nullptr, nullptr};
  bool asks = run->scenario.kind == BASE_PING_PONG;
  auto part = [&](int way) {
    return capro::ServiceDescription("pagewise-benchmarks", name, way == 0 ? capro::IdString_t("there") : capro::IdString_t("back"));
  };
  if (asks || role != 1) {
    popo::PublisherOptions options;
    options.subscriberTooSlowPolicy = popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
    end->out = new popo::UntypedPublisher(part(asks && role == 1), options);
  }
  if (asks || role == 1) {
    popo::SubscriberOptions options;
    options.queueFullPolicy = popo::QueueFullPolicy::BLOCK_PRODUCER;
    options.queueCapacity = run->scenario.size <= 4096 ? 256 : run->scenario.size <= 65536 ? 16 : 4;
    end->in = new popo::UntypedSubscriber(part(asks && role == 0), options);
    if (!run->scenario.spins) {
      end->waits = new popo::WaitSet<1>;
      if (end->waits->attachState(*end->in, popo::SubscriberState::HAS_DATA).has_error()) rival_fail("attachState");
    }
    while (end->in->getSubscriptionState() != SubscribeState::SUBSCRIBED) base_sleep_ns(1000000);
  }
  if (end->out != nullptr)
    while (!end->out->hasSubscribers()) base_sleep_ns(1000000);
  return end;
}

static inline void *lend(void *context, size_t size) {
  auto loan = static_cast<End *>(context)->out->loan((uint32_t)size);
  if (loan.has_error()) rival_fail("loan");
  return loan.value();
}

static inline void send(void *context, const void *bytes, size_t) {
  static_cast<End *>(context)->out->publish(const_cast<void *>(bytes));
}

static inline const void *receive(void *context, void *, size_t) {
  auto *end = static_cast<End *>(context);
  while (true) {
    auto found = end->in->take();
    if (!found.has_error()) return found.value();
    if (found.get_error() != popo::ChunkReceiveResult::NO_CHUNK_AVAILABLE) rival_fail("take");
    if (end->waits != nullptr) end->waits->wait();
    else base_relax(end->run, end->role);
  }
}

static inline void release(void *context, const void *bytes) { static_cast<End *>(context)->in->release(bytes); }

static void detach(void *context) {
  auto *end = static_cast<End *>(context);
  delete end->waits;
  delete end->in;
  delete end->out;
  // The daemon hears of the process's end from the runtime, whose end is that of the program.
  exit(0);
}

static void side(void *common, base_ipc_run *run, int role) {
  static const base_transport way = {attach, lend, send, receive, release, detach};
  base_run_role(&way, common, run, role);
}

int main(int count, char **arguments) { return rival_run(count, arguments, side, service); }
