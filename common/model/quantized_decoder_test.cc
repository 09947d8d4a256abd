// The CPU decoder over weights that stay as the file quantises them.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/test_matchers.h"
#include "common/model/checkpoint.h"
#include "common/model/decoder.h"
#include "common/model/dequantize.h"
#include "common/model/test_tiny_model.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kLayers = 3;

TinyModel ModelOf(GgmlType type) {
  TinyModel model;
  model.num_layers = kLayers;
  model.hidden = 64;
  model.heads = 4;
  model.kv_heads = 2;
  model.head_dim = 16;
  model.ffn = 96;
  model.output = false;
  model.type_of = [=](const std::string&) { return type; };
  return model;
}

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenModel(const TinyModel& model) {
  static int count = 0;
  const std::string path = absl::StrCat(::testing::TempDir(), "/quantized_decoder_test_", count++, ".gguf");
  if (absl::Status status = WriteFileAtomically(path, model.File()); !status.ok()) return status;
  return Checkpoint::Open(path);
}

std::vector<TokenId> SomeIds(int count) {
  std::vector<TokenId> ids;
  for (int i = 0; i < count; ++i) ids.push_back((i * 37 + 11) % 250);
  return ids;
}

std::vector<float> AllLogits(const Decoder& decoder, const std::vector<TokenId>& ids) {
  auto cache = decoder.NewCache(static_cast<int64_t>(ids.size()));
  EXPECT_THAT(cache, IsOk());
  std::vector<float> logits;
  EXPECT_THAT(decoder.Forward(ids, cache->get(), {}, Decoder::Logits::kAll, nullptr, &logits), IsOk());
  return logits;
}

// Root of the mean square of the difference, as a share of that of `expected`.
double Distance(const std::vector<float>& actual, const std::vector<float>& expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double difference = 0, scale = 0;
  for (size_t i = 0; i < std::min(actual.size(), expected.size()); ++i) {
    difference += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
    scale += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(difference / scale);
}

class QuantizedDecoderTest : public ::testing::TestWithParam<GgmlType> {
 protected:
  void SetUp() override {
    auto checkpoint = OpenModel(ModelOf(GetParam()));
    ILRE_ASSERT_OK(checkpoint);
    checkpoint_ = *std::move(checkpoint);
    float32_ = Load({.arithmetic = Arithmetic::kFloat32});
    quantized_ = Load({.arithmetic = Arithmetic::kQuantized});
  }
  std::unique_ptr<Decoder> Load(const DecoderOptions& options) const {
    auto decoder = Decoder::Load(*checkpoint_, options);
    EXPECT_THAT(decoder, IsOk());
    return *std::move(decoder);
  }

  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Decoder> float32_, quantized_;
  const std::vector<TokenId> ids_ = SomeIds(40);
  const std::vector<Tap> taps_ = {{Tap::Kind::kInput, 2}, {Tap::Kind::kKey, 1}, {Tap::Kind::kQuery, 0}};
};

TEST_P(QuantizedDecoderTest, BlocksAreTheRowsThatAreReadDequantised) {
  int num_matrices = 0;
  for (const std::string& name : checkpoint_->TensorNames()) {
    if (absl::StrContains(name, "norm")) continue;
    ++num_matrices;
    int64_t rows = 64, columns = 64;
    if (absl::StrContains(name, "embed")) rows = 270;
    if (absl::StrContains(name, "k_proj") || absl::StrContains(name, "v_proj")) rows = 32;
    if (absl::StrContains(name, "gate_proj") || absl::StrContains(name, "up_proj")) rows = 96;
    if (absl::StrContains(name, "down_proj")) columns = 96;
    std::vector<float> expected(static_cast<size_t>(rows * columns)), row(static_cast<size_t>(columns));
    ILRE_ASSERT_OK(checkpoint_->ReadTensor(name, {rows, columns}, absl::MakeSpan(expected)));
    ILRE_ASSERT_OK_AND_ASSIGN(const auto blocks, checkpoint_->FindBlocks(name, {rows, columns}));
    ASSERT_TRUE(blocks.has_value());
    EXPECT_EQ(blocks->type, GetParam());
    for (int64_t r = 0; r < rows; ++r) {
      Dequantize(
          blocks->type,
          absl::string_view(reinterpret_cast<const char*>(blocks->row(r)), static_cast<size_t>(blocks->row_bytes)),
          absl::MakeSpan(row));
      EXPECT_TRUE(std::equal(row.begin(), row.end(), expected.begin() + r * columns)) << name << ", row " << r;
    }
  }
  EXPECT_EQ(num_matrices, 1 + 7 * kLayers);
  EXPECT_THAT(checkpoint_->FindBlocks("model.embed_tokens.weight", {270, 32}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("[270, 64]")));
  EXPECT_THAT(checkpoint_->FindBlocks("none", {1, 1}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("none")));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto norm, checkpoint_->FindBlocks("model.norm.weight", {64}));
  EXPECT_FALSE(norm.has_value());
}

TEST_P(QuantizedDecoderTest, GivesWhatFloat32GivesButForTheRounding) {
  const std::vector<float> expected = AllLogits(*float32_, ids_), actual = AllLogits(*quantized_, ids_);
  const double distance = Distance(actual, expected);
  RecordProperty("distance", absl::StrCat(distance));
  EXPECT_LT(distance, 0.05);                      // of int8 activations; anything out of place gives about 1
  EXPECT_GT(distance, 1e-4);                      // it is the other arithmetic
  EXPECT_EQ(AllLogits(*Load({}), ids_), actual);  // kAuto
}

TEST_P(QuantizedDecoderTest, BatchesAndPiecesDoNotShowInABit) {
  const std::vector<float> expected = AllLogits(*quantized_, ids_);
  ILRE_ASSERT_OK_AND_ASSIGN(const auto first, quantized_->NewCache(40));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto second, quantized_->NewCache(40));
  std::vector<float> of_first, of_second;
  for (size_t begin = 0; begin < ids_.size(); begin += 10) {
    std::vector<float> logits, last;
    const absl::Span<const TokenId> piece = absl::MakeConstSpan(ids_).subspan(begin, 10);
    const absl::Span<const TokenId> other = absl::MakeConstSpan(ids_).subspan(begin / 10, 1);
    ILRE_ASSERT_OK(quantized_->ForwardBatch(
        {{piece, first.get(), Decoder::Logits::kAll, &logits}, {other, second.get(), Decoder::Logits::kAll, &last}}));
    of_first.insert(of_first.end(), logits.begin(), logits.end());
    of_second.insert(of_second.end(), last.begin(), last.end());
  }
  EXPECT_EQ(of_first, expected);
  EXPECT_TRUE(std::equal(of_second.begin(), of_second.end(), expected.begin()));
}

TEST_P(QuantizedDecoderTest, LongPromptsInBlocksOfRowsDoNotShowInABit) {
  constexpr int kTokens = 300;  // enough that threads take blocks of rows through the layers by themselves
  const std::vector<TokenId> ids = SomeIds(kTokens);
  const std::vector<float> all = AllLogits(*quantized_, ids);
  const auto vocab = static_cast<int64_t>(all.size()) / kTokens;
  ILRE_ASSERT_OK_AND_ASSIGN(const auto whole, quantized_->NewCache(kTokens + 1));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto pieces, quantized_->NewCache(kTokens + 1));
  std::vector<float> last, of_pieces, none;
  ILRE_ASSERT_OK(quantized_->Forward(ids, whole.get(), {}, Decoder::Logits::kLast, nullptr, &last));
  for (size_t begin = 0; begin < ids.size(); begin += 15) {
    std::vector<float> logits;
    const absl::Span<const TokenId> piece = absl::MakeConstSpan(ids).subspan(begin, 15);
    ILRE_ASSERT_OK(quantized_->Forward(piece, pieces.get(), {}, Decoder::Logits::kAll, nullptr, &logits));
    of_pieces.insert(of_pieces.end(), logits.begin(), logits.end());
  }
  EXPECT_EQ(of_pieces, all);
  EXPECT_EQ(last, std::vector<float>(all.end() - vocab, all.end()));
  // What the last layer leaves out for the last row's logits alone is not missing from the cache.
  whole->Truncate(0);
  ILRE_ASSERT_OK(quantized_->Forward(ids, whole.get(), {}, Decoder::Logits::kNone, nullptr, &none));
  std::vector<float> after_none, after_all;
  ILRE_ASSERT_OK(quantized_->Forward({7}, whole.get(), {}, Decoder::Logits::kLast, nullptr, &after_none));
  ILRE_ASSERT_OK(quantized_->Forward({7}, pieces.get(), {}, Decoder::Logits::kLast, nullptr, &after_all));
  EXPECT_EQ(after_none, after_all);
}

TEST_P(QuantizedDecoderTest, StreamsAndTapsDoNotDependOnTheArithmetic) {
  const auto stream = [&](const Decoder& decoder) {
    std::vector<std::vector<float>> outputs;
    auto state = decoder.StartStream(SomeIds(5), 2, 16);
    EXPECT_THAT(state, IsOk());
    EXPECT_THAT(decoder.StreamBlock(ids_, taps_, &*state, &outputs), IsOk());
    return outputs;
  };
  const auto tap = [&](const Decoder& decoder) {
    std::vector<std::vector<float>> outputs;
    auto cache = decoder.NewCache(100);
    EXPECT_THAT(decoder.Forward(ids_, cache->get(), taps_, Decoder::Logits::kNone, &outputs, nullptr), IsOk());
    return outputs;
  };
  const auto two = Load({.stream_layers = 2}), two_alone = Load({.num_layers = 2});
  for (const Decoder* decoder : {quantized_.get(), two.get(), two_alone.get()}) {
    EXPECT_EQ(stream(*decoder), stream(*float32_));
    EXPECT_EQ(tap(*decoder), tap(*float32_));
  }
  EXPECT_EQ(AllLogits(*two, ids_), AllLogits(*quantized_, ids_));
  // Deeper layers have no float weights there.
  EXPECT_THAT(two->StartStream(SomeIds(5), 3, 16),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("layer 3 of a stream cannot be read: 2 are")));
  ILRE_ASSERT_OK_AND_ASSIGN(StreamState state, two->StartStream(SomeIds(5), 2, 16));
  std::vector<std::vector<float>> outputs;
  EXPECT_THAT(two->StreamBlock(ids_, {{Tap::Kind::kKey, 2}}, &state, &outputs),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("layer 2 of a stream")));
}

std::string TypeName(const ::testing::TestParamInfo<GgmlType>& info) {
  return GgmlTypeName(static_cast<uint32_t>(info.param));
}
INSTANTIATE_TEST_SUITE_P(All, QuantizedDecoderTest,
                         ::testing::Values(GgmlType::kQ4_0, GgmlType::kQ4_1, GgmlType::kQ8_0), TypeName);

TEST(QuantizedLoadTest, LayersOfOtherTypesAreComputedInFloat32) {
  TinyModel model = ModelOf(GgmlType::kQ8_0);
  // Queries, keys and values are one layer: of two types they cannot be multiplied as they are.
  model.type_of = [](const std::string& name) {
    if (absl::StrContains(name, "attn_v")) return GgmlType::kQ4_0;
    return absl::StrContains(name, "ffn_down") ? GgmlType::kF32 : GgmlType::kQ8_0;
  };
  ILRE_ASSERT_OK_AND_ASSIGN(const auto checkpoint, OpenModel(model));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto mixed, Decoder::Load(*checkpoint, {.stream_layers = 0}));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto float32, Decoder::Load(*checkpoint, {.arithmetic = Arithmetic::kFloat32}));
  const std::vector<float> expected = AllLogits(*float32, SomeIds(30));
  const double distance = Distance(AllLogits(*mixed, SomeIds(30)), expected);
  EXPECT_LT(distance, 0.05);
  EXPECT_GT(distance, 1e-4);
  const absl::Status status = Decoder::Load(*checkpoint, {.arithmetic = Arithmetic::kQuantized}).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("self_attn.q_proj")));
  EXPECT_EQ(ErrorReason(status), "NOT_QUANTIZED");
}

TEST(QuantizedLoadTest, ValuesThatAreNotFiniteAreRefused) {
  for (const bool in_last_block : {false, true}) {
    std::string file = ModelOf(GgmlType::kQ8_0).File();
    // The last tensor but the final norm, which is 64 numbers of 4 bytes: that layer's down projection.
    const size_t end = file.size() - 64 * 4, blocks = 64 * 96 / 32;
    const size_t block = in_last_block ? end - 34 : end - blocks * 34;
    file[block + 1] = 0x7C;  // infinity and beyond
    const std::string path = ::testing::TempDir() + "/quantized_decoder_test_infinite.gguf";
    ILRE_ASSERT_OK(WriteFileAtomically(path, file));
    ILRE_ASSERT_OK_AND_ASSIGN(const auto checkpoint, Checkpoint::Open(path));
    for (const Arithmetic arithmetic : {Arithmetic::kAuto, Arithmetic::kFloat32}) {
      const absl::Status status = Decoder::Load(*checkpoint, {.arithmetic = arithmetic, .stream_layers = 0}).status();
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                                   AllOf(HasSubstr("layers.2.mlp.down_proj"), HasSubstr("not finite"))));
      EXPECT_EQ(ErrorReason(status), "BAD_MODEL_FILE");
    }
  }
}

TEST(QuantizedLoadTest, OptionsAreChecked) {
  EXPECT_EQ(*ParseArithmetic("auto"), Arithmetic::kAuto);
  EXPECT_EQ(*ParseArithmetic("float32"), Arithmetic::kFloat32);
  EXPECT_EQ(*ParseArithmetic("quantized"), Arithmetic::kQuantized);
  EXPECT_THAT(ParseArithmetic("int8"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'int8'")));
  EXPECT_THAT((DecoderOptions{.stream_layers = -2}.Validate()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("-2")));
  const absl::Status status = DecoderOptions{.device = "cuda", .arithmetic = Arithmetic::kQuantized}.Validate();
  EXPECT_EQ(ErrorReason(status), "ARITHMETIC_UNAVAILABLE");
}

}  // namespace
}  // namespace ilre
