#include "common/base/thread_pool.h"

#include <sched.h>

#include <algorithm>

#include "common/base/check.h"

namespace ilre {

ThreadPool::ThreadPool(int num_threads) {
  ILRE_CHECK(num_threads >= 1);
  workers_.reserve(num_threads - 1);
  for (int i = 1; i < num_threads; ++i) workers_.emplace_back([this] { Work(); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::RunTasks(const std::function<void(int64_t)>& body, int64_t num_tasks) {
  for (;;) {
    const int64_t task = next_task_.fetch_add(1, std::memory_order_relaxed);
    if (task >= num_tasks) return;
    body(task);
  }
}

void ThreadPool::ParallelFor(int64_t num_tasks, const std::function<void(int64_t)>& body) {
  if (num_tasks <= 0) return;
  if (workers_.empty() || num_tasks == 1) {
    for (int64_t task = 0; task < num_tasks; ++task) body(task);
    return;
  }
  std::lock_guard<std::mutex> caller(caller_mutex_);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    body_ = &body;
    num_tasks_ = num_tasks;
    next_task_.store(0, std::memory_order_relaxed);
    busy_workers_ = static_cast<int>(workers_.size());
    ++generation_;
  }
  wake_.notify_all();
  RunTasks(body, num_tasks);
  std::unique_lock<std::mutex> lock(mutex_);
  finished_.wait(lock, [this] { return busy_workers_ == 0; });
  body_ = nullptr;
}

void ThreadPool::Work() {
  uint64_t seen = 0;
  for (;;) {
    const std::function<void(int64_t)>* body;
    int64_t num_tasks;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
      if (stopping_) return;
      seen = generation_;
      body = body_;
      num_tasks = num_tasks_;
    }
    RunTasks(*body, num_tasks);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      --busy_workers_;
    }
    finished_.notify_one();
  }
}

namespace {

std::atomic<int> default_threads{0};

int AvailableProcessors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace

void SetDefaultPoolThreads(int num_threads) { default_threads = num_threads; }

ThreadPool& DefaultPool() {
  static ThreadPool* pool = new ThreadPool(default_threads > 0 ? default_threads.load() : AvailableProcessors());
  return *pool;
}

}  // namespace ilre
