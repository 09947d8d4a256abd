// A fixed set of threads for splitting one computation, made for loops of a few microseconds and up.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace ilre {

// Runs loops on `num_threads` threads, the caller among them. Several callers may use one pool: their loops take turns.
class ThreadPool {
 public:
  // num_threads >= 1; 1 starts no thread and runs everything on the caller.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(task) once for each task in [0, num_tasks), in any order, on any of the threads, and returns when all
  // have returned. `body` must not throw and must not call ParallelFor of the same pool.
  void ParallelFor(int64_t num_tasks, const std::function<void(int64_t)>& body);

 private:
  void Work();
  void RunTasks(const std::function<void(int64_t)>& body, int64_t num_tasks);

  std::mutex caller_mutex_;  // one loop at a time
  std::mutex mutex_;
  std::condition_variable wake_, finished_;
  const std::function<void(int64_t)>* body_ = nullptr;  // guarded by mutex_
  int64_t num_tasks_ = 0;                               // guarded by mutex_
  uint64_t generation_ = 0;                             // guarded by mutex_; counts loops
  int busy_workers_ = 0;                                // guarded by mutex_
  bool stopping_ = false;                               // guarded by mutex_
  std::atomic<int64_t> next_task_{0};
  std::vector<std::thread> workers_;
};

// The pool that kernels of this process share. Created at first use with as many threads as `SetDefaultPoolThreads`
// said, or one for each processor this process may run on. Never destroyed.
ThreadPool& DefaultPool();

// Must be called before the first use of DefaultPool. num_threads <= 0: one for each processor.
void SetDefaultPoolThreads(int num_threads);

}  // namespace ilre
