// The reading half of the store, the same for its writer and its followers.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/store/key_store.h"
#include "common/store/record_keys.h"
#include "common/store/rocksdb_database.h"

namespace ilre {

// Whether it has expired at `now`.
bool IsExpired(const DocumentRow& row, absl::Time now);
absl::Status DocumentNotFound(absl::string_view collection, absl::string_view document);
std::string DocumentName(const DocumentRow& row);  // "collection/document"

// Contracts of the methods: KeyStoreReader's. Thread-safe.
class RocksdbReader {
 public:
  // `slot` must outlive this; `path` is the store's folder; `clock` says when documents expire, and if it is empty, the
  // system does.
  RocksdbReader(DatabaseSlot* slot, std::string path, std::function<absl::Time()> clock)
      : slot_(slot), path_(std::move(path)), clock_(std::move(clock)) {}

  absl::StatusOr<DocumentRow> GetDocument(absl::string_view collection, absl::string_view document) const;
  // Shows rows being deleted or expired, too.
  absl::StatusOr<DocumentRow> GetAnyDocument(absl::string_view collection, absl::string_view document) const;
  absl::StatusOr<KeyStoreReader::Page> ListDocuments(absl::string_view collection, int page_size,
                                                     absl::string_view after) const;
  absl::Status VisitBlocks(const DocumentRow& row, uint32_t begin, uint32_t end,
                           const std::function<absl::Status(const BlockView&)>& visit) const;
  absl::Status VisitLexical(const DocumentRow& row, uint32_t begin, uint32_t end,
                            const std::function<absl::Status(uint32_t, const LexicalData&)>& visit) const;
  absl::StatusOr<std::string> ReadText(const DocumentRow& row, uint32_t begin, uint32_t end) const;
  absl::StatusOr<std::string> ReadState(const DocumentRow& row) const;
  absl::StatusOr<KeyStoreReader::Stats> GetStats() const;

  // Whether nobody shall see `row` any more, though it is still stored.
  bool IsGone(const DocumentRow& row) const;

 private:
  // `block`, key and value of one record; views are valid during the call.
  using RecordVisitor = std::function<absl::Status(uint32_t, absl::string_view, absl::string_view)>;

  // Visits the records of `record_class` of blocks [begin, end), of which none may be missing.
  absl::Status VisitRecords(const DocumentRow& row, Family family, RecordClass record_class, uint32_t begin,
                            uint32_t end, const RecordVisitor& visit) const;
  absl::Status CheckBlock(const DocumentRow& row, uint64_t fingerprint, const BlockView& block) const;
  // NOT_FOUND or ABORTED where the last block of `row` may have been replaced since `row` was read. To be called once
  // the records are fixed that it speaks of.
  absl::Status CheckNotReplaced(const DocumentRow& row) const;
  // Why a record is not as `row` says: NOT_FOUND or ABORTED where the document was deleted or changed since `row` was
  // read, else `damage`.
  absl::Status Explain(const DocumentRow& row, const absl::Status& damage) const;

  DatabaseSlot* const slot_;
  const std::string path_;
  const std::function<absl::Time()> clock_;
};

}  // namespace ilre
