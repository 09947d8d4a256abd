#include "encoder_service/ingest_registry.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/errors.h"

namespace ilre {
namespace {

// How often a waiting call looks whether it still matters.
constexpr absl::Duration kCheckInterval = absl::Milliseconds(20);

}  // namespace

absl::Status IngestTakenOver(const std::string& name) {
  return MakeError(absl::StatusCode::kAborted, "INGEST_TAKEN_OVER",
                   absl::StrCat("document ", name, ": another call has begun to write it"));
}

IngestRegistry::Claim::~Claim() { registry_->GiveBack(name_); }

absl::StatusOr<std::unique_ptr<IngestRegistry::Claim>> IngestRegistry::Take(
    const std::string& name, const std::function<absl::Status()>& check) {
  absl::MutexLock lock(&mutex_);
  const uint64_t ticket = next_ticket_++;
  {
    Entry& entry = entries_[name];
    ++entry.users;
    entry.latest_ticket = ticket;
    if (entry.revoked != nullptr) entry.revoked->store(true);
  }
  absl::Status status;
  while (status.ok()) {
    Entry& entry = entries_[name];  // the table may have moved while the lock was given up
    if (entry.latest_ticket != ticket) {
      status = IngestTakenOver(name);
    } else if (entry.revoked == nullptr) {
      entry.revoked = std::make_shared<std::atomic<bool>>(false);
      return std::unique_ptr<Claim>(new Claim(this, name, entry.revoked));
    } else {
      const auto changed = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        const Entry& now = entries_.find(name)->second;
        return now.revoked == nullptr || now.latest_ticket != ticket;
      };
      mutex_.AwaitWithTimeout(absl::Condition(&changed), kCheckInterval);
      status = check();
    }
  }
  const auto entry = entries_.find(name);
  if (--entry->second.users == 0) entries_.erase(entry);
  return status;
}

void IngestRegistry::GiveBack(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  const auto entry = entries_.find(name);
  entry->second.revoked = nullptr;
  if (--entry->second.users == 0) entries_.erase(entry);
}

int IngestRegistry::num_claims() const {
  absl::MutexLock lock(&mutex_);
  int claims = 0;
  for (const auto& [name, entry] : entries_) claims += entry.revoked != nullptr ? 1 : 0;
  return claims;
}

}  // namespace ilre
