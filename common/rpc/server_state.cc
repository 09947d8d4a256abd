#include "common/rpc/server_state.h"

#include <utility>
#include <vector>

namespace ilre {

void CallStop::Stop(Cause cause) {
  std::lock_guard lock(mutex_);
  Cause none = Cause::kNone;
  if (!cause_.compare_exchange_strong(none, cause)) return;
  // Moved out: the callback may take itself away.
  if (std::function<void()> callback = std::exchange(callback_, nullptr)) callback();
}

CallStop::Cause CallStop::cause() const { return cause_.load(std::memory_order_acquire); }

void CallStop::SetCallback(std::function<void()> callback) {
  std::lock_guard lock(mutex_);
  if (callback && cause() != Cause::kNone) {
    callback();
    return;
  }
  callback_ = std::move(callback);
}

bool ServerState::Admit(const std::shared_ptr<CallStop>& call) {
  std::lock_guard lock(mutex_);
  if (draining_) return false;
  calls_.emplace(call.get(), call);
  return true;
}

void ServerState::Remove(const std::shared_ptr<CallStop>& call) {
  std::lock_guard lock(mutex_);
  calls_.erase(call.get());
  if (calls_.empty()) changed_.notify_all();
}

bool ServerState::draining() const {
  std::lock_guard lock(mutex_);
  return draining_;
}

int ServerState::num_calls() const {
  std::lock_guard lock(mutex_);
  return static_cast<int>(calls_.size());
}

void ServerState::StartDraining() {
  std::lock_guard lock(mutex_);
  draining_ = true;
}

bool ServerState::WaitUntilIdle(absl::Time deadline) { return Wait(deadline, /*may_be_shortened=*/false); }

bool ServerState::WaitForGrace(absl::Time deadline) { return Wait(deadline, /*may_be_shortened=*/true); }

bool ServerState::Wait(absl::Time deadline, bool may_be_shortened) {
  std::unique_lock lock(mutex_);
  const auto done = [&] { return calls_.empty() || (may_be_shortened && shortened_); };
  if (deadline == absl::InfiniteFuture()) {
    changed_.wait(lock, done);
  } else {
    changed_.wait_until(lock, absl::ToChronoTime(deadline), done);
  }
  return calls_.empty();
}

void ServerState::ShortenGrace() {
  std::lock_guard lock(mutex_);
  shortened_ = true;
  changed_.notify_all();
}

void ServerState::StopCalls() {
  std::vector<std::shared_ptr<CallStop>> calls;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [key, call] : calls_) calls.push_back(call);
  }
  for (const std::shared_ptr<CallStop>& call : calls) call->Stop(CallStop::Cause::kDrain);
}

}  // namespace ilre
