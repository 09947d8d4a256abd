#include "common/store/rocksdb_options.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "rocksdb/cache.h"
#include "rocksdb/filter_policy.h"
#include "rocksdb/table.h"
#include "rocksdb/write_buffer_manager.h"

namespace ilre {
namespace {

constexpr uint64_t kMinWriteBufferBytes = 64 << 10;
constexpr uint64_t kMaxWriteBufferBytes = uint64_t{1} << 30;
constexpr uint64_t kMaxBlockCacheBytes = uint64_t{1} << 40;
// Texts and postings of one block have about a kilobyte each: many of them must share a compressed table block to
// shrink, and few enough that reading one text stays cheap.
constexpr size_t kCompressedTableBlockBytes = 64 << 10;

rocksdb::ColumnFamilyOptions PlainFamily(const KeyStoreOptions& options, std::shared_ptr<rocksdb::Cache> cache) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = std::move(cache);
  table.cache_index_and_filter_blocks = true;  // so that the cache's size bounds them too
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.format_version = 5;
  table.checksum = rocksdb::kXXH3;
  rocksdb::ColumnFamilyOptions family;
  family.write_buffer_size = options.write_buffer_bytes;
  family.compression = rocksdb::kNoCompression;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return family;
}

// Every record is a table block of its own, uncompressed, so that a read is a view into the mapped file. RocksDB's
// checksums would be verified by compaction too, where one damaged record stops it for good; a record's own checksum
// finds the same damage and concerns one document only.
rocksdb::ColumnFamilyOptions BlocksFamily(const KeyStoreOptions& options) {
  rocksdb::BlockBasedTableOptions table;
  table.no_block_cache = true;
  table.format_version = 5;
  table.checksum = rocksdb::kNoChecksum;
  rocksdb::ColumnFamilyOptions family = PlainFamily(options, nullptr);
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return family;
}

rocksdb::ColumnFamilyOptions CompressedFamily(const KeyStoreOptions& options, std::shared_ptr<rocksdb::Cache> cache) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = std::move(cache);
  table.cache_index_and_filter_blocks = true;
  table.block_size = kCompressedTableBlockBytes;
  table.format_version = 5;
  table.checksum = rocksdb::kXXH3;
  rocksdb::ColumnFamilyOptions family = PlainFamily(options, nullptr);
  family.compression = rocksdb::kZSTD;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return family;
}

}  // namespace

absl::Status KeyStoreOptions::Validate() const {
  if (write_buffer_bytes < kMinWriteBufferBytes || write_buffer_bytes > kMaxWriteBufferBytes) {
    return errors::InvalidArgument(absl::StrCat("write_buffer_bytes is ", write_buffer_bytes, "; ",
                                                kMinWriteBufferBytes, " to ", kMaxWriteBufferBytes, " are possible"));
  }
  if (block_cache_bytes > kMaxBlockCacheBytes) {
    return errors::InvalidArgument(
        absl::StrCat("block_cache_bytes is ", block_cache_bytes, "; at most ", kMaxBlockCacheBytes, " are possible"));
  }
  return absl::OkStatus();
}

const std::string& FamilyName(Family family) {
  static const auto* names = new std::array<std::string, kNumFamilies>{
      rocksdb::kDefaultColumnFamilyName, "meta", "blocks", "text", "lexical", "state"};
  return (*names)[static_cast<size_t>(family)];
}

rocksdb::DBOptions MakeDbOptions(const KeyStoreOptions& options, rocksdb::Env* env) {
  rocksdb::DBOptions db;
  if (env != nullptr) db.env = env;
  db.allow_mmap_reads = true;
  db.advise_random_on_open = false;  // scans of a whole document are the rule: let the kernel read ahead
  db.max_open_files = -1;            // a follower can read only deleted files that it has open
  db.max_file_opening_threads = 1;   // files are mapped, which takes no time worth sixteen threads
  db.max_background_jobs = 2;
  // What is not yet in tables is read again at open, and held in memory: keep both small.
  db.write_buffer_manager = std::make_shared<rocksdb::WriteBufferManager>(4 * options.write_buffer_bytes);
  db.max_total_wal_size = 4 * options.write_buffer_bytes;
  // After an error the store reopens RocksDB itself, having cut off what was not acknowledged.
  db.max_bgerror_resume_count = 0;
  db.stats_dump_period_sec = 0;
  db.stats_persist_period_sec = 0;
  return db;
}

std::shared_ptr<rocksdb::Cache> NewBlockCache(const KeyStoreOptions& options) {
  return rocksdb::NewLRUCache(options.block_cache_bytes);
}

std::vector<rocksdb::ColumnFamilyDescriptor> MakeFamilies(const KeyStoreOptions& options,
                                                          const std::shared_ptr<rocksdb::Cache>& cache) {
  return {
      {FamilyName(Family::kDefault), PlainFamily(options, cache)},  // empty; RocksDB insists on it
      {FamilyName(Family::kMeta), PlainFamily(options, cache)},
      {FamilyName(Family::kBlocks), BlocksFamily(options)},
      {FamilyName(Family::kText), CompressedFamily(options, cache)},
      {FamilyName(Family::kLexical), CompressedFamily(options, cache)},
      {FamilyName(Family::kState), PlainFamily(options, cache)},
  };
}

rocksdb::ReadOptions MakeReadOptions(Family family) {
  rocksdb::ReadOptions read;
  read.verify_checksums = family != Family::kBlocks;
  return read;
}

}  // namespace ilre
