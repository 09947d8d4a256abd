// Work that is asked for now and done soon, on a thread of its own.
#pragma once

#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace ilre {

// Runs `work`, one run at a time. However often it is asked for while it waits, it is one more run; what is asked for
// during a run is a further one. Thread-safe.
class BackgroundTask {
 public:
  // A run begins `delay` after it was asked for, so that much that comes at once is done at once.
  BackgroundTask(std::function<void()> work, absl::Duration delay);
  ~BackgroundTask() { Stop(); }
  BackgroundTask(const BackgroundTask&) = delete;
  BackgroundTask& operator=(const BackgroundTask&) = delete;

  void Ask();

  // Waits for a run that has begun; one that has not is dropped, and there are no more. Not to be called by `work`.
  void Stop();

 private:
  void Run();
  bool HasCause() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return asked_ || stop_; }

  const std::function<void()> work_;
  const absl::Duration delay_;
  absl::Mutex mutex_;
  bool asked_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses the members above
};

}  // namespace ilre
