// A fixed set of threads for splitting one computation, made for loops of a few microseconds and up.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace ilre {

// How urgent a thread's loops are. Threads begin as kForeground; work that nobody waits for says so.
enum class Priority {
  kForeground,  // somebody waits for the result: questions, answers
  kBackground,  // ingests: they give way at once, and take what is left
};

// Sets the calling thread's priority while it lives. They may be nested.
class ScopedPriority {
 public:
  explicit ScopedPriority(Priority priority);
  ~ScopedPriority();
  ScopedPriority(const ScopedPriority&) = delete;
  ScopedPriority& operator=(const ScopedPriority&) = delete;

 private:
  Priority before_;
};

// Runs loops on `num_threads` threads, the caller among them.
//
// Several callers may use one pool; their loops take turns:
//   - One loop is current; its caller and all other threads of the pool work on it.
//   - A foreground loop that arrives while a background loop is current takes its place at once: threads change over as
//     soon as they have finished the task at hand, and the background loop goes on when no foreground loop is left. So
//     a foreground loop waits for no background loop, and its helpers come after one task at most: keep the tasks of
//     background loops below some milliseconds.
//   - Loops of equal priority are served in the order of their arrival. A caller that comes again queues behind the
//     others, so that each of k callers gets every k-th turn.
//   - Background loops may wait as long as foreground loops keep coming.
// A thread that has nothing to do looks for work for some 50 microseconds before it sleeps.
//
// A pool of one thread has no turns to give: loops run on their callers, side by side, as the system schedules them.
class ThreadPool {
 public:
  // num_threads >= 1; 1 starts no thread and runs everything on the caller.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Loops that wait for their turn.
  int num_waiting();

  // Calls body(task) once for each task in [0, num_tasks), in about ascending order, on any of the threads, and returns
  // when all have returned. `body` must not throw and must not call ParallelFor of the same pool. A loop of one task
  // runs on its caller without waiting for a turn.
  void ParallelFor(int64_t num_tasks, const std::function<void(int64_t)>& body);

 private:
  struct Loop;

  void Work();
  void Enqueue(Loop* loop);   // mutex_ held
  void StartNext();           // mutex_ held: makes the next waiting loop current, if any
  void Announce();            // mutex_ held: wakes whoever waits for a change
  void Leave(Loop* loop);     // mutex_ held: a thread stops working on `loop`
  void RunTasks(Loop* loop);  // mutex_ not held
  std::deque<Loop*>& waiting(Priority priority) { return waiting_[static_cast<int>(priority)]; }

  // Waits, mutex_ held by `lock`, until ready(); looks at changes_ without the lock for a while before it sleeps.
  template <class Ready>
  void WaitFor(std::unique_lock<std::mutex>& lock, Ready ready);

  std::mutex mutex_;
  std::condition_variable wake_;
  int num_sleeping_ = 0;              // guarded by mutex_
  Loop* current_ = nullptr;           // guarded by mutex_; never one whose tasks have all been taken
  std::deque<Loop*> waiting_[2];      // guarded by mutex_; by priority
  bool stopping_ = false;             // guarded by mutex_
  std::atomic<uint64_t> changes_{0};  // counts what somebody may wait for; written under mutex_
  std::vector<std::thread> workers_;
};

// The pool that kernels of this process share. Created at first use with as many threads as `SetDefaultPoolThreads`
// said, or one for each processor this process may run on. Never destroyed.
ThreadPool& DefaultPool();

// A pool of one thread: for kernels that are called from inside a loop of another pool.
ThreadPool& InlinePool();

// Must be called before the first use of DefaultPool. num_threads <= 0: one for each processor.
void SetDefaultPoolThreads(int num_threads);

}  // namespace ilre
