// All kinds of records: what is encoded is parsed, and nothing else is.
#include "common/store/records.h"

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "common/base/errors.h"
#include "common/base/random.h"
#include "common/base/test_matchers.h"
#include "common/store/coding.h"
#include "common/store/plain_records.h"
#include "common/store/record_keys.h"
#include "common/store/record_seal.h"
#include "common/store/test_documents.h"
#include "common/store/test_reencode.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

struct Sample {
  RecordKind kind;
  std::string reason;  // of damage
  std::string key, value;
};

std::string Encoded(const OwnedBlock& block, uint64_t uid, uint32_t number) {
  absl::StatusOr<std::string> value = EncodeBlock(block.View(uid, number, 99, 1000));
  EXPECT_THAT(value, IsOk());
  return value.ok() ? *value : "";
}

DocumentRow SampleRow() {
  DocumentRow row = NewRow("books", "moby-dick");
  row.uid = 5;
  row.num_blocks = 2;
  row.num_tokens = 257;
  row.failure = "why";
  return row;
}

DocumentRow SizedRow() {
  DocumentRow row = SampleRow();
  row.collection = "t.books";
  row.record_bytes = 1234;
  row.state_bytes = 56;
  return row;
}

// One of each kind, small.
std::vector<Sample> Samples() {
  Random random(3);
  const OwnedBlock block = RandomBlock(&random, 9, {{3, VectorType::kBf16}, {2, VectorType::kInt8}});
  const OwnedBlock pooled = RandomBlock(&random, 30, {{3, VectorType::kBf16, true}, {2, VectorType::kInt8, true}});
  const std::string row_key = DocumentRowKey("books", "moby-dick"), sized_key = DocumentRowKey("t.books", "moby-dick");
  return {
      {RecordKind::kBlock, "BLOCK_DAMAGED", BlockKey(5, 6), Encoded(block, 5, 6)},
      {RecordKind::kBlock, "BLOCK_DAMAGED", BlockKey(5, 7), Encoded(pooled, 5, 7)},
      {RecordKind::kLexical, "LEXICAL_DAMAGED", LexicalKey(5, 6), EncodeLexical(LexicalKey(5, 6), block.lexical)},
      {RecordKind::kDocumentRow, "ROW_DAMAGED", row_key, EncodeDocumentRow(row_key, SampleRow())},
      {RecordKind::kDocumentRow, "ROW_DAMAGED", sized_key, EncodeDocumentRow(sized_key, SizedRow())},
      {RecordKind::kText, "TEXT_DAMAGED", TextKey(5, 6), EncodeText(TextKey(5, 6), "some text")},
      {RecordKind::kState, "STATE_DAMAGED", StateKey(5), EncodeState(StateKey(5), "some state")},
      {RecordKind::kStoreHeader, "STORE_DAMAGED", StoreHeaderKey(), EncodeStoreHeader(StoreHeaderKey(), 1)},
      {RecordKind::kNextUid, "STORE_DAMAGED", NextUidKey(), EncodeNextUid(NextUidKey(), 12)},
      {RecordKind::kOwner, "STORE_DAMAGED", OwnerKey(5), EncodeOwner(OwnerKey(5), {"books", "moby-dick"})},
  };
}

void ExpectDamaged(const Sample& sample, absl::string_view key, absl::string_view value) {
  std::string again;
  const absl::Status status = ParseAndReencode(sample.kind, key, value, &again);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_EQ(ErrorReason(status), sample.reason);
}

// Pooled heads have as many vectors as there are parts of segments, whether or not one runs on from the block before.
TEST(BlockTest, PooledHeadsHaveOneVectorForEachPart) {
  Random random(4);
  const std::vector<HeadFormat> heads = {
      {3, VectorType::kInt8, true}, {2, VectorType::kBf16}, {4, VectorType::kBf16, true}};
  for (const bool runs_on : {false, true}) {
    OwnedBlock block = RandomBlock(&random, 11, heads);
    block.starts = {static_cast<char>(runs_on ? 0 : 1), 0, 0, 1, 0, 0, 0, 0, 1, 1, 0};
    const size_t parts = 4;
    block.scales[0].assign(parts, 0.5f);
    block.vectors[0].assign(parts * 3, '\x11');
    block.vectors[2].assign(parts * 4 * 2, '\x22');
    const std::string key = BlockKey(5, 6), value = Encoded(block, 5, 6);
    EXPECT_EQ(value[0], 2);  // version
    ILRE_ASSERT_OK_AND_ASSIGN(const BlockView view, BlockView::Parse(key, value));
    EXPECT_TRUE(SameBlock(view, block.View(5, 6, 99, 1000)));
    EXPECT_EQ(view.num_parts(), 4);
    EXPECT_EQ(view.num_vectors(0), 4);
    EXPECT_EQ(view.num_vectors(1), 11);
    block.vectors[2].push_back('x');
    EXPECT_EQ(ErrorReason(EncodeBlock(block.View(5, 6, 99, 1000)).status()), "INVALID_BLOCK");
  }
}

// A block without pooled heads is of version 1, byte for byte as ever, and is refused under the number of version 2.
TEST(BlockTest, OneBlockHasOneVersion) {
  Random random(5);
  const std::string key = BlockKey(5, 6);
  std::string value = Encoded(RandomBlock(&random, 11, {{2, VectorType::kBf16}}), 5, 6);
  EXPECT_EQ(value[0], 1);
  value[0] = 2;
  value.resize(value.size() - sizeof(uint64_t));
  SealRecord(key, &value);
  EXPECT_EQ(ErrorReason(BlockView::Parse(key, value).status()), "BLOCK_DAMAGED");
}

TEST(RecordsTest, WhatIsEncodedIsParsed) {
  for (const Sample& sample : Samples()) {
    std::string again;
    ILRE_EXPECT_OK(ParseAndReencode(sample.kind, sample.key, sample.value, &again));
    EXPECT_EQ(again, sample.value);
  }
}

TEST(RecordsTest, EveryFlippedBitIsFound) {
  for (const Sample& sample : Samples()) {
    for (size_t bit = 0; bit < sample.value.size() * 8; ++bit) {
      std::string value = sample.value;
      value[bit / 8] = static_cast<char>(value[bit / 8] ^ 1 << bit % 8);
      ExpectDamaged(sample, sample.key, value);
    }
  }
}

TEST(RecordsTest, EveryPrefixAndEveryExtensionIsFound) {
  for (const Sample& sample : Samples()) {
    for (size_t size = 0; size < sample.value.size(); ++size) {
      ExpectDamaged(sample, sample.key, absl::string_view(sample.value).substr(0, size));
    }
    ExpectDamaged(sample, sample.key, sample.value + '\0');
    ExpectDamaged(sample, sample.key, sample.value + sample.value);
  }
}

TEST(RecordsTest, EveryRecordUnderAnotherKeyIsFound) {
  for (const Sample& sample : Samples()) {
    for (size_t bit = 0; bit < sample.key.size() * 8; ++bit) {
      std::string key = sample.key;
      key[bit / 8] = static_cast<char>(key[bit / 8] ^ 1 << bit % 8);
      ExpectDamaged(sample, key, sample.value);
    }
    for (const Sample& other : Samples()) {
      if (other.kind != sample.kind) ExpectDamaged(sample, other.key, sample.value);
    }
  }
}

TEST(RecordsTest, SwappedBlocksAreFound) {
  Random random(4);
  const OwnedBlock a = RandomBlock(&random, 8, {kBf16Head64}), b = RandomBlock(&random, 8, {kBf16Head64});
  ILRE_EXPECT_OK(BlockView::Parse(BlockKey(1, 0), Encoded(a, 1, 0)));
  EXPECT_THAT(BlockView::Parse(BlockKey(1, 0), Encoded(b, 1, 1)), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(BlockView::Parse(BlockKey(1, 1), Encoded(a, 1, 0)), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(BlockView::Parse(BlockKey(2, 0), Encoded(a, 1, 0)), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(RecordsTest, ALaterVersionIsUnknownAndNotDamaged) {
  for (const Sample& sample : Samples()) {
    std::string value = sample.value.substr(0, sample.value.size() - kSealBytes);
    value[0] = 3;
    SealRecord(sample.key, &value);
    std::string again;
    const absl::Status status = ParseAndReencode(sample.kind, sample.key, value, &again);
    EXPECT_EQ(ErrorReason(status), "FORMAT_UNKNOWN");
    const bool has_two = sample.kind == RecordKind::kDocumentRow || sample.kind == RecordKind::kBlock;
    EXPECT_THAT(status.message(), ::testing::AllOf(::testing::HasSubstr("version 3;"),
                                                   ::testing::HasSubstr(has_two ? "version 2" : "version 1")));
  }
}

// With the right checksum only the content's own rules are left: what breaks them is refused, what keeps them is the
// one encoding of what it says.
TEST(RecordsTest, WhateverParsesIsTheOnlyEncodingOfItself) {
  Random random(5);
  int parsed = 0, refused = 0;
  for (const Sample& sample : Samples()) {
    for (int round = 0; round < 3000; ++round) {
      std::string value = sample.value.substr(0, sample.value.size() - kSealBytes);
      for (uint64_t changes = 1 + random.Below(3); changes > 0; --changes) {
        value[random.Below(value.size())] = static_cast<char>(random.Below(3) == 0 ? random.Next() : random.Below(4));
      }
      if (random.Below(4) == 0) value.resize(random.Below(value.size() + 8) + 1);
      SealRecord(sample.key, &value);
      std::string again;
      const absl::Status status = ParseAndReencode(sample.kind, sample.key, value, &again);
      ++(status.ok() ? parsed : refused);
      if (status.ok()) {
        EXPECT_EQ(again, value);
      } else {
        EXPECT_TRUE(ErrorReason(status) == sample.reason || ErrorReason(status) == "FORMAT_UNKNOWN") << status;
      }
    }
  }
  EXPECT_GT(parsed, 1000);
  EXPECT_GT(refused, 1000);
}

TEST(BlockRecordTest, RandomBlocksRoundTrip) {
  Random random(6);
  for (int round = 0; round < 300; ++round) {
    std::vector<HeadFormat> heads;
    for (uint64_t h = random.Below(4); h > 0; --h) {
      heads.push_back(
          {static_cast<uint16_t>(1 + random.Below(100)), random.Below(2) == 0 ? VectorType::kBf16 : VectorType::kInt8});
    }
    OwnedBlock block = RandomBlock(&random, static_cast<int>(1 + random.Below(kBlockTokens)), heads);
    const int id_bits = static_cast<int>(random.Below(32));
    for (int32_t& id : block.ids) id = static_cast<int32_t>(random.Next() & ((uint64_t{1} << id_bits) - 1));
    if (random.Below(2) == 0) block.ends.back() += static_cast<uint32_t>(random.Below(kMaxTextPerBlock / 2));
    const BlockData data =
        block.View(random.Next(), static_cast<uint32_t>(random.Next()), random.Next(), random.Next());
    ILRE_ASSERT_OK_AND_ASSIGN(const std::string value, EncodeBlock(data));
    ILRE_ASSERT_OK_AND_ASSIGN(const BlockView view, BlockView::Parse(BlockKey(data.document_uid, data.block), value));
    EXPECT_TRUE(SameBlock(view, data));
    EXPECT_EQ(view.text_bytes(), block.ends.back());
    EXPECT_EQ(ReencodeBlock(view), value);
  }
}

TEST(BlockRecordTest, A64DimensionalHeadTakes133BytesAToken) {
  Random random(7);
  const OwnedBlock block = RandomBlock(&random, kBlockTokens, {kBf16Head64});
  EXPECT_EQ(Encoded(block, 1, 1).size(), 28 + 256 * (128 + 2 + 2) + 32 + 8);
}

TEST(BlockRecordTest, RefusesToEncodeWhatCouldNotBeRead) {
  Random random(8);
  const OwnedBlock good = RandomBlock(&random, 4, {kInt8Head32});
  const auto expect_refused = [&](const std::function<void(OwnedBlock&)>& spoil) {
    OwnedBlock block = good;
    spoil(block);
    const absl::StatusOr<std::string> value = EncodeBlock(block.View(1, 2, 3, 4));
    EXPECT_THAT(value, StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_EQ(ErrorReason(value.status()), "INVALID_BLOCK");
  };
  expect_refused([](OwnedBlock& block) { block.ids.clear(); });
  expect_refused([](OwnedBlock& block) { block.ids[2] = -1; });
  expect_refused([](OwnedBlock& block) { block.ends.pop_back(); });
  expect_refused([](OwnedBlock& block) { block.ends = {5, 4, 6, 7}; });
  expect_refused([](OwnedBlock& block) { block.ends.back() = kMaxTextPerBlock + 1; });
  expect_refused([](OwnedBlock& block) { block.heads[0].dim = 31; });
  expect_refused([](OwnedBlock& block) { block.heads[0].dim = 0; });
  expect_refused([](OwnedBlock& block) { block.heads[0].type = static_cast<VectorType>(3); });
  expect_refused([](OwnedBlock& block) { block.heads.push_back(kBf16Head64); });
  expect_refused([](OwnedBlock& block) { block.scales[0].pop_back(); });
  expect_refused([](OwnedBlock& block) { block.scales[0][1] = std::numeric_limits<float>::quiet_NaN(); });
  expect_refused([](OwnedBlock& block) { block.vectors[0].pop_back(); });
  expect_refused([](OwnedBlock& block) {
    block.heads.assign(kMaxHeads + 1, {1, VectorType::kBf16});
    block.vectors.assign(kMaxHeads + 1, std::string(8, 'v'));
    block.scales.assign(kMaxHeads + 1, {});
  });
}

TEST(LexicalRecordTest, RandomPostingsRoundTrip) {
  Random random(9);
  for (int round = 0; round < 100; ++round) {
    const OwnedBlock block = RandomBlock(&random, static_cast<int>(1 + random.Below(kBlockTokens)), {});
    const std::string key = LexicalKey(random.Next(), 3);
    ILRE_ASSERT_OK(ValidateLexical(block.lexical));
    ILRE_ASSERT_OK_AND_ASSIGN(const LexicalData parsed, ParseLexical(key, EncodeLexical(key, block.lexical)));
    EXPECT_TRUE(parsed == block.lexical);
  }
}

TEST(LexicalRecordTest, NothingIsAlsoSomething) {
  ILRE_ASSERT_OK_AND_ASSIGN(const LexicalData parsed, ParseLexical("key", EncodeLexical("key", LexicalData())));
  EXPECT_TRUE(parsed == LexicalData());
}

TEST(LexicalRecordTest, KnowsInvalidPostings) {
  const LexicalData good = {.postings = {{1, 0, 1}, {1, 1, 1}, {2, 0, 1}}, .segment_words = {2, 1}};
  ILRE_EXPECT_OK(ValidateLexical(good));
  LexicalData data = good;
  std::swap(data.postings[0], data.postings[1]);
  EXPECT_EQ(ErrorReason(ValidateLexical(data)), "INVALID_LEXICAL");
  data = good;
  data.postings[1] = data.postings[0];
  EXPECT_THAT(ValidateLexical(data), StatusIs(absl::StatusCode::kInvalidArgument));
  data = good;
  data.postings[2].segment = 2;
  EXPECT_THAT(ValidateLexical(data), StatusIs(absl::StatusCode::kInvalidArgument));
  data = good;
  data.postings[2].count = 0;
  EXPECT_THAT(ValidateLexical(data), StatusIs(absl::StatusCode::kInvalidArgument));
  data = good;
  data.segment_words.resize(kBlockTokens + 2);
  EXPECT_THAT(ValidateLexical(data), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(DocumentRowTest, EveryMemberRoundTrips) {
  const DocumentRow row = {.collection = "c-1",
                           .document = "d2",
                           .uid = UINT64_MAX,
                           .state = DocumentState::kFailed,
                           .committed_bytes = 1,
                           .num_tokens = 600,
                           .num_blocks = 3,
                           .text_checksum = 2,
                           .model = "m",
                           .tokenizer = "",
                           .profile = std::string(kMaxFingerprintBytes, 'p'),
                           .create_time_ms = -1,
                           .update_time_ms = INT64_MAX,
                           .expire_time_ms = INT64_MIN,
                           .revision = 3,
                           .failure = std::string(kMaxFailureBytes, 'f'),
                           .has_postings = true,
                           .record_bytes = UINT64_MAX,
                           .state_bytes = 1};
  const std::string key = DocumentRowKey(row.collection, row.document);
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow parsed, ParseDocumentRow(key, EncodeDocumentRow(key, row)));
  EXPECT_EQ(parsed, row);
}

TEST(DocumentRowTest, ARowWithoutSizesIsOfVersion1) {
  DocumentRow row = SampleRow();
  const std::string key = DocumentRowKey(row.collection, row.document);
  EXPECT_EQ(EncodeDocumentRow(key, row)[0], 1);
  row.state_bytes = 1;
  EXPECT_EQ(EncodeDocumentRow(key, row)[0], 2);
}

TEST(DocumentRowTest, KnowsInvalidRows) {
  const auto reason = [](const std::function<void(DocumentRow&)>& spoil) {
    DocumentRow row = SampleRow();
    spoil(row);
    return ErrorReason(ValidateDocumentRow(row));
  };
  EXPECT_EQ(reason([](DocumentRow&) {}), "");
  EXPECT_EQ(reason([](DocumentRow& row) { row.document = "A"; }), "INVALID_NAME");
  EXPECT_EQ(reason([](DocumentRow& row) { row.collection = ""; }), "INVALID_NAME");
  EXPECT_EQ(reason([](DocumentRow& row) { row.state = static_cast<DocumentState>(5); }), "INVALID_ROW");
  EXPECT_EQ(reason([](DocumentRow& row) { row.num_tokens = 256; }), "INVALID_ROW");
  EXPECT_EQ(reason([](DocumentRow& row) { row.num_tokens = 513; }), "INVALID_ROW");
  EXPECT_EQ(reason([](DocumentRow& row) { row.model.assign(kMaxFingerprintBytes + 1, 'm'); }), "INVALID_ROW");
  EXPECT_EQ(reason([](DocumentRow& row) { row.failure.assign(kMaxFailureBytes + 1, 'f'); }), "INVALID_ROW");
}

TEST(DocumentRowTest, Names) {
  for (const char* name : {"a", "0", "a-b", "a--b", "2024-report"}) EXPECT_TRUE(IsValidName(name)) << name;
  EXPECT_TRUE(IsValidName(std::string(63, 'a')));
  for (const char* name : {"", "-", "-a", "a-", "A", "a_b", "a b", "a/b", "\xC3\xA9", "a."}) {
    EXPECT_FALSE(IsValidName(name)) << name;
  }
  EXPECT_FALSE(IsValidName(std::string(64, 'a')));
  EXPECT_FALSE(IsValidName(absl::string_view("a\0b", 3)));
}

TEST(DocumentRowTest, ACollectionMayBeATenants) {
  for (const char* name : {"a", "t.c", "0-1.2"}) EXPECT_TRUE(IsValidCollection(name)) << name;
  for (const char* name : {"", ".", "t.", ".c", "t.c.d", "t..c", "-t.c", "T.c"}) {
    EXPECT_FALSE(IsValidCollection(name)) << name;
  }
  EXPECT_EQ(TenantOf("t.c"), "t");
  EXPECT_EQ(TenantOf("c"), "");
}

TEST(DocumentRowTest, StatesAreNamed) {
  EXPECT_EQ(DocumentStateName(DocumentState::kIngesting), "INGESTING");
  EXPECT_EQ(DocumentStateName(DocumentState::kReady), "READY");
  EXPECT_EQ(DocumentStateName(DocumentState::kFailed), "FAILED");
  EXPECT_EQ(DocumentStateName(DocumentState::kDeleting), "DELETING");
}

TEST(DocumentRowTest, FingerprintsDependOnEveryPart) {
  EXPECT_NE(CombinedFingerprint("ab", "c", "d"), CombinedFingerprint("a", "bc", "d"));
  EXPECT_NE(CombinedFingerprint("a", "b", "c"), CombinedFingerprint("a", "c", "b"));
  EXPECT_NE(CombinedFingerprint("a", "b", "c"), CombinedFingerprint("a", "b", "d"));
  EXPECT_EQ(CombinedFingerprint("a", "b", "c"), CombinedFingerprint("a", "b", "c"));
}

TEST(RecordKeysTest, SortAsWhatTheyName) {
  EXPECT_LT(BlockKey(1, 255), BlockKey(1, 256));
  EXPECT_LT(BlockKey(1, UINT32_MAX), BlockKey(2, 0));
  EXPECT_LT(BlockKey(255, 0), BlockKey(256, 0));
  EXPECT_LT(DocumentRowKey("a", "z"), DocumentRowKey("a-b", "a"));
  EXPECT_LT(DocumentRowKey("a", "z"), DocumentRowKey("b", "a"));
  EXPECT_LT(DocumentRowKey("a", "a"), DocumentRowKey("a", "a0"));
  for (uint64_t uid : {uint64_t{0}, uint64_t{255}, UINT64_MAX}) {
    EXPECT_LE(DocumentBegin(RecordClass::kText, uid), TextKey(uid, 0));
    EXPECT_GT(DocumentEnd(RecordClass::kText, uid), TextKey(uid, UINT32_MAX));
    EXPECT_LE(DocumentEnd(RecordClass::kText, uid), LexicalKey(0, 0));
  }
}

}  // namespace
}  // namespace ilre
