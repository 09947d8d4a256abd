#include "common/base/thread_pool.h"

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace ilre {
namespace {

// Waits until something holds that other threads bring about. Never returns where they do not: the test's time limit
// ends it.
void Await(const std::function<bool()>& holds) {
  while (!holds()) std::this_thread::yield();
}

TEST(ThreadPoolTest, RunsEachTaskOnce) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int64_t tasks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> counts(tasks);
      pool.ParallelFor(tasks, [&](int64_t task) { ++counts[task]; });
      for (const auto& count : counts) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ThreadPoolTest, CallersOfAllPrioritiesShareIt) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 6; ++c) {
    callers.emplace_back([&, c] {
      const ScopedPriority priority(c % 2 == 0 ? Priority::kForeground : Priority::kBackground);
      for (int round = 0; round < 200; ++round) {
        std::vector<std::atomic<int>> counts(10);
        pool.ParallelFor(10, [&](int64_t task) {
          ++counts[task];
          sum += task;
        });
        for (const auto& count : counts) ASSERT_EQ(count, 1);
      }
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(sum, 6 * 200 * 45);
}

TEST(ThreadPoolTest, BackgroundGivesWayAfterTheTaskAtHand) {
  ThreadPool pool(2);
  constexpr int64_t kTasks = 50;
  std::atomic<int> begun{0}, ended{0}, in_foreground{0}, checked{0};
  std::atomic<bool> foreground_runs{false};
  std::thread background([&] {
    const ScopedPriority priority(Priority::kBackground);
    pool.ParallelFor(kTasks, [&](int64_t) {
      ++begun;
      Await([&] { return foreground_runs.load(); });  // the first two, on both threads, hold on until then
      ++ended;
    });
  });
  Await([&] { return begun == 2; });
  // The caller begins although both threads are busy. Two tasks that wait for each other need a second thread: the
  // pool's own, which leaves its loop although there are tasks left.
  pool.ParallelFor(2, [&](int64_t) {
    foreground_runs = true;
    ++in_foreground;
    Await([&] { return in_foreground == 2; });
    EXPECT_EQ(begun, 2);
    ++checked;
    Await([&] { return checked == 2; });  // the background goes on once there is nothing left to begin here
  });
  background.join();
  EXPECT_EQ(begun, kTasks);
  EXPECT_EQ(ended, kTasks);
}

TEST(ThreadPoolTest, EqualsAreServedInOrderOfArrival) {
  ThreadPool pool(2);
  std::atomic<bool> released{false};
  std::vector<int> order;
  std::mutex mutex;
  // Both tasks are inside before one ends: so nobody of the next loop is before them.
  const auto run = [&](int name, std::atomic<int>* inside) {
    pool.ParallelFor(2, [&, inside](int64_t) {
      {
        std::lock_guard<std::mutex> lock(mutex);
        order.push_back(name);
      }
      ++*inside;
      Await([&] { return *inside == 2 && released; });
    });
  };
  std::atomic<int> inside[4] = {};
  std::vector<std::thread> callers;
  callers.emplace_back([&] { run(0, &inside[0]); });
  Await([&] { return inside[0] == 2; });
  for (int name = 1; name < 4; ++name) {
    callers.emplace_back([&, name] { run(name, &inside[name]); });
    Await([&] { return pool.num_waiting() == name; });
  }
  released = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(order, (std::vector<int>{0, 0, 1, 1, 2, 2, 3, 3}));
}

}  // namespace
}  // namespace ilre
