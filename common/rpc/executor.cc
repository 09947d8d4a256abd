#include "common/rpc/executor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/errors.h"

namespace ilre {
namespace {

// How many times the free places a named tenant's waiting tasks may fill.
constexpr int64_t kShareOfFreePlaces = 3;

}  // namespace

absl::Status ExecutorOptions::Validate() const {
  if (num_threads < 1 || num_threads > 1024) {
    return errors::InvalidField("max-running", absl::StrCat(num_threads, " is not in 1..1024"));
  }
  if (max_waiting < 0 || max_waiting > 1'000'000) {
    return errors::InvalidField("max-waiting", absl::StrCat(max_waiting, " is not in 0..1000000"));
  }
  if (max_running_per_tenant < 0) {
    return errors::InvalidField("max-running-per-tenant", absl::StrCat(max_running_per_tenant, " is negative"));
  }
  return absl::OkStatus();
}

Executor::Executor(const ExecutorOptions& options) : options_(options) {
  ILRE_CHECK(options.Validate().ok());
  threads_.reserve(static_cast<size_t>(options.num_threads));
  for (int i = 0; i < options.num_threads; ++i) threads_.emplace_back([this] { Work(); });
}

Executor::~Executor() {
  Drain();
  for (std::thread& thread : threads_) thread.join();
}

// Holds mutex_. A task that a free thread takes at once does not wait.
bool Executor::HasRoom(absl::string_view tenant) const {
  const int64_t free_threads = options_.num_threads - num_running_ - num_pieces_;
  const int64_t free = options_.max_waiting + std::max<int64_t>(free_threads, 0) - num_waiting_;
  if (free <= 0) return false;
  if (tenant.empty()) return true;
  const auto found = tenants_.find(tenant);
  const int64_t own = found == tenants_.end() ? 0 : found->second.num_waiting;
  return own < kShareOfFreePlaces * free;
}

// Holds mutex_.
void Executor::Push(absl::string_view tenant, Task task) {
  auto found = tenants_.find(tenant);
  if (found == tenants_.end()) found = tenants_.emplace(std::string(tenant), Tenant()).first;
  if (found->second.tasks.empty()) turns_.emplace_back(tenant);
  ++(task.is_piece ? num_pieces_ : num_waiting_);
  if (!task.is_piece) ++found->second.num_waiting;
  found->second.tasks.push_back(std::move(task));
  wake_.notify_one();
}

// Holds mutex_. Takes the next task of the next tenant that may run one; false if there is none.
bool Executor::Pop(std::string* name, Task* task) {
  for (auto turn = turns_.begin(); turn != turns_.end(); ++turn) {
    Tenant& tenant = tenants_.find(*turn)->second;
    const int64_t limit = options_.max_running_per_tenant;
    if (limit > 0 && !turn->empty() && tenant.num_running >= limit) continue;
    *name = std::move(*turn);
    turns_.erase(turn);
    *task = std::move(tenant.tasks.front());
    tenant.tasks.pop_front();
    --(task->is_piece ? num_pieces_ : num_waiting_);
    if (!task->is_piece) --tenant.num_waiting;
    if (!tenant.tasks.empty()) turns_.push_back(*name);
    ++tenant.num_running;
    ++num_running_;
    return true;
  }
  return false;
}

bool Executor::TrySubmit(absl::string_view tenant, std::function<void()> task) {
  std::lock_guard lock(mutex_);
  if (draining_ || !HasRoom(tenant)) return false;
  Push(tenant, Task{std::move(task), /*is_piece=*/false});
  return true;
}

bool Executor::SubmitPiece(absl::string_view tenant, std::function<void()> task) {
  std::lock_guard lock(mutex_);
  if (stopped_) return false;
  Push(tenant, Task{std::move(task), /*is_piece=*/true});
  return true;
}

int64_t Executor::waiting() const {
  std::lock_guard lock(mutex_);
  return num_waiting_ + num_pieces_;
}

int64_t Executor::running() const {
  std::lock_guard lock(mutex_);
  return num_running_;
}

void Executor::Drain() {
  std::unique_lock lock(mutex_);
  draining_ = true;
  idle_.wait(lock, [this] { return num_running_ == 0 && turns_.empty(); });
  stopped_ = true;
  wake_.notify_all();
}

void Executor::Work() {
  std::unique_lock lock(mutex_);
  std::string name;
  Task task;
  while (true) {
    wake_.wait(lock, [&] { return Pop(&name, &task) || stopped_; });
    if (!task.run) return;
    lock.unlock();
    task.run();
    task.run = nullptr;  // what it holds goes before it counts as done
    lock.lock();
    --num_running_;
    const auto tenant = tenants_.find(name);
    if (--tenant->second.num_running == 0 && tenant->second.tasks.empty()) {
      tenants_.erase(tenant);
    } else if (options_.max_running_per_tenant > 0) {
      wake_.notify_one();  // a thread may have passed this tenant over
    }
    if (num_running_ == 0 && turns_.empty()) idle_.notify_all();
  }
}

}  // namespace ilre
