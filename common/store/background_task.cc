#include "common/store/background_task.h"

#include <utility>

namespace ilre {

BackgroundTask::BackgroundTask(std::function<void()> work, absl::Duration delay)
    : work_(std::move(work)), delay_(delay), thread_([this] { Run(); }) {}

void BackgroundTask::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void BackgroundTask::Ask() {
  absl::MutexLock lock(&mutex_);
  asked_ = true;
}

void BackgroundTask::Run() {
  absl::MutexLock lock(&mutex_);
  while (true) {
    mutex_.Await(absl::Condition(this, &BackgroundTask::HasCause));
    if (!stop_) mutex_.AwaitWithTimeout(absl::Condition(&stop_), delay_);
    if (stop_) return;
    asked_ = false;
    mutex_.Unlock();
    work_();
    mutex_.Lock();
  }
}

}  // namespace ilre
