#include "common/base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

#include "common/base/check.h"

namespace ilre {
namespace {

thread_local Priority thread_priority = Priority::kForeground;

// How long a thread looks for work before it sleeps. Waking one costs about as much.
constexpr std::chrono::microseconds kSpinTime(50);

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ScopedPriority::ScopedPriority(Priority priority) : before_(thread_priority) { thread_priority = priority; }

ScopedPriority::~ScopedPriority() { thread_priority = before_; }

// Lives on its caller's stack: nobody may touch it after `is_done`.
struct ThreadPool::Loop {
  const std::function<void(int64_t)>* body;
  int64_t num_tasks;
  Priority priority;
  std::atomic<int64_t> next_task{0};
  std::atomic<bool> gives_way{false};  // its threads shall leave it after the task at hand; written under mutex_
  int num_working = 0;                 // guarded by mutex_
  bool is_done = false;                // guarded by mutex_

  bool all_taken() const { return next_task.load(std::memory_order_relaxed) >= num_tasks; }
};

ThreadPool::ThreadPool(int num_threads) {
  ILRE_CHECK(num_threads >= 1);
  workers_.reserve(num_threads - 1);
  for (int i = 1; i < num_threads; ++i) workers_.emplace_back([this] { Work(); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    Announce();
  }
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Announce() {
  changes_.fetch_add(1, std::memory_order_release);
  if (num_sleeping_ > 0) wake_.notify_all();
}

template <class Ready>
void ThreadPool::WaitFor(std::unique_lock<std::mutex>& lock, Ready ready) {
  if (ready()) return;
  const auto deadline = std::chrono::steady_clock::now() + kSpinTime;
  uint64_t seen = changes_.load(std::memory_order_relaxed);
  lock.unlock();
  for (int round = 0;; ++round) {
    Pause();
    if (const uint64_t now = changes_.load(std::memory_order_acquire); now != seen) {
      seen = now;
      lock.lock();
      if (ready()) return;
      lock.unlock();
    }
    // Looking at the clock costs as much as some 20 pauses.
    if (round % 32 == 31 && std::chrono::steady_clock::now() >= deadline) break;
  }
  lock.lock();
  ++num_sleeping_;
  wake_.wait(lock, ready);
  --num_sleeping_;
}

void ThreadPool::Enqueue(Loop* loop) {
  if (current_ != nullptr && loop->priority < current_->priority) {
    current_->gives_way.store(true, std::memory_order_relaxed);
    waiting(current_->priority).push_front(current_);
    current_ = nullptr;
  }
  waiting(loop->priority).push_back(loop);
  if (current_ == nullptr) StartNext();
}

void ThreadPool::StartNext() {
  current_ = nullptr;
  for (const Priority priority : {Priority::kForeground, Priority::kBackground}) {
    std::deque<Loop*>& queue = waiting(priority);
    while (current_ == nullptr && !queue.empty()) {
      if (!queue.front()->all_taken()) current_ = queue.front();  // else it gave way during its last tasks
      queue.pop_front();
    }
  }
  if (current_ == nullptr) return;
  current_->gives_way.store(false, std::memory_order_relaxed);
  Announce();
}

void ThreadPool::RunTasks(Loop* loop) {
  while (!loop->gives_way.load(std::memory_order_relaxed)) {
    const int64_t task = loop->next_task.fetch_add(1, std::memory_order_relaxed);
    if (task >= loop->num_tasks) return;
    (*loop->body)(task);
  }
}

void ThreadPool::Leave(Loop* loop) {
  --loop->num_working;
  if (!loop->all_taken()) return;  // it gave way, and waits
  // The next loop begins while others still work on the last tasks of this one.
  if (current_ == loop) {
    StartNext();
  } else {
    // It gave way, but its tasks were all taken already.
    std::deque<Loop*>& queue = waiting(loop->priority);
    queue.erase(std::remove(queue.begin(), queue.end(), loop), queue.end());
  }
  if (loop->num_working > 0) return;
  loop->is_done = true;
  Announce();
}

int ThreadPool::num_waiting() {
  std::lock_guard<std::mutex> lock(mutex_);
  return static_cast<int>(waiting_[0].size() + waiting_[1].size());
}

void ThreadPool::ParallelFor(int64_t num_tasks, const std::function<void(int64_t)>& body) {
  if (num_tasks <= 0) return;
  if (workers_.empty() || num_tasks == 1) {
    for (int64_t task = 0; task < num_tasks; ++task) body(task);
    return;
  }
  Loop loop{&body, num_tasks, thread_priority};
  std::unique_lock<std::mutex> lock(mutex_);
  Enqueue(&loop);
  for (;;) {
    WaitFor(lock, [&] { return loop.is_done || (current_ == &loop && !loop.all_taken()); });
    if (loop.is_done) return;
    ++loop.num_working;
    lock.unlock();
    RunTasks(&loop);
    lock.lock();
    Leave(&loop);
  }
}

void ThreadPool::Work() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    WaitFor(lock, [&] { return stopping_ || (current_ != nullptr && !current_->all_taken()); });
    if (stopping_) return;
    Loop* const loop = current_;
    ++loop->num_working;
    lock.unlock();
    RunTasks(loop);
    lock.lock();
    Leave(loop);
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

ThreadPool& InlinePool() {
  static ThreadPool* pool = new ThreadPool(1);
  return *pool;
}

}  // namespace ilre
