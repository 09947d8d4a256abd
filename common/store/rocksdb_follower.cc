// A reader of a store that another process writes: RocksDB's secondary instance.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/store/key_store.h"
#include "common/store/rocksdb_database.h"
#include "common/store/rocksdb_reader.h"
#include "common/store/rocksdb_status.h"

namespace ilre {
namespace {

constexpr absl::Duration kReaderPatience = absl::Seconds(10);
constexpr absl::Duration kOpenPause = absl::Milliseconds(50);
constexpr int kOpenAttempts = 5;
constexpr int kReadAttempts = 4;

// A folder of its own for one follower, removed with it.
class ScratchFolder {
 public:
  static absl::StatusOr<std::unique_ptr<ScratchFolder>> Create(const std::string& wanted_parent) {
    std::error_code error;
    std::filesystem::path parent = wanted_parent;
    if (parent.empty()) parent = std::filesystem::temp_directory_path(error);
    if (!error) std::filesystem::create_directories(parent, error);
    if (error) return ErrnoError(error.value(), absl::StrCat("cannot create ", parent.string()));
    std::string path = (parent / "ilre-follower-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) return ErrnoError(errno, absl::StrCat("cannot create ", path));
    return std::unique_ptr<ScratchFolder>(new ScratchFolder(std::move(path)));
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  explicit ScratchFolder(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

// A writer that opens the store at the same time replaces files that are being read here: what looks like damage is
// looked at again.
absl::StatusOr<std::unique_ptr<RocksdbDatabase>> OpenPatiently(const std::string& path, const std::string& scratch,
                                                               const KeyStoreOptions& options) {
  for (int attempt = 1;; ++attempt) {
    auto database = RocksdbDatabase::OpenAsFollower(path, scratch, options, nullptr);
    if (!absl::IsDataLoss(database.status()) || attempt == kOpenAttempts) return database;
    absl::SleepFor(kOpenPause);
  }
}

// A follower sees RocksDB's files and log at slightly different times, so a record may seem to be missing that another
// look finds: damage is reported only if it is still there after catching up a few times.
class RocksdbFollower final : public KeyStoreReader {
 public:
  RocksdbFollower(std::string path, const KeyStoreOptions& options, std::unique_ptr<ScratchFolder> scratch)
      : scratch_(std::move(scratch)),
        slot_([path, options, folder = scratch_->path()] { return OpenPatiently(path, folder, options); }),
        reader_(&slot_, path) {}

  absl::Status Start() { return slot_.Acquire().status(); }

  absl::StatusOr<DocumentRow> GetDocument(absl::string_view collection, absl::string_view document) const override {
    return Persistently([&] { return reader_.GetDocument(collection, document); });
  }
  absl::StatusOr<Page> ListDocuments(absl::string_view collection, int page_size,
                                     absl::string_view after) const override {
    return Persistently([&] { return reader_.ListDocuments(collection, page_size, after); });
  }
  absl::Status VisitBlocks(const DocumentRow& row, uint32_t begin, uint32_t end,
                           const std::function<absl::Status(const BlockView&)>& visit) const override {
    bool refused = false;  // by `visit`, whose error is not ours to explain
    return Persistently(
        [&] {
          return reader_.VisitBlocks(row, begin, end, [&](const BlockView& block) {
            const absl::Status status = visit(block);
            refused = !status.ok();
            begin = block.block() + 1;  // another look goes on from here
            return status;
          });
        },
        &refused);
  }
  absl::Status VisitLexical(const DocumentRow& row, uint32_t begin, uint32_t end,
                            const std::function<absl::Status(uint32_t, const LexicalData&)>& visit) const override {
    bool refused = false;
    return Persistently(
        [&] {
          return reader_.VisitLexical(row, begin, end, [&](uint32_t block, const LexicalData& data) {
            const absl::Status status = visit(block, data);
            refused = !status.ok();
            begin = block + 1;
            return status;
          });
        },
        &refused);
  }
  absl::StatusOr<std::string> ReadText(const DocumentRow& row, uint32_t begin, uint32_t end) const override {
    return Persistently([&] { return reader_.ReadText(row, begin, end); });
  }
  absl::StatusOr<std::string> ReadState(const DocumentRow& row) const override {
    return Persistently([&] { return reader_.ReadState(row); });
  }
  absl::StatusOr<Stats> GetStats() const override { return reader_.GetStats(); }

  absl::Status Refresh() override { return CatchUp(); }

 private:
  absl::Status CatchUp() const {
    absl::MutexLock lock(&refresh_mutex_);
    {
      ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_.Acquire());
      if (database->db()->TryCatchUpWithPrimary().ok()) return absl::OkStatus();
    }
    // It has lost the thread, say because files went away before it came to them: begin anew.
    return slot_.Reopen(kReaderPatience);
  }

  template <typename Read>
  auto Persistently(const Read& read, const bool* refused = nullptr) const -> decltype(read()) {
    for (int attempt = 1;; ++attempt) {
      auto result = read();
      const bool final = !absl::IsDataLoss(ToStatus(result)) || (refused != nullptr && *refused);
      if (final || attempt == kReadAttempts || !CatchUp().ok()) return result;
    }
  }
  static const absl::Status& ToStatus(const absl::Status& status) { return status; }
  template <typename T>
  static const absl::Status& ToStatus(const absl::StatusOr<T>& status_or) {
    return status_or.status();
  }

  const std::unique_ptr<ScratchFolder> scratch_;
  mutable DatabaseSlot slot_;
  RocksdbReader reader_;
  mutable absl::Mutex refresh_mutex_;  // one catching up at a time
};

}  // namespace

absl::StatusOr<std::unique_ptr<KeyStoreReader>> OpenKeyStoreFollower(const std::string& path,
                                                                     const KeyStoreOptions& options) {
  ILRE_RETURN_IF_ERROR(options.Validate());
  ILRE_ASSIGN_OR_RETURN(std::unique_ptr<ScratchFolder> scratch, ScratchFolder::Create(options.follower_scratch_path));
  auto follower = std::make_unique<RocksdbFollower>(path, options, std::move(scratch));
  ILRE_RETURN_IF_ERROR(follower->Start());
  return follower;
}

}  // namespace ilre
