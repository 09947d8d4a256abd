// A reader of a store that another process writes.
//
// It never looks at files that change under it. A view is RocksDB opened read-only on a cut of the folder
// (store_cut.h): constant, and exactly what the store held at one moment. Refresh opens a new view beside the old one,
// which ends with the last call that reads it.
#include <cstdarg>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "common/base/status_macros.h"
#include "common/store/frozen_file_system.h"
#include "common/store/key_store.h"
#include "common/store/manifest_seal.h"
#include "common/store/rocksdb_database.h"
#include "common/store/rocksdb_reader.h"
#include "common/store/store_cut.h"

namespace ilre {
namespace {

class RocksdbFollower final : public KeyStoreReader {
 public:
  RocksdbFollower(std::string path, const KeyStoreOptions& options)
      : path_(std::move(path)),
        options_(options),
        cache_(NewBlockCache(options)),
        reader_(&slot_, path_, options.clock) {}

  absl::StatusOr<DocumentRow> GetDocument(absl::string_view collection, absl::string_view document) const override {
    return reader_.GetDocument(collection, document);
  }
  absl::StatusOr<Page> ListDocuments(absl::string_view collection, int page_size,
                                     absl::string_view after) const override {
    return reader_.ListDocuments(collection, page_size, after);
  }
  absl::Status VisitBlocks(const DocumentRow& row, uint32_t begin, uint32_t end,
                           const std::function<absl::Status(const BlockView&)>& visit) const override {
    return reader_.VisitBlocks(row, begin, end, visit);
  }
  absl::Status VisitLexical(const DocumentRow& row, uint32_t begin, uint32_t end,
                            const std::function<absl::Status(uint32_t, const LexicalData&)>& visit) const override {
    return reader_.VisitLexical(row, begin, end, visit);
  }
  absl::StatusOr<std::string> ReadText(const DocumentRow& row, uint32_t begin, uint32_t end) const override {
    return reader_.ReadText(row, begin, end);
  }
  absl::StatusOr<std::string> ReadState(const DocumentRow& row) const override { return reader_.ReadState(row); }
  absl::StatusOr<Stats> GetStats() const override { return reader_.GetStats(); }

  absl::Status Refresh() override {
    absl::MutexLock lock(&refresh_mutex_);
    ILRE_RETURN_IF_ERROR(CheckManifestSeal(path_));
    ILRE_ASSIGN_OR_RETURN(StoreCut cut, TakeStoreCut(path_, cut_.has_value() ? &*cut_ : nullptr));
    if (cut_.has_value() && cut.SameAs(*cut_)) return absl::OkStatus();
    ILRE_ASSIGN_OR_RETURN(std::unique_ptr<RocksdbDatabase> view,
                          RocksdbDatabase::OpenFrozen(path_, cut, options_, cache_));
    slot_.Replace(std::move(view));
    cut_ = std::move(cut);
    return absl::OkStatus();
  }

 private:
  const std::string path_;
  const KeyStoreOptions options_;
  const std::shared_ptr<rocksdb::Cache> cache_;  // of all views
  mutable DatabaseSlot slot_{[]() -> absl::StatusOr<std::unique_ptr<RocksdbDatabase>> {
    return absl::FailedPreconditionError("no view was opened yet");
  }};
  RocksdbReader reader_;
  absl::Mutex refresh_mutex_;
  std::optional<StoreCut> cut_ ABSL_GUARDED_BY(refresh_mutex_);  // of the view in slot_
};

}  // namespace

absl::StatusOr<std::unique_ptr<KeyStoreReader>> OpenKeyStoreFollower(const std::string& path,
                                                                     const KeyStoreOptions& options) {
  ILRE_RETURN_IF_ERROR(options.Validate());
  auto follower = std::make_unique<RocksdbFollower>(path, options);
  ILRE_RETURN_IF_ERROR(follower->Refresh());
  return follower;
}

}  // namespace ilre
