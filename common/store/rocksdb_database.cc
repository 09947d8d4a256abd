#include "common/store/rocksdb_database.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/store/engine_log.h"
#include "common/store/frozen_file_system.h"
#include "common/store/manifest_seal.h"
#include "common/store/plain_records.h"
#include "common/store/record_keys.h"
#include "common/store/rocksdb_status.h"
#include "rocksdb/write_batch.h"

namespace ilre {
namespace {

absl::Status OpenError(const rocksdb::Status& status, const std::string& path) {
  if (IsLockHeld(status)) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "DATA_DIRECTORY_IN_USE",
                     absl::StrCat("the data directory ", path, " is in use by another process"));
  }
  // What RocksDB cannot make sense of is damage to us, whatever it calls it.
  if (status.IsInvalidArgument() || status.IsNotSupported() || status.IsNotFound() || status.IsPathNotFound()) {
    return MakeError(absl::StatusCode::kDataLoss, "STORE_DAMAGED",
                     absl::StrCat("cannot open the store in ", path, ": ", status.ToString()));
  }
  return FromRocksdb(status, absl::StrCat("cannot open the store in ", path));
}

absl::Status UnknownStoreVersion(const std::string& path, absl::string_view found) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "FORMAT_UNKNOWN",
                   absl::StrCat("the store in ", path, " has format version ", found, "; this program reads version ",
                                kStoreVersion));
}

// NOT_FOUND without a reason where there is no header.
absl::StatusOr<uint32_t> ReadStoreVersion(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* meta) {
  const std::string key = StoreHeaderKey();
  std::string value;
  const rocksdb::Status status = db->Get(MakeReadOptions(Family::kMeta), meta, key, &value);
  if (status.IsNotFound()) return absl::NotFoundError("no store header");
  ILRE_RETURN_IF_ERROR(FromRocksdb(status, "cannot read the store's header"));
  return ParseStoreHeader(key, value);
}

absl::Status CheckStoreVersion(const RocksdbDatabase& database, const std::string& path) {
  absl::StatusOr<uint32_t> version = ReadStoreVersion(database.db(), database.family(Family::kMeta));
  if (!version.ok()) return Annotate(version.status(), path);
  if (*version != kStoreVersion) return UnknownStoreVersion(path, absl::StrCat(*version));
  return absl::OkStatus();
}

// A store without a header is new: nothing else is ever written before it.
absl::Status CheckOrWriteStoreVersion(const RocksdbDatabase& database, const std::string& path) {
  const absl::Status checked = CheckStoreVersion(database, path);
  if (!absl::IsNotFound(checked)) return checked;
  rocksdb::ColumnFamilyHandle* meta = database.family(Family::kMeta);
  std::unique_ptr<rocksdb::Iterator> records(database.db()->NewIterator(MakeReadOptions(Family::kMeta), meta));
  records->SeekToFirst();
  if (records->Valid()) {
    return MakeError(absl::StatusCode::kDataLoss, "STORE_DAMAGED",
                     absl::StrCat("the store in ", path, " has records but no header"));
  }
  ILRE_RETURN_IF_ERROR(FromRocksdb(records->status(), absl::StrCat("cannot read the store in ", path)));
  const std::string header_key = StoreHeaderKey(), uid_key = NextUidKey();
  rocksdb::WriteBatch batch;
  batch.Put(meta, header_key, EncodeStoreHeader(header_key, kStoreVersion));
  batch.Put(meta, uid_key, EncodeNextUid(uid_key, 1));
  rocksdb::WriteOptions durable;
  durable.sync = true;
  return FromRocksdb(database.db()->Write(durable, &batch), absl::StrCat("cannot create a store in ", path));
}

bool HasStore(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path + "/CURRENT", ignored);
}

// The families of a store that is there must be ours. A later version's header says so; anything else is not a store.
// `*complete`: all of ours are there, which is not so while a writer creates them.
absl::Status CheckFamilies(const std::string& path, const rocksdb::DBOptions& options, bool* complete) {
  std::vector<std::string> names;
  const rocksdb::Status listed = rocksdb::DB::ListColumnFamilies(options, path, &names);
  if (!listed.ok()) return OpenError(listed, path);
  const auto is_ours = [](const std::string& name) {
    for (int family = 0; family < kNumFamilies; ++family) {
      if (name == FamilyName(static_cast<Family>(family))) return true;
    }
    return false;
  };
  *complete = names.size() >= kNumFamilies;
  const auto stranger = std::find_if_not(names.begin(), names.end(), is_ours);
  if (stranger == names.end()) return absl::OkStatus();
  rocksdb::DB* db = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  const std::vector<rocksdb::ColumnFamilyDescriptor> some = {{FamilyName(Family::kDefault), {}},
                                                             {FamilyName(Family::kMeta), {}}};
  if (rocksdb::DB::OpenForReadOnly(options, path, some, &handles, &db).ok()) {
    const RocksdbDatabase database(db, handles);
    const absl::StatusOr<uint32_t> version = ReadStoreVersion(database.db(), database.family(Family::kMeta));
    if (version.ok()) return UnknownStoreVersion(path, absl::StrCat(*version));
  }
  return MakeError(absl::StatusCode::kDataLoss, "STORE_DAMAGED",
                   absl::StrCat(path, " holds a database with a column family '", *stranger, "' that is not ours"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<RocksdbDatabase>> RocksdbDatabase::OpenForWriting(
    const std::string& path, const KeyStoreOptions& options, rocksdb::Env* env,
    std::shared_ptr<rocksdb::EventListener> listener) {
  rocksdb::DBOptions db_options = MakeDbOptions(options, env);
  db_options.create_if_missing = true;
  db_options.create_missing_column_families = true;
  if (listener != nullptr) db_options.listeners.push_back(std::move(listener));
  ILRE_RETURN_IF_ERROR(CreateFolders(path));
  if (HasStore(path)) {
    ILRE_RETURN_IF_ERROR(BreakManifestSeal(path));
    bool complete = false;  // what is missing is created
    ILRE_RETURN_IF_ERROR(CheckFamilies(path, db_options, &complete));
  }
  db_options.info_log = OpenEngineLog(path);
  rocksdb::DB* db = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  const rocksdb::Status opened =
      rocksdb::DB::Open(db_options, path, MakeFamilies(options, NewBlockCache(options)), &families, &db);
  if (!opened.ok()) return OpenError(opened, path);
  std::unique_ptr<RocksdbDatabase> database(new RocksdbDatabase(db, std::move(families)));
  ILRE_RETURN_IF_ERROR(CheckOrWriteStoreVersion(*database, path));
  return database;
}

absl::StatusOr<std::unique_ptr<RocksdbDatabase>> RocksdbDatabase::OpenFrozen(const std::string& path,
                                                                             const StoreCut& cut,
                                                                             const KeyStoreOptions& options,
                                                                             std::shared_ptr<rocksdb::Cache> cache) {
  const absl::Status no_store =
      MakeError(absl::StatusCode::kNotFound, "NO_STORE", absl::StrCat("there is no store in ", path));
  const std::shared_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(std::make_shared<FrozenFileSystem>(path, cut));
  rocksdb::DBOptions db_options = MakeDbOptions(options, env.get());
  db_options.info_log = NoEngineLog();  // the folder is another process's
  bool complete = false;
  ILRE_RETURN_IF_ERROR(CheckFamilies(path, db_options, &complete));
  if (!complete) return no_store;
  rocksdb::DB* db = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  const rocksdb::Status opened =
      rocksdb::DB::OpenForReadOnly(db_options, path, MakeFamilies(options, std::move(cache)), &families, &db);
  if (!opened.ok()) return OpenError(opened, path);
  std::unique_ptr<RocksdbDatabase> database(new RocksdbDatabase(db, std::move(families), env));
  const absl::Status version = CheckStoreVersion(*database, path);
  if (absl::IsNotFound(version)) return no_store;  // its writer has only just begun to create it
  ILRE_RETURN_IF_ERROR(version);
  return database;
}

RocksdbDatabase::~RocksdbDatabase() {
  for (rocksdb::ColumnFamilyHandle* family : families_) db_->DestroyColumnFamilyHandle(family);
  db_->Close();
}

absl::StatusOr<DatabaseSlot::Lease> DatabaseSlot::Acquire() {
  absl::MutexLock lock(&mutex_);
  if (database_ == nullptr) ILRE_RETURN_IF_ERROR(OpenLocked());
  ++leases_;
  return Lease(this, database_);
}

void DatabaseSlot::Return() {
  absl::MutexLock lock(&mutex_);
  --leases_;
}

absl::Status DatabaseSlot::OpenLocked() {
  ILRE_ASSIGN_OR_RETURN(database_, opener_());
  return absl::OkStatus();
}

void DatabaseSlot::Replace(std::shared_ptr<RocksdbDatabase> database) {
  absl::MutexLock lock(&mutex_);
  database_.swap(database);  // the old one is closed, if at all, after the mutex is free
}

absl::Status DatabaseSlot::Reopen(absl::Duration patience) {
  absl::MutexLock lock(&mutex_);
  if (!mutex_.AwaitWithTimeout(absl::Condition(this, &DatabaseSlot::Unused), patience)) {
    return MakeError(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE", "the store waits for its readers to reopen");
  }
  database_ = nullptr;
  return OpenLocked();
}

}  // namespace ilre
