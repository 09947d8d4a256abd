// A store whose hot documents are read from memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/store/key_store.h"

namespace ilre {

// Keeps blocks and postings, checked, within a limit of bytes, so that asking a document again reads no file and
// computes no checksum. Everything else goes to the store below. Thread-safe.
//
// Only whole blocks are kept, under their document's uid: such a block never changes, and a uid is never given twice,
// so what is kept is right for as long as the document exists; and that is asked of the store below once in each visit
// that uses what is kept. So commits, deletions and refreshes need not tell the cache anything.
class CachedKeyStore final : public KeyStoreReader {
 public:
  // `store` must outlive this. The least recently used goes first where there is no room. A document may take half of
  // `max_bytes` at most: of a longer one the beginning is kept, instead of blocks that push each other out.
  CachedKeyStore(KeyStoreReader* store, uint64_t max_bytes);
  ~CachedKeyStore() override;

  absl::StatusOr<DocumentRow> GetDocument(absl::string_view collection, absl::string_view document) const override {
    return store_->GetDocument(collection, document);
  }
  absl::StatusOr<Page> ListDocuments(absl::string_view collection, int page_size,
                                     absl::string_view after) const override {
    return store_->ListDocuments(collection, page_size, after);
  }
  absl::Status VisitBlocks(const DocumentRow& row, uint32_t begin, uint32_t end,
                           const std::function<absl::Status(const BlockView&)>& visit) const override;
  absl::Status VisitLexical(const DocumentRow& row, uint32_t begin, uint32_t end,
                            const std::function<absl::Status(uint32_t, const LexicalData&)>& visit) const override;
  absl::StatusOr<std::string> ReadText(const DocumentRow& row, uint32_t begin, uint32_t end) const override {
    return store_->ReadText(row, begin, end);
  }
  absl::StatusOr<std::string> ReadState(const DocumentRow& row) const override { return store_->ReadState(row); }
  absl::StatusOr<Stats> GetStats() const override { return store_->GetStats(); }
  absl::Status Refresh() override { return store_->Refresh(); }

  struct CacheStats {
    uint64_t hits = 0, misses = 0;    // of records visited
    uint64_t records = 0, bytes = 0;  // kept now
  };
  CacheStats cache_stats() const;

 private:
  struct Entry;
  class Shard;
  using EntryPtr = std::shared_ptr<const Entry>;
  enum class Kind : uint8_t { kBlock, kLexical };

  Shard& ShardOf(Kind kind, uint64_t uid, uint32_t block) const;
  // Null if it is not kept.
  EntryPtr Find(Kind kind, const DocumentRow& row, uint32_t block) const;
  bool Has(Kind kind, const DocumentRow& row, uint32_t block) const;
  bool MayKeep(const DocumentRow& row, uint32_t block, uint64_t bytes) const;
  void Keep(Kind kind, const DocumentRow& row, uint32_t block, EntryPtr entry) const;
  // Visits [begin, end) of `kind`: what is kept by `use`, and the rest, range by range, by `fetch`.
  absl::Status Visit(Kind kind, const DocumentRow& row, uint32_t begin, uint32_t end,
                     const std::function<absl::Status(uint32_t, const Entry&)>& use,
                     const std::function<absl::Status(uint32_t, uint32_t)>& fetch) const;
  // NOT_FOUND if the document does not exist any more.
  absl::Status CheckExists(const DocumentRow& row) const;

  KeyStoreReader* const store_;
  const uint64_t max_bytes_;
  const std::vector<std::unique_ptr<Shard>> shards_;
  mutable std::atomic<uint64_t> hits_ = 0, misses_ = 0;
};

}  // namespace ilre
