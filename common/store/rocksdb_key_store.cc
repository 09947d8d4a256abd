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
      reader_(&slot_, path_) {}

absl::StatusOr<std::unique_ptr<RocksdbKeyStore>> RocksdbKeyStore::Open(const std::string& path,
                                                                       const KeyStoreOptions& options,
                                                                       rocksdb::Env* env) {
  ILRE_RETURN_IF_ERROR(options.Validate());
  std::unique_ptr<RocksdbKeyStore> store(new RocksdbKeyStore(path, options, env));
  ILRE_RETURN_IF_ERROR(store->slot_.Acquire().status());
  if (options.verify_on_open) ILRE_RETURN_IF_ERROR(store->VerifyAll());
  return store;
}

RocksdbKeyStore::~RocksdbKeyStore() {
  absl::MutexLock lock(&write_mutex_);
  if (slot_.is_open() && !must_recover_ && !background_errors_->failed()) Close().IgnoreError();
}

absl::Status RocksdbKeyStore::Close() {
  ILRE_RETURN_IF_ERROR(FlushAll());
  ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_.Acquire());
  rocksdb::CancelAllBackgroundWork(database->db(), /*wait=*/true);
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
  const absl::Status reopened = slot_.Reopen(kReaderPatience);
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
  ILRE_RETURN_IF_ERROR(PrepareWrite());
  const absl::StatusOr<DocumentRow> present = reader_.GetAnyDocument(row.collection, row.document);
  if (present.ok() && present->state == DocumentState::kDeleting) {
    ILRE_RETURN_IF_ERROR(DeleteAnyDocument(row.collection, row.document));  // what its deleter did not finish
  } else if (!absl::IsNotFound(present.status())) {
    return present.ok() ? DocumentExists(row) : present.status();
  }
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
  ILRE_RETURN_IF_ERROR(PrepareWrite());
  ILRE_ASSIGN_OR_RETURN(const DocumentRow stored, ReadForChange(commit.row));
  ILRE_RETURN_IF_ERROR(CheckContinues(commit, stored));
  DocumentRow row = commit.row;
  row.has_postings = commit.blocks.empty() ? stored.has_postings : commit.blocks.front().lexical != nullptr;
  ILRE_ASSIGN_OR_RETURN(DocumentRow changed, PutChangedRow(stored, row, &batch));
  {
    ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_.Acquire());
    for (const Commit::Block& block : commit.blocks) {
      const uint32_t number = block.data.block;
      ILRE_ASSIGN_OR_RETURN(const std::string value, EncodeBlock(block.data));
      batch.Put(database->family(Family::kBlocks), BlockKey(stored.uid, number), value);
      const std::string text_key = TextKey(stored.uid, number), lexical_key = LexicalKey(stored.uid, number);
      batch.Put(database->family(Family::kText), text_key, EncodeText(text_key, block.text));
      if (block.lexical == nullptr) continue;
      batch.Put(database->family(Family::kLexical), lexical_key, EncodeLexical(lexical_key, *block.lexical));
    }
    const std::string state_key = StateKey(stored.uid);
    batch.Put(database->family(Family::kState), state_key, EncodeState(state_key, commit.state));
  }
  ILRE_RETURN_IF_ERROR(Write(&batch));
  return changed;
}

absl::StatusOr<DocumentRow> RocksdbKeyStore::UpdateRow(const DocumentRow& row) {
  const Commit no_blocks = {.row = row};
  ILRE_RETURN_IF_ERROR(CheckCommit(no_blocks));
  rocksdb::WriteBatch batch;
  absl::MutexLock lock(&write_mutex_);
  ILRE_RETURN_IF_ERROR(PrepareWrite());
  ILRE_ASSIGN_OR_RETURN(const DocumentRow stored, ReadForChange(row));
  ILRE_RETURN_IF_ERROR(CheckContinues(no_blocks, stored));
  DocumentRow wanted = row;
  wanted.has_postings = stored.has_postings;
  ILRE_ASSIGN_OR_RETURN(DocumentRow changed, PutChangedRow(stored, wanted, &batch));
  ILRE_RETURN_IF_ERROR(Write(&batch));
  return changed;
}

}  // namespace ilre
