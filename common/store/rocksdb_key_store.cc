#include "common/store/rocksdb_key_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/store/commit_check.h"
#include "common/store/disk_probe.h"
#include "common/store/manifest_seal.h"
#include "common/store/record_keys.h"
#include "common/store/rocksdb_status.h"
#include "rocksdb/convenience.h"
#include "rocksdb/transaction_log.h"

namespace ilre {
namespace {

constexpr absl::Duration kReaderPatience = absl::Seconds(10);
constexpr absl::Duration kCompactionDelay = absl::Seconds(1);
constexpr uint64_t kSpareBytes = 1 << 20;  // for RocksDB's own small files at a reopening

int64_t NowMs() { return absl::ToUnixMillis(absl::Now()); }

absl::Status DocumentExists(const DocumentRow& row) {
  return MakeError(absl::StatusCode::kAlreadyExists, "DOCUMENT_EXISTS",
                   absl::StrCat("there is already a document ", DocumentName(row)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<KeyStore>> OpenKeyStore(const std::string& path, const KeyStoreOptions& options) {
  return RocksdbKeyStore::Open(path, options, rocksdb::Env::Default());
}

RocksdbKeyStore::RocksdbKeyStore(std::string path, const KeyStoreOptions& options, rocksdb::Env* env)
    : path_(std::move(path)),
      options_(options),
      env_(env),
      background_errors_(std::make_shared<BackgroundErrors>()),
      wal_guard_(path_, env),
      slot_([this] { return OpenDatabase(); }),
      reader_(&slot_, path_, options.clock),
      reserve_(path_, options.reserve_bytes),
      usage_(options) {}

absl::StatusOr<std::unique_ptr<RocksdbKeyStore>> RocksdbKeyStore::Open(const std::string& path,
                                                                       const KeyStoreOptions& options,
                                                                       rocksdb::Env* env) {
  ILRE_RETURN_IF_ERROR(options.Validate());
  std::unique_ptr<RocksdbKeyStore> store(new RocksdbKeyStore(path, options, env));
  ILRE_RETURN_IF_ERROR(store->slot_.Acquire().status());
  ILRE_RETURN_IF_ERROR(store->CountUsage());
  if (options.verify_on_open) ILRE_RETURN_IF_ERROR(store->VerifyAll());
  if (options.compact_in_background) {
    RocksdbKeyStore* const its = store.get();
    store->compactor_ =
        std::make_unique<BackgroundTask>([its] { its->CompactDeleted().IgnoreError(); }, kCompactionDelay);
    ILRE_ASSIGN_OR_RETURN(const bool unfinished, store->HasDeleted());
    if (unfinished) store->compactor_->Ask();
  }
  return store;
}

RocksdbKeyStore::~RocksdbKeyStore() {
  cancel_compaction_ = true;
  if (compactor_ != nullptr) compactor_->Stop();
  absl::MutexLock lock(&write_mutex_);
  if (slot_.is_open() && !must_recover_ && !background_errors_->failed()) Close().IgnoreError();
}

absl::Status RocksdbKeyStore::Close() {
  ILRE_RETURN_IF_ERROR(FlushAll());
  ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_.Acquire());
  rocksdb::CancelAllBackgroundWork(database->db(), /*wait=*/true);
  if (background_errors_->failed()) {  // the table of contents may not be synced; a seal must not outlive what it seals
    return MakeError(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE",
                     absl::StrCat("work in the background failed while the store in ", path_, " was closed"));
  }
  return SealManifest(path_);
}

absl::StatusOr<std::unique_ptr<RocksdbDatabase>> RocksdbKeyStore::OpenDatabase() {
  ILRE_RETURN_IF_ERROR(wal_guard_.Cut());
  background_errors_->Clear();
  ILRE_ASSIGN_OR_RETURN(auto database, RocksdbDatabase::OpenForWriting(path_, options_, env_, background_errors_));
  wal_guard_.Clear();
  return database;
}

absl::Status RocksdbKeyStore::PrepareWrite() {
  if (must_recover_ || background_errors_->failed()) return Recover();
  for (int i = 0; i < kNumFamilies; ++i) {
    const auto family = static_cast<Family>(i);
    if (!background_errors_->TakeDamaged(family)) continue;
    ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_.Acquire());
    database->db()->SetOptions(database->family(family), {{"disable_auto_compactions", "true"}}).PermitUncheckedError();
  }
  return absl::OkStatus();
}

absl::Status RocksdbKeyStore::PrepareGrowth() {
  ILRE_RETURN_IF_ERROR(PrepareWrite());
  return reserve_.Take();
}

absl::Status RocksdbKeyStore::Free(const std::function<absl::Status()>& write) {
  const auto prepare_and_write = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_) -> absl::Status {
    ILRE_RETURN_IF_ERROR(PrepareWrite());
    return write();
  };
  const absl::Status status = prepare_and_write();
  return absl::IsResourceExhausted(status) && reserve_.Release() ? prepare_and_write() : status;
}

absl::Status RocksdbKeyStore::Recover() {
  uint64_t wal_bytes = 0;
  {
    ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_.Acquire());
    rocksdb::VectorLogPtr files;
    ILRE_RETURN_IF_ERROR(FromRocksdb(database->db()->GetSortedWalFiles(files), absl::StrCat("cannot read ", path_)));
    for (const auto& file : files) wal_bytes += file->SizeFileBytes();
  }
  // Reopening writes what is in the log to tables. Were there no room for it, readers would lose the old database, too.
  ILRE_RETURN_IF_ERROR(ProbeDisk(path_, wal_bytes + kSpareBytes, env_));
  cancel_compaction_ = true;  // it would keep the old database open
  const absl::Status reopened = slot_.Reopen(kReaderPatience);
  cancel_compaction_ = false;
  must_recover_ = !reopened.ok();
  return reopened;
}

absl::Status RocksdbKeyStore::Write(rocksdb::WriteBatch* batch) {
  ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_.Acquire());
  ILRE_ASSIGN_OR_RETURN(const WalGuard::Position end, wal_guard_.Locate(database->db()));
  rocksdb::WriteOptions durable;
  durable.sync = true;
  const rocksdb::Status status = database->db()->Write(durable, batch);
  if (status.ok()) return absl::OkStatus();
  must_recover_ = true;
  wal_guard_.Mark(end);
  // At once, as far as the disk allows: should this process end now, the failed write must not come back.
  wal_guard_.Cut().IgnoreError();
  return FromRocksdb(status, absl::StrCat("cannot write to the store in ", path_));
}

absl::StatusOr<uint64_t> RocksdbKeyStore::ReadNextUid() const {
  ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_.Acquire());
  const std::string key = NextUidKey();
  std::string value;
  const rocksdb::Status status =
      database->db()->Get(MakeReadOptions(Family::kMeta), database->family(Family::kMeta), key, &value);
  if (status.IsNotFound()) {
    return MakeError(absl::StatusCode::kDataLoss, "STORE_DAMAGED", "the next document's number is missing");
  }
  ILRE_RETURN_IF_ERROR(FromRocksdb(status, "cannot read the next document's number"));
  return ParseNextUid(key, value);
}

absl::StatusOr<DocumentRow> RocksdbKeyStore::CreateDocument(const DocumentRow& row) {
  DocumentRow created = {.collection = row.collection,
                         .document = row.document,
                         .model = row.model,
                         .tokenizer = row.tokenizer,
                         .profile = row.profile,
                         .expire_time_ms = row.expire_time_ms,
                         .revision = 1};
  ILRE_RETURN_IF_ERROR(ValidateDocumentRow(created));
  absl::MutexLock lock(&write_mutex_);
  ILRE_RETURN_IF_ERROR(PrepareGrowth());
  const absl::StatusOr<DocumentRow> present = reader_.GetAnyDocument(row.collection, row.document);
  if (present.ok() && reader_.IsGone(*present)) {
    ILRE_RETURN_IF_ERROR(DeleteAnyDocument(row.collection, row.document));  // what nobody deleted, or not wholly
  } else if (!absl::IsNotFound(present.status())) {
    return present.ok() ? DocumentExists(row) : present.status();
  }
  created.state_bytes = EncodeState(StateKey(0), "").size();
  ILRE_RETURN_IF_ERROR(usage_.CheckGrowth(row.collection, 0, created.state_bytes));
  ILRE_ASSIGN_OR_RETURN(created.uid, ReadNextUid());
  created.create_time_ms = created.update_time_ms = NowMs();
  const std::string row_key = DocumentRowKey(created.collection, created.document), uid_key = NextUidKey();
  const std::string owner_key = OwnerKey(created.uid), state_key = StateKey(created.uid);
  rocksdb::WriteBatch batch;
  {
    ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_.Acquire());
    rocksdb::ColumnFamilyHandle* meta = database->family(Family::kMeta);
    batch.Put(meta, uid_key, EncodeNextUid(uid_key, created.uid + 1));
    batch.Put(meta, row_key, EncodeDocumentRow(row_key, created));
    batch.Put(meta, owner_key, EncodeOwner(owner_key, {created.collection, created.document}));
    batch.Put(database->family(Family::kState), state_key, EncodeState(state_key, ""));
  }
  ILRE_RETURN_IF_ERROR(Write(&batch));
  usage_.Add(created.collection, created.state_bytes);
  return created;
}

// The stored row that `row` was made from. ABORTED where there is none, or another.
absl::StatusOr<DocumentRow> RocksdbKeyStore::ReadForChange(const DocumentRow& row) const {
  absl::StatusOr<DocumentRow> stored = reader_.GetDocument(row.collection, row.document);
  if (absl::IsNotFound(stored.status())) {
    return MakeError(absl::StatusCode::kAborted, "DOCUMENT_CHANGED",
                     absl::StrCat("document ", DocumentName(row), " was deleted"));
  }
  ILRE_RETURN_IF_ERROR(stored.status());
  ILRE_RETURN_IF_ERROR(CheckRevision(row, *stored));
  return stored;
}

// Adds `row`, which replaces `stored`, to `batch`; returns it with its new revision and time.
absl::StatusOr<DocumentRow> RocksdbKeyStore::PutChangedRow(const DocumentRow& stored, const DocumentRow& row,
                                                           rocksdb::WriteBatch* batch) const {
  DocumentRow changed = row;
  changed.revision = stored.revision + 1;
  changed.create_time_ms = stored.create_time_ms;
  changed.update_time_ms = std::max(NowMs(), stored.update_time_ms);
  ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_.Acquire());
  const std::string key = DocumentRowKey(row.collection, row.document);
  batch->Put(database->family(Family::kMeta), key, EncodeDocumentRow(key, changed));
  return changed;
}

absl::StatusOr<DocumentRow> RocksdbKeyStore::Apply(const Commit& commit) {
  ILRE_RETURN_IF_ERROR(CheckCommit(commit));
  rocksdb::WriteBatch batch;
  absl::MutexLock lock(&write_mutex_);
  ILRE_RETURN_IF_ERROR(PrepareGrowth());
  ILRE_ASSIGN_OR_RETURN(const DocumentRow stored, ReadForChange(commit.row));
  ILRE_RETURN_IF_ERROR(CheckContinues(commit, stored));
  ILRE_ASSIGN_OR_RETURN(DocumentRow changed, PutCommit(stored, commit, &batch));
  const uint64_t old_bytes = SizesOf(stored).total(), new_bytes = changed.record_bytes + changed.state_bytes;
  ILRE_RETURN_IF_ERROR(usage_.CheckGrowth(stored.collection, old_bytes, new_bytes));
  ILRE_RETURN_IF_ERROR(Write(&batch));
  usage_.Resize(stored.collection, old_bytes, new_bytes);
  return changed;
}

// Adds all of `commit`, which continues `stored`, to `batch`; returns the row as it will be.
absl::StatusOr<DocumentRow> RocksdbKeyStore::PutCommit(const DocumentRow& stored, const Commit& commit,
                                                       rocksdb::WriteBatch* batch) const {
  DocumentRow row = commit.row;
  row.has_postings = commit.blocks.empty() ? stored.has_postings : commit.blocks.front().lexical != nullptr;
  row.record_bytes = SizesOf(stored).records;
  if (!commit.blocks.empty() && commit.blocks.front().data.block < stored.num_blocks) {
    row.record_bytes -= std::min(row.record_bytes, SizeOfBlock(stored, stored.num_blocks - 1));  // it is replaced
  }
  ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_.Acquire());
  const auto put = [&](Family family, const std::string& key, const std::string& value) {
    batch->Put(database->family(family), key, value);
    return value.size();
  };
  for (const Commit::Block& block : commit.blocks) {
    const uint32_t number = block.data.block;
    ILRE_ASSIGN_OR_RETURN(const std::string value, EncodeBlock(block.data));
    row.record_bytes += put(Family::kBlocks, BlockKey(stored.uid, number), value);
    const std::string text_key = TextKey(stored.uid, number), lexical_key = LexicalKey(stored.uid, number);
    row.record_bytes += put(Family::kText, text_key, EncodeText(text_key, block.text));
    if (block.lexical == nullptr) continue;
    row.record_bytes += put(Family::kLexical, lexical_key, EncodeLexical(lexical_key, *block.lexical));
  }
  const std::string state_key = StateKey(stored.uid);
  row.state_bytes = put(Family::kState, state_key, EncodeState(state_key, commit.state));
  return PutChangedRow(stored, row, batch);
}

absl::StatusOr<DocumentRow> RocksdbKeyStore::UpdateRow(const DocumentRow& row) {
  const Commit no_blocks = {.row = row};
  ILRE_RETURN_IF_ERROR(CheckCommit(no_blocks));
  rocksdb::WriteBatch batch;
  absl::MutexLock lock(&write_mutex_);
  ILRE_RETURN_IF_ERROR(PrepareGrowth());
  ILRE_ASSIGN_OR_RETURN(const DocumentRow stored, ReadForChange(row));
  ILRE_RETURN_IF_ERROR(CheckContinues(no_blocks, stored));
  DocumentRow wanted = row;
  wanted.has_postings = stored.has_postings;
  wanted.record_bytes = stored.record_bytes;
  wanted.state_bytes = stored.state_bytes;
  ILRE_ASSIGN_OR_RETURN(DocumentRow changed, PutChangedRow(stored, wanted, &batch));
  ILRE_RETURN_IF_ERROR(Write(&batch));
  return changed;
}

}  // namespace ilre
