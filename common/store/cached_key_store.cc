#include "common/store/cached_key_store.h"

#include <algorithm>
#include <cstddef>
#include <list>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status_macros.h"
#include "common/store/rocksdb_reader.h"

namespace ilre {
namespace {

constexpr size_t kNumShards = 16;
constexpr uint64_t kOverheadBytes = 400;  // of an entry: its list node, its place in the table, its views

struct Key {
  uint64_t uid;
  uint32_t block;
  uint8_t kind;
  friend bool operator==(const Key&, const Key&) = default;
};

uint64_t Mix(const Key& key) {
  uint64_t hash = key.uid * 0x9E3779B97F4A7C15 + (uint64_t{key.block} << 1 | key.kind);
  hash = (hash ^ hash >> 29) * 0xBF58476D1CE4E5B9;
  return hash ^ hash >> 32;
}

struct KeyHash {
  size_t operator()(const Key& key) const { return Mix(key); }
};

// A last block that is partial may be replaced.
bool IsWhole(const DocumentRow& row, uint32_t block) {
  return block + 1 < row.num_blocks || row.num_tokens % kBlockTokens == 0;
}

}  // namespace

struct CachedKeyStore::Entry {
  std::string value;  // of a block
  BlockView view;     // of value
  LexicalData lexical;
  uint64_t bytes = 0;
};

// Thread-safe. What it gives out stays valid when it is pushed out.
class CachedKeyStore::Shard {
 public:
  explicit Shard(uint64_t max_bytes) : max_bytes_(max_bytes) {}

  EntryPtr Find(const Key& key) {
    absl::MutexLock lock(&mutex_);
    const auto found = table_.find(key);
    if (found == table_.end()) return nullptr;
    order_.splice(order_.begin(), order_, found->second);
    return found->second->second;
  }
  bool Has(const Key& key) {
    absl::MutexLock lock(&mutex_);
    return table_.count(key) != 0;
  }
  void Keep(const Key& key, EntryPtr entry) {
    std::list<std::pair<Key, EntryPtr>> gone;  // freed after the mutex
    absl::MutexLock lock(&mutex_);
    if (entry->bytes > max_bytes_ || table_.count(key) != 0) return;
    bytes_ += entry->bytes;
    order_.emplace_front(key, std::move(entry));
    table_[key] = order_.begin();
    while (bytes_ > max_bytes_) {
      bytes_ -= order_.back().second->bytes;
      table_.erase(order_.back().first);
      gone.splice(gone.end(), order_, std::prev(order_.end()));
    }
  }
  void AddTo(CacheStats* stats) const {
    absl::MutexLock lock(&mutex_);
    stats->records += table_.size();
    stats->bytes += bytes_;
  }

 private:
  using Order = std::list<std::pair<Key, EntryPtr>>;  // the most recently used first
  const uint64_t max_bytes_;
  mutable absl::Mutex mutex_;
  Order order_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<Key, Order::iterator, KeyHash> table_ ABSL_GUARDED_BY(mutex_);
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

CachedKeyStore::CachedKeyStore(KeyStoreReader* store, uint64_t max_bytes)
    : store_(store), max_bytes_(max_bytes), shards_([max_bytes] {
        std::vector<std::unique_ptr<Shard>> shards;
        for (size_t s = 0; s < kNumShards; ++s) shards.push_back(std::make_unique<Shard>(max_bytes / kNumShards));
        return shards;
      }()) {}

CachedKeyStore::~CachedKeyStore() = default;

CachedKeyStore::CacheStats CachedKeyStore::cache_stats() const {
  CacheStats stats = {.hits = hits_, .misses = misses_};
  for (const std::unique_ptr<Shard>& shard : shards_) shard->AddTo(&stats);
  return stats;
}

CachedKeyStore::Shard& CachedKeyStore::ShardOf(Kind kind, uint64_t uid, uint32_t block) const {
  return *shards_[(Mix({uid, block, static_cast<uint8_t>(kind)}) >> 32) % kNumShards];
}

CachedKeyStore::EntryPtr CachedKeyStore::Find(Kind kind, const DocumentRow& row, uint32_t block) const {
  if (!IsWhole(row, block)) return nullptr;
  return ShardOf(kind, row.uid, block).Find({row.uid, block, static_cast<uint8_t>(kind)});
}

bool CachedKeyStore::Has(Kind kind, const DocumentRow& row, uint32_t block) const {
  return IsWhole(row, block) && ShardOf(kind, row.uid, block).Has({row.uid, block, static_cast<uint8_t>(kind)});
}

bool CachedKeyStore::MayKeep(const DocumentRow& row, uint32_t block, uint64_t bytes) const {
  return IsWhole(row, block) && (bytes + kOverheadBytes) * (uint64_t{block} + 1) <= max_bytes_ / 2;
}

void CachedKeyStore::Keep(Kind kind, const DocumentRow& row, uint32_t block, EntryPtr entry) const {
  ShardOf(kind, row.uid, block).Keep({row.uid, block, static_cast<uint8_t>(kind)}, std::move(entry));
}

absl::Status CachedKeyStore::CheckExists(const DocumentRow& row) const {
  ILRE_ASSIGN_OR_RETURN(const DocumentRow now, store_->GetDocument(row.collection, row.document));
  return now.uid == row.uid ? absl::OkStatus() : DocumentNotFound(row.collection, row.document);
}

absl::Status CachedKeyStore::Visit(Kind kind, const DocumentRow& row, uint32_t begin, uint32_t end,
                                   const std::function<absl::Status(uint32_t, const Entry&)>& use,
                                   const std::function<absl::Status(uint32_t, uint32_t)>& fetch) const {
  end = std::min(end, row.num_blocks);
  bool exists = false;
  while (begin < end) {
    if (const EntryPtr entry = Find(kind, row, begin); entry != nullptr) {
      if (!exists) ILRE_RETURN_IF_ERROR(CheckExists(row));
      exists = true;
      hits_.fetch_add(1, std::memory_order_relaxed);
      ILRE_RETURN_IF_ERROR(use(begin, *entry));
      ++begin;
      continue;
    }
    uint32_t missing_end = begin + 1;
    while (missing_end < end && !Has(kind, row, missing_end)) ++missing_end;
    misses_.fetch_add(missing_end - begin, std::memory_order_relaxed);
    ILRE_RETURN_IF_ERROR(fetch(begin, missing_end));
    begin = missing_end;
  }
  return absl::OkStatus();
}

absl::Status CachedKeyStore::VisitBlocks(const DocumentRow& row, uint32_t begin, uint32_t end,
                                         const std::function<absl::Status(const BlockView&)>& visit) const {
  const auto keep_and_visit = [&](const BlockView& view) {
    const uint64_t bytes = view.value().size();
    if (MayKeep(row, view.block(), bytes)) {
      auto entry = std::make_shared<Entry>();
      entry->value = std::string(view.value());
      entry->view = view.OnCopy(entry->value);
      entry->bytes = bytes + kOverheadBytes;
      Keep(Kind::kBlock, row, view.block(), std::move(entry));
    }
    return visit(view);
  };
  const uint64_t fingerprint = CombinedFingerprint(row.model, row.tokenizer, row.profile);
  return Visit(
      Kind::kBlock, row, begin, end,
      [&](uint32_t block, const Entry& entry) {
        if (entry.view.fingerprint() == fingerprint) return visit(entry.view);
        return store_->VisitBlocks(row, block, block + 1, visit);  // which knows what is wrong
      },
      [&](uint32_t from, uint32_t to) { return store_->VisitBlocks(row, from, to, keep_and_visit); });
}

absl::Status CachedKeyStore::VisitLexical(
    const DocumentRow& row, uint32_t begin, uint32_t end,
    const std::function<absl::Status(uint32_t, const LexicalData&)>& visit) const {
  const auto keep_and_visit = [&](uint32_t block, const LexicalData& data) {
    const uint64_t bytes =
        data.postings.size() * sizeof(LexicalPosting) + data.segment_words.size() * sizeof(data.segment_words[0]);
    if (MayKeep(row, block, bytes)) {
      auto entry = std::make_shared<Entry>();
      entry->lexical = data;
      entry->bytes = bytes + kOverheadBytes;
      Keep(Kind::kLexical, row, block, std::move(entry));
    }
    return visit(block, data);
  };
  return Visit(
      Kind::kLexical, row, begin, end, [&](uint32_t block, const Entry& entry) { return visit(block, entry.lexical); },
      [&](uint32_t from, uint32_t to) { return store_->VisitLexical(row, from, to, keep_and_visit); });
}

}  // namespace ilre
