// Whether a server takes calls, and the calls that are in it: what draining needs to know.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "absl/time/time.h"

namespace ilre {

// Tells one call to stop. Shared by the call and by whoever may stop it. Thread-safe.
class CallStop {
 public:
  enum class Cause { kNone, kClient, kDrain };

  // The first cause counts. Runs the callback, if there is one, on this thread.
  void Stop(Cause cause);
  // Cheap.
  Cause cause() const;

  // `callback` runs once when the call is told to stop; at once if it already was. Replaces an earlier one. Null takes
  // it away; when that returns, it neither runs nor will run (unless called from the callback itself).
  void SetCallback(std::function<void()> callback);

 private:
  // Recursive: a callback may end the call, which takes the callback away.
  mutable std::recursive_mutex mutex_;
  std::function<void()> callback_;  // guarded by mutex_
  std::atomic<Cause> cause_{Cause::kNone};
};

// Thread-safe. Calls that were admitted must be removed.
class ServerState {
 public:
  // False while draining: refuse the call with errors::Draining().
  [[nodiscard]] bool Admit(const std::shared_ptr<CallStop>& call);
  void Remove(const std::shared_ptr<CallStop>& call);

  // Whether the server takes calls. False at first.
  void SetReady(bool ready) { ready_ = ready; }
  bool ready() const { return ready_; }

  bool draining() const;
  int num_calls() const;

  // From now on no call is admitted.
  void StartDraining();
  // Whether all calls ended before `deadline`.
  bool WaitUntilIdle(absl::Time deadline);
  // The same, but false early once ShortenGrace was called, before or meanwhile.
  bool WaitForGrace(absl::Time deadline);
  void ShortenGrace();
  // Tells all calls to stop; they end with errors::Draining().
  void StopCalls();

 private:
  bool Wait(absl::Time deadline, bool may_be_shortened);

  std::atomic<bool> ready_{false};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<const CallStop*, std::shared_ptr<CallStop>> calls_;  // guarded by mutex_
  bool draining_ = false;                                       // guarded by mutex_
  bool shortened_ = false;                                      // guarded by mutex_
};

}  // namespace ilre
