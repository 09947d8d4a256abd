#include "common/rpc/executor.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/base/test_matchers.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

// Something that tasks wait for until the test opens it, and that counts who came.
class Gate {
 public:
  void Pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void WaitForArrivals(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return arrived_ >= count; });
  }
  void Open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  bool open_ = false;
};

// Opens a gate when the test ends, however it does: declared after the executor, whose destructor waits for its tasks.
class OpenAtEnd {
 public:
  explicit OpenAtEnd(Gate& gate) : gate_(gate) {}
  ~OpenAtEnd() { gate_.Open(); }

 private:
  Gate& gate_;
};

// Notes the order in which tasks run.
class Journal {
 public:
  std::function<void()> Task(const std::string& name) {
    return [this, name] {
      std::lock_guard lock(mutex_);
      names_.push_back(name);
    };
  }
  std::vector<std::string> names() {
    std::lock_guard lock(mutex_);
    return names_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> names_;
};

TEST(ExecutorTest, OptionsAreChecked) {
  ILRE_EXPECT_OK(ExecutorOptions().Validate());
  EXPECT_FALSE((ExecutorOptions{.num_threads = 0}).Validate().ok());
  EXPECT_FALSE((ExecutorOptions{.num_threads = 5000}).Validate().ok());
  EXPECT_FALSE((ExecutorOptions{.max_waiting = -1}).Validate().ok());
  EXPECT_FALSE((ExecutorOptions{.max_running_per_tenant = -1}).Validate().ok());
}

TEST(ExecutorTest, RunsEverythingThatItTook) {
  std::atomic<int> count{0};
  Executor executor({.num_threads = 3, .max_waiting = 1000});
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(executor.TrySubmit("", [&] { ++count; }));
  executor.Drain();
  EXPECT_EQ(count, 500);
  EXPECT_EQ(executor.running(), 0);
  EXPECT_EQ(executor.waiting(), 0);
  EXPECT_FALSE(executor.TrySubmit("", [&] { ++count; }));
  EXPECT_FALSE(executor.SubmitPiece("", [&] { ++count; }));
  EXPECT_EQ(count, 500);
}

TEST(ExecutorTest, TheQueueIsBounded) {
  Gate gate;
  Journal journal;
  Executor executor({.num_threads = 2, .max_waiting = 3});
  OpenAtEnd opener(gate);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(executor.TrySubmit("", [&] { gate.Pass(); }));
  gate.WaitForArrivals(2);
  EXPECT_EQ(executor.running(), 2);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(executor.TrySubmit("", journal.Task("waited")));
  EXPECT_EQ(executor.waiting(), 3);
  EXPECT_FALSE(executor.TrySubmit("", journal.Task("refused")));
  EXPECT_FALSE(executor.TrySubmit("other", journal.Task("refused")));
  gate.Open();
  executor.Drain();
  EXPECT_EQ(journal.names(), std::vector<std::string>(3, "waited"));
}

TEST(ExecutorTest, WithoutAQueueATaskIsTakenIfAThreadIsFree) {
  Gate gate;
  Executor executor({.num_threads = 2, .max_waiting = 0});
  OpenAtEnd opener(gate);
  EXPECT_TRUE(executor.TrySubmit("", [&] { gate.Pass(); }));
  EXPECT_TRUE(executor.TrySubmit("", [&] { gate.Pass(); }));
  EXPECT_FALSE(executor.TrySubmit("", [] {}));
  gate.WaitForArrivals(2);
  EXPECT_FALSE(executor.TrySubmit("", [] {}));
}

TEST(ExecutorTest, TenantsTakeTurns) {
  Gate gate;
  Journal journal;
  Executor executor({.num_threads = 1, .max_waiting = 100});
  OpenAtEnd opener(gate);
  ASSERT_TRUE(executor.TrySubmit("", [&] { gate.Pass(); }));
  gate.WaitForArrivals(1);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(executor.TrySubmit("busy", journal.Task("busy")));
  ASSERT_TRUE(executor.TrySubmit("late", journal.Task("late")));
  ASSERT_TRUE(executor.TrySubmit("later", journal.Task("later")));
  ASSERT_TRUE(executor.TrySubmit("late", journal.Task("late")));
  gate.Open();
  executor.Drain();
  EXPECT_EQ(journal.names(),
            (std::vector<std::string>{"busy", "late", "later", "busy", "late", "busy", "busy", "busy"}));
}

TEST(ExecutorTest, ABusyTenantLeavesRoomForOthers) {
  Gate gate;
  Executor executor({.num_threads = 1, .max_waiting = 40});
  OpenAtEnd opener(gate);
  ASSERT_TRUE(executor.TrySubmit("busy", [&] { gate.Pass(); }));
  gate.WaitForArrivals(1);
  int taken = 0;
  while (executor.TrySubmit("busy", [] {})) ++taken;
  EXPECT_EQ(taken, 30);  // three quarters
  EXPECT_TRUE(executor.TrySubmit("other", [] {}));
}

TEST(ExecutorTest, ATenantMayBeLimitedToSomeThreads) {
  Gate gate, other_gate;
  Executor executor({.num_threads = 3, .max_waiting = 100, .max_running_per_tenant = 2});
  OpenAtEnd opener(gate);
  OpenAtEnd other_opener(other_gate);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(executor.TrySubmit("busy", [&] { gate.Pass(); }));
  gate.WaitForArrivals(2);
  ASSERT_TRUE(executor.TrySubmit("other", [&] { other_gate.Pass(); }));
  other_gate.WaitForArrivals(1);  // runs beside them at once
  EXPECT_EQ(executor.running(), 3);
  other_gate.Open();
  gate.Open();
  executor.Drain();
  EXPECT_EQ(executor.waiting(), 0);
}

TEST(ExecutorTest, PiecesAreTakenWhenTheQueueIsFullAndWhileDraining) {
  Gate gate;
  Journal journal;
  Executor executor({.num_threads = 1, .max_waiting = 1});
  OpenAtEnd opener(gate);
  std::atomic<bool> piece_taken{false};
  ASSERT_TRUE(executor.TrySubmit("a", [&] {
    gate.Pass();
    piece_taken = executor.SubmitPiece("a", journal.Task("piece"));
  }));
  gate.WaitForArrivals(1);
  ASSERT_TRUE(executor.TrySubmit("b", journal.Task("b")));
  EXPECT_FALSE(executor.TrySubmit("c", journal.Task("c")));
  EXPECT_TRUE(executor.SubmitPiece("d", journal.Task("d")));
  std::thread drain([&] { executor.Drain(); });
  gate.Open();
  drain.join();
  EXPECT_TRUE(piece_taken);
  EXPECT_EQ(journal.names(), (std::vector<std::string>{"b", "d", "piece"}));
}

// Many submitters, tenants and pieces at once: for the thread sanitizer, and nothing is lost.
TEST(ExecutorTest, NothingIsLostUnderContention) {
  Executor executor({.num_threads = 4, .max_waiting = 16, .max_running_per_tenant = 2});
  std::atomic<int> taken{0}, ran{0};
  std::vector<std::thread> submitters;
  for (int s = 0; s < 4; ++s) {
    submitters.emplace_back([&, s] {
      const std::string tenant = s == 0 ? "" : std::to_string(s);
      for (int i = 0; i < 500; ++i) {
        const bool ok = executor.TrySubmit(tenant, [&, tenant] {
          ++ran;
          if (executor.SubmitPiece(tenant, [&] { ++ran; })) ++taken;
        });
        if (ok) ++taken;
      }
    });
  }
  for (std::thread& thread : submitters) thread.join();
  executor.Drain();
  EXPECT_EQ(ran, taken);
  EXPECT_GT(ran, 0);
}

}  // namespace
}  // namespace ilre
