#include "common/store/block_digest.h"

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/base/test_matchers.h"
#include "common/store/record_keys.h"
#include "common/store/test_documents.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

constexpr uint64_t kUid = 5, kFingerprint = 99, kTextBegin = 1000;
constexpr uint32_t kBlock = 6;

OwnedBlock SampleBlock() {
  Random random(3);
  return RandomBlock(&random, 9, {{3, VectorType::kBf16}, {2, VectorType::kInt8}});
}

// Of the block as it comes back from its stored record.
std::string DigestOf(const BlockData& data) {
  const absl::StatusOr<std::string> value = EncodeBlock(data);
  EXPECT_THAT(value, IsOk());
  if (!value.ok()) return "";
  const absl::StatusOr<BlockView> view = BlockView::Parse(BlockKey(data.document_uid, data.block), *value);
  EXPECT_THAT(view, IsOk());
  return view.ok() ? BlockDigest(*view) : "";
}

TEST(BlockDigestTest, DoesNotDependOnTheDocument) {
  const OwnedBlock block = SampleBlock();
  EXPECT_EQ(DigestOf(block.View(kUid, kBlock, kFingerprint, kTextBegin)),
            DigestOf(block.View(kUid + 1, kBlock, kFingerprint, kTextBegin)));
}

TEST(BlockDigestTest, EveryPartOfABlockCounts) {
  const OwnedBlock block = SampleBlock();
  std::set<std::string> digests = {DigestOf(block.View(kUid, kBlock, kFingerprint, kTextBegin)),
                                   DigestOf(block.View(kUid, kBlock + 1, kFingerprint, kTextBegin)),
                                   DigestOf(block.View(kUid, kBlock, kFingerprint + 1, kTextBegin)),
                                   DigestOf(block.View(kUid, kBlock, kFingerprint, kTextBegin + 1))};
  const std::vector<std::function<void(OwnedBlock*)>> changes = {
      [](OwnedBlock* b) { b->ids[4] ^= 1; },
      [](OwnedBlock* b) { ++b->ends.back(); },
      [](OwnedBlock* b) { b->starts[4] = !b->starts[4]; },
      [](OwnedBlock* b) { b->vectors[0][10] ^= 1; },
      [](OwnedBlock* b) { b->vectors[1][7] ^= 1; },
      [](OwnedBlock* b) { b->scales[1][2] += 1; },
      [](OwnedBlock* b) { b->heads[0].type = VectorType::kInt8, b->vectors[0].resize(27), b->scales[0].assign(9, 1); },
  };
  for (const auto& change : changes) {
    OwnedBlock changed = SampleBlock();
    change(&changed);
    digests.insert(DigestOf(changed.View(kUid, kBlock, kFingerprint, kTextBegin)));
  }
  EXPECT_EQ(digests.size(), 4 + changes.size());
}

TEST(BlockDigestTest, TextAndPostingsHaveTheirOwn) {
  OwnedBlock block = SampleBlock();
  const std::string before = LexicalDigest(block.lexical);
  ASSERT_FALSE(block.lexical.postings.empty());
  ++block.lexical.postings[0].count;
  EXPECT_NE(LexicalDigest(block.lexical), before);
  EXPECT_NE(TextDigest("a"), TextDigest("b"));
  EXPECT_EQ(TextDigest(""), "99aa06d3014798d86001c324468d497f");  // XXH3-128 of nothing, by its specification
}

}  // namespace
}  // namespace ilre
