// Random documents for tests and benchmarks of the store: blocks that own their bytes, and commits made of them.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/store/key_store.h"
#include "common/store/records.h"

namespace ilre {

// The bytes that a BlockData borrows.
struct OwnedBlock {
  std::vector<int32_t> ids;
  std::vector<uint32_t> ends;
  std::vector<char> starts;  // as bool
  std::vector<HeadFormat> heads;
  std::vector<std::string> vectors;
  std::vector<std::vector<float>> scales;
  std::string text;
  LexicalData lexical;

  BlockData View(uint64_t uid, uint32_t block, uint64_t fingerprint, uint64_t text_begin) const;
};

inline const HeadFormat kBf16Head64 = {.dim = 64, .type = VectorType::kBf16};
inline const HeadFormat kInt8Head32 = {.dim = 32, .type = VectorType::kInt8};

// Words as in English prose, more or less: frequent ones often.
std::string RandomText(Random* random, size_t bytes);
// Valid in every respect, with text, postings and vectors of `num_tokens` tokens.
OwnedBlock RandomBlock(Random* random, int num_tokens, const std::vector<HeadFormat>& heads);

// Whether `view` shows what `block` holds.
bool SameBlock(const BlockView& view, const BlockData& block);
bool operator==(const LexicalPosting& a, const LexicalPosting& b);
bool operator==(const LexicalData& a, const LexicalData& b);

// A row to create.
DocumentRow NewRow(const std::string& collection, const std::string& document);

// The commit that puts `blocks` after the first `first_block` blocks of `row`, which end at byte `text_begin`.
Commit MakeCommit(DocumentRow row, const std::vector<const OwnedBlock*>& blocks, uint32_t first_block,
                  uint64_t text_begin, const std::string& state, bool with_lexical = true);

// The folder for small files that need not survive: in memory where there is room, else the system's temporary one.
std::string FastFolder();

// A new folder in `parent`, removed with all its content at the end of its life.
class TempFolder {
 public:
  explicit TempFolder(const std::string& parent = FastFolder());
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace ilre
