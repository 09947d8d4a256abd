// How RocksDB is set up: which column families there are, how each is laid out on disk, and what bounds its memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/store/key_store.h"
#include "common/store/record_keys.h"
#include "rocksdb/cache.h"
#include "rocksdb/db.h"
#include "rocksdb/options.h"

namespace ilre {

// Column families. The order is that of the handles that RocksDB returns; the names are frozen.
enum class Family { kDefault, kMeta, kBlocks, kText, kLexical, kState };
inline constexpr int kNumFamilies = 6;
const std::string& FamilyName(Family family);

// Where the records of a document are, apart from its row and owner: three of each block, and one state.
struct FamilyOfRecords {
  Family family;
  RecordClass record_class;
};
inline constexpr FamilyOfRecords kBlockwiseRecords[] = {{Family::kBlocks, RecordClass::kBlock},
                                                        {Family::kText, RecordClass::kText},
                                                        {Family::kLexical, RecordClass::kLexical}};
inline constexpr FamilyOfRecords kStateRecord = {Family::kState, RecordClass::kState};

// Options shared by the writer and its followers. `env` is nullptr for the system's files.
rocksdb::DBOptions MakeDbOptions(const KeyStoreOptions& options, rocksdb::Env* env);

// A cache of the size that `options` say.
std::shared_ptr<rocksdb::Cache> NewBlockCache(const KeyStoreOptions& options);
// All families with their options; they share `cache`, which several databases on the same tables may share, too.
std::vector<rocksdb::ColumnFamilyDescriptor> MakeFamilies(const KeyStoreOptions& options,
                                                          const std::shared_ptr<rocksdb::Cache>& cache);

// How records of a family are read. Blocks are checked by their own checksum alone.
rocksdb::ReadOptions MakeReadOptions(Family family);

}  // namespace ilre
