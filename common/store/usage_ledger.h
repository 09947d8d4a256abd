// How many documents and bytes each tenant has, and whether it may have more.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "common/store/key_store.h"

namespace ilre {

// Thread-safe.
class UsageLedger {
 public:
  // Of `options`, the limits.
  explicit UsageLedger(const KeyStoreOptions& options);

  // A document of `collection` (which says the tenant) with `bytes` was created or found.
  void Add(absl::string_view collection, uint64_t bytes);
  void Remove(absl::string_view collection, uint64_t bytes);
  void Resize(absl::string_view collection, uint64_t old_bytes, uint64_t new_bytes);

  // OK if a document may grow from `old_bytes` to `new_bytes`, or RESOURCE_EXHAUSTED (QUOTA_EXCEEDED). What does not
  // grow is always allowed.
  absl::Status CheckGrowth(absl::string_view collection, uint64_t old_bytes, uint64_t new_bytes) const;

  KeyStore::Usage Of(absl::string_view tenant) const;
  KeyStore::Usage Total() const;

 private:
  uint64_t LimitOf(absl::string_view tenant) const;  // 0: none

  const uint64_t max_store_bytes_, max_tenant_bytes_;
  const std::map<std::string, uint64_t> max_bytes_of_tenant_;
  mutable absl::Mutex mutex_;
  std::map<std::string, KeyStore::Usage, std::less<>> tenants_ ABSL_GUARDED_BY(mutex_);  // those with documents
  KeyStore::Usage total_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ilre
