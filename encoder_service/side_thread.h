// A thread that does one job beside its owner's work.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace ilre {

// One owner: no two calls at once. What the owner wrote before Start, the job sees; what the job wrote, the owner sees
// after Wait, or after is_idle has said true.
class SideThread {
 public:
  SideThread() = default;  // the thread begins with the first job
  ~SideThread();           // waits for the job at hand
  SideThread(const SideThread&) = delete;
  SideThread& operator=(const SideThread&) = delete;

  // Hands over a job. Nothing may be running: Wait first.
  void Start(std::function<void()> job);
  // Returns when nothing is running.
  void Wait();
  bool is_idle();

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> job_;  // guarded by mutex_; empty: idle
  bool stopping_ = false;      // guarded by mutex_
  std::thread thread_;
};

}  // namespace ilre
