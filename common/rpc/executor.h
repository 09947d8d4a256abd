// Where calls do their work: a fixed number of threads, a bounded queue, and turns between tenants.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ilre {

struct ExecutorOptions {
  int num_threads = 2;   // tasks that run at once, 1-1024
  int max_waiting = 64;  // tasks that wait for a thread, 0-1,000,000; 0: a task is taken only if a thread is free
  // Tasks of one tenant that run at once; 0: as many as there are threads. The tenant "" is not limited.
  int max_running_per_tenant = 0;

  absl::Status Validate() const;
};

// Thread-safe. Tenants take turns, whatever number of tasks each has waiting; tasks of one tenant run in order of
// submission. A named tenant's tasks may fill at most three times as many places as it leaves free, so that there is
// always room for another tenant: a single busy one gets three quarters of the queue. The tenant "" may fill it.
class Executor {
 public:
  // options.Validate() must be OK.
  explicit Executor(const ExecutorOptions& options);
  // Drains.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // False, and `task` is not run, when there is no place to wait or the executor drains: answer errors::Overloaded or
  // errors::Draining. `task` must not throw.
  [[nodiscard]] bool TrySubmit(absl::string_view tenant, std::function<void()> task);

  // For the next piece of a call that was taken by TrySubmit and goes on piece by piece, so that calls take turns:
  // always taken, even while draining, and never counted as waiting. The caller must have at most one piece of each
  // call here. False only after Drain has returned.
  [[nodiscard]] bool SubmitPiece(absl::string_view tenant, std::function<void()> task);

  int64_t waiting() const;  // tasks that wait, pieces included
  int64_t running() const;  // tasks that run now

  // Refuses new tasks and returns when everything that was taken has run. Must not be called from a task.
  void Drain();

 private:
  struct Task {
    std::function<void()> run;
    bool is_piece;
  };
  struct Tenant {
    std::deque<Task> tasks;
    int64_t num_waiting = 0;  // without pieces
    int64_t num_running = 0;
  };

  void Work();
  bool HasRoom(absl::string_view tenant) const;
  void Push(absl::string_view tenant, Task task);
  bool Pop(std::string* tenant, Task* task);

  const ExecutorOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::map<std::string, Tenant, std::less<>> tenants_;  // guarded by mutex_; only those with tasks
  std::deque<std::string> turns_;  // guarded by mutex_; names of tenants with waiting tasks, the next one first
  int64_t num_waiting_ = 0;        // guarded by mutex_; without pieces
  int64_t num_pieces_ = 0;         // guarded by mutex_; pieces that wait
  int64_t num_running_ = 0;        // guarded by mutex_
  bool draining_ = false;          // guarded by mutex_
  bool stopped_ = false;           // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace ilre
