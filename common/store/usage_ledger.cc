#include "common/store/usage_ledger.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre {
namespace {

void Subtract(uint64_t amount, uint64_t* from) { *from -= std::min(amount, *from); }

absl::Status CheckLimit(absl::string_view whose, uint64_t used, uint64_t more, uint64_t limit) {
  if (limit == 0 || (used <= limit && more <= limit - used)) return absl::OkStatus();
  absl::Status status = MakeError(
      absl::StatusCode::kResourceExhausted, "QUOTA_EXCEEDED",
      absl::StrCat(whose, " has ", used, " bytes of documents and wants ", more, " more; its limit is ", limit));
  status = WithMetadata(std::move(status), "used_bytes", absl::StrCat(used));
  return WithMetadata(std::move(status), "limit_bytes", absl::StrCat(limit));
}

}  // namespace

UsageLedger::UsageLedger(const KeyStoreOptions& options)
    : max_store_bytes_(options.max_store_bytes),
      max_tenant_bytes_(options.max_tenant_bytes),
      max_bytes_of_tenant_(options.max_bytes_of_tenant) {}

void UsageLedger::Add(absl::string_view collection, uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  KeyStore::Usage& tenant = tenants_[std::string(TenantOf(collection))];
  for (KeyStore::Usage* usage : {&tenant, &total_}) {
    ++usage->num_documents;
    usage->bytes += bytes;
  }
}

void UsageLedger::Remove(absl::string_view collection, uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  const auto tenant = tenants_.find(TenantOf(collection));
  if (tenant == tenants_.end()) return;
  for (KeyStore::Usage* usage : {&tenant->second, &total_}) {
    Subtract(1, &usage->num_documents);
    Subtract(bytes, &usage->bytes);
  }
  if (tenant->second.num_documents == 0) tenants_.erase(tenant);
}

void UsageLedger::Resize(absl::string_view collection, uint64_t old_bytes, uint64_t new_bytes) {
  absl::MutexLock lock(&mutex_);
  const auto tenant = tenants_.find(TenantOf(collection));
  if (tenant == tenants_.end()) return;
  for (KeyStore::Usage* usage : {&tenant->second, &total_}) {
    Subtract(old_bytes, &usage->bytes);
    usage->bytes += new_bytes;
  }
}

uint64_t UsageLedger::LimitOf(absl::string_view tenant) const {
  const auto own = max_bytes_of_tenant_.find(std::string(tenant));
  return own == max_bytes_of_tenant_.end() ? max_tenant_bytes_ : own->second;
}

absl::Status UsageLedger::CheckGrowth(absl::string_view collection, uint64_t old_bytes, uint64_t new_bytes) const {
  if (new_bytes <= old_bytes) return absl::OkStatus();
  const uint64_t more = new_bytes - old_bytes;
  const absl::string_view tenant = TenantOf(collection);
  absl::MutexLock lock(&mutex_);
  const auto usage = tenants_.find(tenant);
  const uint64_t used = usage == tenants_.end() ? 0 : usage->second.bytes;
  const std::string whose = tenant.empty() ? "what belongs to no tenant" : absl::StrCat("tenant ", tenant);
  ILRE_RETURN_IF_ERROR(CheckLimit(whose, used, more, LimitOf(tenant)));
  return CheckLimit("the store", total_.bytes, more, max_store_bytes_);
}

KeyStore::Usage UsageLedger::Of(absl::string_view tenant) const {
  absl::MutexLock lock(&mutex_);
  const auto usage = tenants_.find(tenant);
  return usage == tenants_.end() ? KeyStore::Usage() : usage->second;
}

KeyStore::Usage UsageLedger::Total() const {
  absl::MutexLock lock(&mutex_);
  return total_;
}

}  // namespace ilre
