// The key store with documents of 1,000,000 tokens: one 64-dimensional bf16 head, English-like text, postings.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "common/base/check.h"
#include "common/base/random.h"
#include "common/store/cached_key_store.h"
#include "common/store/key_store.h"
#include "common/store/record_keys.h"
#include "common/store/record_seal.h"
#include "common/store/test_documents.h"

namespace ilre {
namespace {

constexpr uint32_t kBlocks = 3907;  // 1,000,192 tokens
constexpr int kDistinctBlocks = 512;

// On a disk, whose syncs are part of what is measured.
std::string DiskFolder() { return std::filesystem::temp_directory_path().string(); }

const std::vector<OwnedBlock>& Blocks() {
  static const auto* blocks = [] {
    Random random(1);
    auto* made = new std::vector<OwnedBlock>();
    for (int b = 0; b < kDistinctBlocks; ++b) made->push_back(RandomBlock(&random, kBlockTokens, {kBf16Head64}));
    return made;
  }();
  return *blocks;
}

// This process' own memory, without mapped files.
double AnonymousMiB() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kib = 0;
    if (word == "RssAnon:" && status >> kib) return kib / 1024;
  }
  return 0;
}

// Writes a document of `num_blocks` in commits of `per_commit` blocks.
DocumentRow WriteDocument(KeyStore* store, const std::string& name, uint32_t num_blocks, uint32_t per_commit) {
  DocumentRow row = *store->CreateDocument(NewRow("bench", name));
  uint64_t text_begin = 0;
  const std::string state(16 << 10, 's');
  for (uint32_t block = 0; block < num_blocks;) {
    std::vector<const OwnedBlock*> blocks;
    for (uint32_t b = block; b < std::min(block + per_commit, num_blocks); ++b) {
      blocks.push_back(&Blocks()[b % kDistinctBlocks]);
    }
    row = *store->Apply(MakeCommit(row, blocks, block, text_begin, state));
    for (const OwnedBlock* written : blocks) text_begin += written->text.size();
    block += static_cast<uint32_t>(blocks.size());
  }
  return row;
}

// A store with one document of 1,000,000 tokens, all of it in tables.
struct Filled {
  TempFolder folder{DiskFolder()};
  std::unique_ptr<KeyStore> store;
  DocumentRow row;
};
Filled& FilledStore() {
  static auto* filled = [] {
    auto* made = new Filled();
    made->store = *OpenKeyStore(made->folder.path(), KeyStoreOptions());
    made->row = WriteDocument(made->store.get(), "million", kBlocks, 8);
    // Reopening writes what is still in memory to tables.
    made->store.reset();
    made->store = *OpenKeyStore(made->folder.path(), KeyStoreOptions());
    return made;
  }();
  return *filled;
}

// Synced commits; the argument is how many blocks each has.
void BM_Write(benchmark::State& state) {
  Blocks();
  TempFolder folder(DiskFolder());
  auto store = *OpenKeyStore(folder.path(), KeyStoreOptions());
  const auto per_commit = static_cast<uint32_t>(state.range(0));
  int64_t tokens = 0;
  for (auto _ : state) {
    WriteDocument(store.get(), "d" + std::to_string(tokens), 512, per_commit);
    tokens += int64_t{512} * kBlockTokens;
  }
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(tokens), benchmark::Counter::kIsRate);
  state.counters["anon_MiB"] = AnonymousMiB();
}
BENCHMARK(BM_Write)->Arg(1)->Arg(8)->Unit(benchmark::kMillisecond)->UseRealTime();

// Every block of 1,000,000 tokens, checked, from the page cache.
void BM_ReadBlocks(benchmark::State& state) {
  Filled& filled = FilledStore();
  int64_t bytes = 0;
  for (auto _ : state) {
    const absl::Status status = filled.store->VisitBlocks(filled.row, 0, kBlocks, [&](const BlockView& view) {
      bytes += static_cast<int64_t>(view.vectors(0).size());
      benchmark::DoNotOptimize(view.vectors(0).data());
      return absl::OkStatus();
    });
    ILRE_CHECK(status.ok());
  }
  state.SetBytesProcessed(bytes);
  state.counters["bytes/token"] = static_cast<double>(filled.store->GetStats()->disk_bytes) / (kBlocks * kBlockTokens);
}
BENCHMARK(BM_ReadBlocks)->Unit(benchmark::kMillisecond)->UseRealTime();

// The same through a cache: the argument is 1 where it has everything, 0 where each pass begins with an empty one.
void BM_ReadBlocksThroughCache(benchmark::State& state) {
  Filled& filled = FilledStore();
  const bool warm = state.range(0) != 0;
  constexpr uint64_t kRoom = uint64_t{512} << 20;
  auto cache = std::make_unique<CachedKeyStore>(filled.store.get(), kRoom);
  int64_t bytes = 0;
  const auto pass = [&] {
    const absl::Status status = cache->VisitBlocks(filled.row, 0, kBlocks, [&](const BlockView& view) {
      bytes += static_cast<int64_t>(view.vectors(0).size());
      benchmark::DoNotOptimize(view.vectors(0).data());
      return absl::OkStatus();
    });
    ILRE_CHECK(status.ok());
  };
  if (warm) pass();
  bytes = 0;
  for (auto _ : state) {
    if (!warm) {
      state.PauseTiming();
      cache = std::make_unique<CachedKeyStore>(filled.store.get(), kRoom);
      state.ResumeTiming();
    }
    pass();
  }
  state.SetBytesProcessed(bytes);
}
BENCHMARK(BM_ReadBlocksThroughCache)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond)->UseRealTime();

// A follower's refresh: of a store that did not change; beside a writer that commits a block each time; the argument is
// how many MiB its log holds.
void BM_RefreshUnchanged(benchmark::State& state) {
  Filled& filled = FilledStore();
  const auto follower = *OpenKeyStoreFollower(filled.folder.path(), KeyStoreOptions());
  for (auto _ : state) ILRE_CHECK(follower->Refresh().ok());
}
BENCHMARK(BM_RefreshUnchanged)->Unit(benchmark::kMicrosecond);

void BM_RefreshAfterACommit(benchmark::State& state) {
  Filled& filled = FilledStore();
  DocumentRow row = WriteDocument(filled.store.get(), "log", static_cast<uint32_t>(state.range(0)) * 29, 8);
  const auto follower = *OpenKeyStoreFollower(filled.folder.path(), KeyStoreOptions());
  for (auto _ : state) {
    state.PauseTiming();
    row = *filled.store->UpdateRow(row);
    state.ResumeTiming();
    ILRE_CHECK(follower->Refresh().ok());
  }
  ILRE_CHECK(filled.store->DeleteDocument("bench", "log").ok());
  ILRE_CHECK(filled.store->CompactDeleted().ok());
}
BENCHMARK(BM_RefreshAfterACommit)->Arg(0)->Arg(3)->Unit(benchmark::kMicrosecond);

void BM_ReadLexical(benchmark::State& state) {
  Filled& filled = FilledStore();
  for (auto _ : state) {
    const absl::Status status =
        filled.store->VisitLexical(filled.row, 0, kBlocks, [](uint32_t, const LexicalData& data) {
          benchmark::DoNotOptimize(data.postings.data());
          return absl::OkStatus();
        });
    ILRE_CHECK(status.ok());
  }
  state.counters["tokens/s"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * kBlocks * kBlockTokens, benchmark::Counter::kIsRate);
}
BENCHMARK(BM_ReadLexical)->Unit(benchmark::kMillisecond)->UseRealTime();

// The text of one block, anywhere in the document.
void BM_ReadTextOfOneBlock(benchmark::State& state) {
  Filled& filled = FilledStore();
  Random random(2);
  for (auto _ : state) {
    const auto block = static_cast<uint32_t>(random.Below(kBlocks));
    ILRE_CHECK(filled.store->ReadText(filled.row, block, block + 1).ok());
  }
}
BENCHMARK(BM_ReadTextOfOneBlock)->Unit(benchmark::kMicrosecond)->UseRealTime();

// What a read costs beyond the memory's own speed: checking one block, and its checksum alone.
void BM_ParseBlock(benchmark::State& state) {
  const std::string value = *EncodeBlock(Blocks()[0].View(1, 1, 1, 1)), key = BlockKey(1, 1);
  for (auto _ : state) benchmark::DoNotOptimize(BlockView::Parse(key, value).ok());
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(value.size()));
}
BENCHMARK(BM_ParseBlock);

void BM_Checksum(benchmark::State& state) {
  const std::string value = *EncodeBlock(Blocks()[0].View(1, 1, 1, 1)), key = BlockKey(1, 1);
  for (auto _ : state) benchmark::DoNotOptimize(RecordChecksum(key, value));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(value.size()));
}
BENCHMARK(BM_Checksum);

}  // namespace
}  // namespace ilre

BENCHMARK_MAIN();
