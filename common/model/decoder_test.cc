// Both decoders against transformers (tests/decoder/make_golden.py), for every family of models.
#include "common/model/decoder.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/test_matchers.h"
#include "common/model/test_golden_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr float kTolerance =
    2e-5f;  // of float32 sums in another order (2e-6 was seen), relative to the greatest number

// The greatest distance of two numbers at one place, as a share of the greatest expected number.
float Distance(const std::vector<float>& actual, const std::vector<float>& expected) {
  EXPECT_EQ(actual.size(), expected.size());
  if (actual.size() != expected.size()) return INFINITY;
  float distance = 0, scale = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (!std::isfinite(actual[i])) return INFINITY;
    distance = std::max(distance, std::fabs(actual[i] - expected[i]));
    scale = std::max(scale, std::fabs(expected[i]));
  }
  return distance / scale;
}

std::vector<float> LastRow(const std::vector<float>& x, size_t width) { return {x.end() - width, x.end()}; }

// (golden model, device)
class DecoderTest : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  void SetUp() override {
    auto checkpoint = Checkpoint::Open(GoldenFolder(std::get<0>(GetParam())));
    ILRE_ASSERT_OK(checkpoint);
    checkpoint_ = *std::move(checkpoint);
    auto decoder = Load(*checkpoint_);
    if (ErrorReason(decoder.status()) == "DEVICE_UNAVAILABLE") GTEST_SKIP() << decoder.status();
    ILRE_ASSERT_OK(decoder);
    decoder_ = *std::move(decoder);
    ids_ = golden_.Ints("ids");
  }

  absl::StatusOr<std::unique_ptr<Decoder>> Load(const Checkpoint& checkpoint, int num_layers = -1) const {
    return Decoder::Load(checkpoint, {.num_layers = num_layers, .device = std::get<1>(GetParam())});
  }

  std::unique_ptr<KvCache> NewCache(int64_t max_tokens = 64) const {
    auto cache = decoder_->NewCache(max_tokens);
    EXPECT_THAT(cache, IsOk());
    return *std::move(cache);
  }

  // Logits of all `ids`, given in pieces of these sizes.
  std::vector<float> InPieces(const std::vector<int>& sizes, KvCache* cache) const {
    std::vector<float> all;
    size_t begin = static_cast<size_t>(cache->num_tokens());
    for (const int size : sizes) {
      std::vector<float> logits;
      EXPECT_THAT(Forward(begin, size, cache, Decoder::Logits::kAll, &logits), IsOk());
      all.insert(all.end(), logits.begin(), logits.end());
      begin += static_cast<size_t>(size);
    }
    return all;
  }
  absl::Status Forward(size_t begin, size_t count, KvCache* cache, Decoder::Logits want,
                       std::vector<float>* logits) const {
    return decoder_->Forward(absl::MakeConstSpan(ids_).subspan(begin, count), cache, {}, want, nullptr, logits);
  }
  size_t vocab() const { return static_cast<size_t>(decoder_->config().vocab_size); }

  const Golden golden_{std::get<0>(GetParam())};
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Decoder> decoder_;
  std::vector<TokenId> ids_;
};

TEST_P(DecoderTest, LogitsEqualTransformers) {
  const auto cache = NewCache();
  const float distance = Distance(InPieces({40}, cache.get()), golden_.Floats("logits"));
  RecordProperty("distance", absl::StrCat(distance));
  EXPECT_LT(distance, kTolerance);
  EXPECT_EQ(cache->num_tokens(), 40);
}

TEST_P(DecoderTest, PiecesGiveWhatTheWholeGives) {
  const std::vector<float> expected = golden_.Floats("logits");
  for (const std::vector<int>& sizes : {std::vector<int>(40, 1), {7, 33}, {39, 1}, {1, 38, 1}}) {
    const auto cache = NewCache();
    EXPECT_LT(Distance(InPieces(sizes, cache.get()), expected), kTolerance);
  }
}

TEST_P(DecoderTest, OnlyTheLogitsThatAreAskedForComeBack) {
  const auto cache = NewCache();
  std::vector<float> logits;
  ILRE_ASSERT_OK(Forward(0, 30, cache.get(), Decoder::Logits::kNone, &logits));
  EXPECT_TRUE(logits.empty());
  EXPECT_EQ(cache->num_tokens(), 30);
  ILRE_ASSERT_OK(Forward(30, 10, cache.get(), Decoder::Logits::kLast, &logits));
  EXPECT_LT(Distance(logits, LastRow(golden_.Floats("logits"), vocab())), kTolerance);
}

TEST_P(DecoderTest, ATruncatedCacheForgetsTheRest) {
  const auto cache = NewCache();
  const std::vector<TokenId> other(25, 7);
  InPieces({15}, cache.get());
  std::vector<float> logits;
  ILRE_ASSERT_OK(decoder_->Forward(other, cache.get(), {}, Decoder::Logits::kAll, nullptr, &logits));
  cache->Truncate(15);
  EXPECT_EQ(cache->num_tokens(), 15);
  cache->Truncate(20);  // nothing to forget
  EXPECT_EQ(cache->num_tokens(), 15);
  EXPECT_LT(Distance(LastRow(InPieces({25}, cache.get()), vocab()), LastRow(golden_.Floats("logits"), vocab())),
            kTolerance);
  cache->Truncate(0);
  EXPECT_LT(Distance(InPieces({40}, cache.get()), golden_.Floats("logits")), kTolerance);
}

TEST_P(DecoderTest, CanBeStoppedBetweenLayersWithoutATrace) {
  const auto cache = NewCache();
  InPieces({20}, cache.get());
  const int num_layers = decoder_->num_layers();
  for (int allowed = 0; allowed < num_layers; ++allowed) {
    int asked = 0;
    std::vector<float> logits;
    EXPECT_THAT(decoder_->Forward(ids_, cache.get(), {}, Decoder::Logits::kLast, nullptr, &logits,
                                  [&] { return asked++ < allowed; }),
                StatusIs(absl::StatusCode::kCancelled));
    EXPECT_EQ(asked, allowed + 1);
    EXPECT_EQ(cache->num_tokens(), 20);
  }
  EXPECT_LT(Distance(LastRow(InPieces({20}, cache.get()), vocab()), LastRow(golden_.Floats("logits"), vocab())),
            kTolerance);
}

TEST_P(DecoderTest, RefusesWhatCannotBeRunAndLeavesTheCache) {
  const auto cache = NewCache(40);
  InPieces({10}, cache.get());
  std::vector<float> logits;
  std::vector<std::vector<float>> outputs;
  const auto run = [&](const std::vector<TokenId>& ids, const std::vector<Tap>& taps = {}) {
    return decoder_->Forward(ids, cache.get(), taps, Decoder::Logits::kLast, &outputs, &logits);
  };
  const auto refused = [](const std::string& why) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why));
  };
  EXPECT_THAT(run({}), refused("no tokens"));
  EXPECT_THAT(run({1, -1}), refused("token id -1"));
  EXPECT_THAT(run({static_cast<TokenId>(vocab())}), refused("token id 272"));
  EXPECT_THAT(run(std::vector<TokenId>(31, 1)), refused("a cache for 40 tokens cannot take 41"));
  const int layers = decoder_->num_layers();
  EXPECT_THAT(run({1}, {{Tap::Kind::kInput, layers + 1}}), refused(absl::StrCat("layer ", layers + 1)));
  EXPECT_THAT(run({1}, {{Tap::Kind::kKey, layers}}), refused(absl::StrCat("layer ", layers)));
  EXPECT_THAT(run({1}, {{Tap::Kind::kQuery, -1}}), refused("layer -1"));
  EXPECT_EQ(cache->num_tokens(), 10);
  EXPECT_LT(Distance(LastRow(InPieces({30}, cache.get()), vocab()), LastRow(golden_.Floats("logits"), vocab())),
            kTolerance);
  EXPECT_THAT(decoder_->NewCache(0), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_P(DecoderTest, ABatchGivesWhatEachSequenceGivesAlone) {
  using Sequence = Decoder::Sequence;
  // Four sequences, each a stretch of the golden ids, in pieces of these sizes, a call for each column.
  const std::vector<std::vector<size_t>> pieces = {{20, 1, 1, 3}, {1, 9, 1, 1}, {13, 4, 7, 1}, {1, 1, 1, 1}};
  std::vector<std::unique_ptr<KvCache>> together, alone;
  std::vector<size_t> begins = {0, 3, 5, 11};
  for (size_t i = 0; i < pieces.size(); ++i) {
    together.push_back(NewCache());
    alone.push_back(NewCache());
  }
  for (size_t call = 0; call < 4; ++call) {
    std::vector<std::vector<float>> logits(pieces.size());
    std::vector<Sequence> batch;
    for (size_t i = 0; i < pieces.size(); ++i) {
      const auto want = static_cast<Decoder::Logits>((i + call) % 3);
      batch.push_back({absl::MakeConstSpan(ids_).subspan(begins[i], pieces[i][call]), together[i].get(), want,
                       want == Decoder::Logits::kNone ? nullptr : &logits[i]});
    }
    ILRE_ASSERT_OK(decoder_->ForwardBatch(batch));
    for (size_t i = 0; i < pieces.size(); ++i) {
      std::vector<float> expected;
      ILRE_ASSERT_OK(decoder_->Forward(batch[i].ids, alone[i].get(), {}, batch[i].want, nullptr, &expected));
      EXPECT_EQ(logits[i], expected) << "sequence " << i << ", call " << call;
      EXPECT_EQ(together[i]->num_tokens(), alone[i]->num_tokens());
      begins[i] += pieces[i][call];
    }
  }
  ILRE_EXPECT_OK(decoder_->ForwardBatch({}));
}

TEST_P(DecoderTest, CutsOfAPromptDoNotShowInABit) {
  if (decoder_->device() != "cpu") GTEST_SKIP() << "libtorch promises no bits";
  const auto cache = NewCache();
  const std::vector<float> whole = InPieces({40}, cache.get());
  for (const std::vector<int>& sizes : {std::vector<int>(40, 1), {7, 33}, {39, 1}, {16, 16, 8}}) {
    EXPECT_EQ(InPieces(sizes, NewCache().get()), whole);
  }
}

TEST_P(DecoderTest, AFailedBatchLeavesAllCachesAsTheyWere) {
  const auto first = NewCache(), second = NewCache(3);
  InPieces({10}, first.get());
  std::vector<float> logits;
  const std::vector<TokenId> four = {1, 2, 3, 4}, bad = {-5};
  const Decoder::Sequence good{four, first.get(), Decoder::Logits::kLast, &logits};
  EXPECT_THAT(decoder_->ForwardBatch({good, {four, second.get(), Decoder::Logits::kNone}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a cache for 3 tokens cannot take 4")));
  EXPECT_THAT(decoder_->ForwardBatch({good, {bad, second.get(), Decoder::Logits::kNone}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("token id -5")));
  int asked = 0;
  EXPECT_THAT(decoder_->ForwardBatch({good}, [&] { return asked++ < 1; }), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(first->num_tokens(), 10);
  EXPECT_EQ(second->num_tokens(), 0);
  EXPECT_LT(Distance(LastRow(InPieces({30}, first.get()), vocab()), LastRow(golden_.Floats("logits"), vocab())),
            kTolerance);
}

TEST_P(DecoderTest, SaysHowMuchACacheTakes) {
  const ModelConfig& config = decoder_->config();
  EXPECT_EQ(decoder_->CacheBytes(10), 10 * config.num_layers * 2 * config.num_kv_heads * config.head_dim * 4);
}

TEST_P(DecoderTest, TheFirstLayersAloneGiveTheirTaps) {
  const std::vector<Tap> taps = {{Tap::Kind::kQuery, 0}, {Tap::Kind::kInput, 1}, {Tap::Kind::kInput, 0}};
  ILRE_ASSERT_OK_AND_ASSIGN(const auto first, Load(*checkpoint_, 1));
  EXPECT_EQ(first->num_layers(), 1);
  EXPECT_EQ(first->config().num_layers, decoder_->config().num_layers);
  std::vector<std::vector<float>> of_first, of_whole;
  std::vector<float> logits;
  ILRE_ASSERT_OK_AND_ASSIGN(const auto cache, first->NewCache(100));
  ILRE_ASSERT_OK(first->Forward(ids_, cache.get(), taps, Decoder::Logits::kNone, &of_first, nullptr));
  ILRE_ASSERT_OK(decoder_->Forward(ids_, NewCache().get(), taps, Decoder::Logits::kAll, &of_whole, &logits));
  EXPECT_EQ(of_first, of_whole);
  EXPECT_LT(Distance(logits, golden_.Floats("logits")), kTolerance);
  EXPECT_THAT(first->Forward(ids_, cache.get(), {}, Decoder::Logits::kLast, nullptr, &logits),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("all layers")));
  EXPECT_THAT(Load(*checkpoint_, 9), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("9 were asked for")));
  EXPECT_THAT(Load(*checkpoint_, 0), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_P(DecoderTest, EveryTensorIsNeededAndInItsShape) {
  const MemoryCheckpoint whole(*checkpoint_);
  ILRE_ASSERT_OK(Load(whole));
  for (const auto& [name, tensor] : whole.tensors) {
    MemoryCheckpoint spoilt(*checkpoint_);
    spoilt.tensors.erase(name);
    EXPECT_THAT(Load(spoilt),
                StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr(name), HasSubstr("missing"))));
    spoilt.tensors[name] = tensor;
    ++spoilt.tensors[name].shape[0];
    EXPECT_THAT(Load(spoilt), StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr(name), HasSubstr("shape"))));
  }
}

TEST_P(DecoderTest, TensorsLeftOverAreNamed) {
  for (const char* name : {"model.layers.7.mlp.up_proj.weight", "model.layers.0.self_attn.o_proj.bias"}) {
    MemoryCheckpoint more(*checkpoint_);
    more.tensors[name] = {{1}, {0}};
    EXPECT_THAT(Load(more), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(name)));
    ILRE_EXPECT_OK(Load(more, 1));  // the rest is not looked at
  }
  MemoryCheckpoint copies(*checkpoint_);
  copies.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {{1}, {0}};
  ILRE_EXPECT_OK(Load(copies));
}

// ------------------------------------------------------------------------------------------------ streams

class StreamTest : public DecoderTest {
 protected:
  using Outputs = std::vector<std::vector<float>>;

  absl::StatusOr<StreamState> Start(int64_t window, StreamArithmetic arithmetic = StreamArithmetic::kBf16) const {
    return decoder_->StartStream(golden_.Ints("stream.prefix"), Decoder::DepthOf(kTaps), window, arithmetic);
  }

  // Appends what blocks [first, last) of the golden stream give.
  void Run(StreamState* state, size_t first, size_t last, Outputs* outputs) const {
    const std::vector<TokenId> ids = golden_.Ints("stream.ids");
    const std::vector<int32_t> blocks = golden_.Ints("stream.blocks");
    size_t begin = static_cast<size_t>(std::accumulate(blocks.begin(), blocks.begin() + static_cast<long>(first), 0));
    outputs->resize(kTaps.size());
    for (size_t block = first; block < last; ++block) {
      Outputs part;
      const size_t size = static_cast<size_t>(blocks[block]);
      ILRE_ASSERT_OK(decoder_->StreamBlock(absl::MakeConstSpan(ids).subspan(begin, size), kTaps, state, &part));
      for (size_t i = 0; i < part.size(); ++i) {
        (*outputs)[i].insert((*outputs)[i].end(), part[i].begin(), part[i].end());
      }
      begin += size;
    }
  }

  Outputs RunAll(int64_t window, StreamArithmetic arithmetic = StreamArithmetic::kBf16) const {
    auto state = Start(window, arithmetic);
    EXPECT_THAT(state, IsOk());
    Outputs outputs;
    if (state.ok()) Run(&*state, 0, golden_.Ints("stream.blocks").size(), &outputs);
    return outputs;
  }
  int64_t window() const { return golden_.Ints("stream.window")[0]; }

  const std::vector<Tap> kTaps = {{Tap::Kind::kInput, 2}, {Tap::Kind::kKey, 1}, {Tap::Kind::kQuery, 1}};
};

TEST_P(StreamTest, EqualsItsDefinition) {
  const Outputs outputs = RunAll(window());
  const Outputs expected = {golden_.Floats("stream.input"), golden_.Floats("stream.key"),
                            golden_.Floats("stream.query")};
  // Now and then a stored key lies on the edge between two bfloat16 numbers, 2^-8 of it apart.
  constexpr float kStreamTolerance = 1e-3f;
  for (size_t i = 0; i < kTaps.size(); ++i) {
    const float distance = Distance(outputs[i], expected[i]);
    RecordProperty(absl::StrCat("distance", i), absl::StrCat(distance));
    EXPECT_LT(distance, kStreamTolerance) << i;
  }
  // The test would see a window that is one token off.
  for (const int64_t wrong : {window() - 1, window() + 1}) {
    EXPECT_GT(Distance(RunAll(wrong)[0], expected[0]), 20 * kStreamTolerance);
  }
}

TEST_P(StreamTest, InInt8IsNearItsDefinition) {
  if (decoder_->device() != "cpu") GTEST_SKIP() << "int8 is the processor's";
  const Outputs outputs = RunAll(window(), StreamArithmetic::kInt8);
  const Outputs expected = {golden_.Floats("stream.input"), golden_.Floats("stream.key"),
                            golden_.Floats("stream.query")};
  for (size_t i = 0; i < kTaps.size(); ++i) {
    const float distance = Distance(outputs[i], expected[i]);
    RecordProperty(absl::StrCat("int8_distance", i), absl::StrCat(distance));
    EXPECT_LT(distance, 0.1f) << i;
    EXPECT_GT(distance, 1e-4f) << i << ": it was not computed in int8";
  }
}

TEST_P(StreamTest, GoesOnFromACopyOfItsStateBitForBit) {
  const size_t num_blocks = golden_.Ints("stream.blocks").size();
  for (const StreamArithmetic arithmetic : {StreamArithmetic::kBf16, StreamArithmetic::kInt8}) {
    if (arithmetic == StreamArithmetic::kInt8 && decoder_->device() != "cpu") continue;
    const Outputs whole = RunAll(window(), arithmetic);
    for (size_t cut = 0; cut <= num_blocks; ++cut) {
      ILRE_ASSERT_OK_AND_ASSIGN(StreamState state, Start(window(), arithmetic));
      Outputs outputs;
      Run(&state, 0, cut, &outputs);
      StreamState copy = state;
      Outputs unused;
      if (cut < num_blocks) Run(&state, cut, cut + 1, &unused);  // does not touch the copy
      Run(&copy, cut, num_blocks, &outputs);
      EXPECT_EQ(outputs, whole) << "cut behind block " << cut;
    }
  }
}

TEST_P(StreamTest, KeepsSinksAndNoMoreThanTheWindow) {
  ILRE_ASSERT_OK_AND_ASSIGN(StreamState state, Start(window()));
  const size_t width = static_cast<size_t>(decoder_->config().num_kv_heads * decoder_->config().head_dim);
  ASSERT_EQ(state.layers.size(), 2u);
  const std::vector<uint16_t> sinks = state.layers[1].sink_keys;
  Outputs outputs;
  Run(&state, 0, golden_.Ints("stream.blocks").size(), &outputs);
  for (const StreamState::Layer& layer : state.layers) {
    EXPECT_EQ(layer.sink_keys.size(), golden_.Ints("stream.prefix").size() * width);
    EXPECT_EQ(layer.sink_values.size(), layer.sink_keys.size());
    EXPECT_EQ(layer.window_keys.size(), static_cast<size_t>(window()) * width);
    EXPECT_EQ(layer.window_values.size(), layer.window_keys.size());
  }
  EXPECT_EQ(state.layers[1].sink_keys, sinks);
}

TEST_P(StreamTest, WithoutAPastEqualsForward) {
  // A stream that has room for all of its tokens in the first call is plain causal attention, but for sinks in
  // bfloat16.
  const std::vector<TokenId> prefix = golden_.Ints("stream.prefix"), rest = golden_.Ints("stream.ids");
  std::vector<TokenId> all = prefix;
  all.insert(all.end(), rest.begin(), rest.end());
  ILRE_ASSERT_OK_AND_ASSIGN(StreamState state, Start(256));
  Outputs streamed, whole;
  ILRE_ASSERT_OK(decoder_->StreamBlock(rest, kTaps, &state, &streamed));
  ILRE_ASSERT_OK(decoder_->Forward(all, NewCache().get(), kTaps, Decoder::Logits::kNone, &whole, nullptr));
  for (size_t i = 0; i < kTaps.size(); ++i) {
    const size_t skipped = whole[i].size() / all.size() * prefix.size();
    whole[i].erase(whole[i].begin(), whole[i].begin() + static_cast<long>(skipped));
    EXPECT_LT(Distance(streamed[i], whole[i]), 0.02f) << i;
  }
}

// Where all layers below are local, in the model itself, and the stream's window covers theirs, a stream misses
// nothing, however long it is; elsewhere it does.
TEST_P(StreamTest, LocalLayersSeeWhatTheySeeInTheWholeText) {
  const ModelConfig& config = decoder_->config();
  const bool local = config.AllLocalBelow(2);
  const int64_t own_window = config.local_layers.empty() ? 8 : config.local_window;
  const std::vector<Tap> taps = {{Tap::Kind::kInput, 2}};
  const std::vector<TokenId> prefix = golden_.Ints("stream.prefix");
  std::vector<TokenId> rest;
  for (int i = 0; i < 230; ++i) rest.push_back((i * i + 7 * i) % static_cast<TokenId>(vocab()));
  std::vector<TokenId> all = prefix;
  all.insert(all.end(), rest.begin(), rest.end());
  Outputs whole;
  ILRE_ASSERT_OK(decoder_->Forward(all, NewCache(256).get(), taps, Decoder::Logits::kNone, &whole, nullptr));
  // The greatest distance at places so late that sinks and first tokens have left two layers' windows.
  const auto distance = [&](int64_t window, const std::vector<size_t>& blocks) {
    const size_t width = static_cast<size_t>(config.hidden_size), skip = 2 * static_cast<size_t>(own_window);
    StreamState state = *decoder_->StartStream(prefix, 2, window);
    std::vector<float> streamed;
    for (size_t begin = 0, block = 0; begin < rest.size(); begin += blocks[block++]) {
      Outputs part;
      EXPECT_THAT(decoder_->StreamBlock(absl::MakeConstSpan(rest).subspan(begin, blocks[block]), taps, &state, &part),
                  IsOk());
      streamed.insert(streamed.end(), part[0].begin(), part[0].end());
    }
    const auto later = [&](const std::vector<float>& x, size_t before) {
      return std::vector<float>(x.begin() + static_cast<ptrdiff_t>((before + skip) * width), x.end());
    };
    return Distance(later(streamed, 0), later(whole[0], prefix.size()));
  };
  const std::vector<size_t> one_block = {230}, blocks = {60, 1, 100, 5, 64};
  for (const int64_t window : {own_window, own_window + 5, int64_t{200}}) {
    const float in_one = distance(window, one_block), in_several = distance(window, blocks);
    RecordProperty(absl::StrCat("window", window), absl::StrCat(in_one, " ", in_several));
    if (!local) continue;
    EXPECT_LT(in_one, kTolerance) << window;
    EXPECT_LT(in_several, 0.01f) << window;  // the past was rounded to bfloat16
  }
  const int64_t too_small = local ? own_window - 1 : own_window;
  EXPECT_GT(distance(too_small, one_block), 0.03f);
  EXPECT_GT(distance(too_small, blocks), 0.03f);
}

TEST_P(StreamTest, RefusesWhatCannotBeStreamed) {
  const auto refused = [](const std::string& why) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why));
  };
  const std::vector<TokenId> one = {1};
  EXPECT_THAT(decoder_->StartStream({}, 1, 8), refused("0 tokens"));
  EXPECT_THAT(decoder_->StartStream(std::vector<TokenId>(257, 1), 1, 8), refused("257 tokens"));
  EXPECT_THAT(decoder_->StartStream(one, 1, 0), refused("window of 0"));
  EXPECT_THAT(decoder_->StartStream(one, -1, 8), refused("-1 layers"));
  EXPECT_THAT(decoder_->StartStream(one, decoder_->num_layers() + 1, 8), refused("layers"));
  ILRE_ASSERT_OK_AND_ASSIGN(StreamState state, Start(8));
  Outputs outputs;
  EXPECT_THAT(decoder_->StreamBlock({}, kTaps, &state, &outputs), refused("1 to 256"));
  EXPECT_THAT(decoder_->StreamBlock(std::vector<TokenId>(257, 1), kTaps, &state, &outputs), refused("1 to 256"));
  EXPECT_THAT(decoder_->StreamBlock({300}, kTaps, &state, &outputs), refused("token id 300"));
  EXPECT_THAT(decoder_->StreamBlock(one, {{Tap::Kind::kKey, 99}}, &state, &outputs), refused("layer 99"));
  state.layers.resize(1);
  EXPECT_THAT(decoder_->StreamBlock(one, kTaps, &state, &outputs), refused("enough layers"));
}

TEST(DecoderOptionsTest, KnowsItsDevices) {
  for (const char* device : {"cpu", "torch-cpu", "cuda", "cuda:1", "npu:0"}) {
    ILRE_EXPECT_OK((DecoderOptions{.device = device}.Validate())) << device;
  }
  EXPECT_THAT((DecoderOptions{.device = "gpu"}.Validate()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'gpu'")));
}

std::string NameOf(const ::testing::TestParamInfo<DecoderTest::ParamType>& info) {
  return absl::StrCat(std::get<0>(info.param), "_", std::get<1>(info.param) == "cpu" ? "cpu" : "torch");
}
const auto kAll = ::testing::Combine(::testing::ValuesIn(GoldenNames()), ::testing::Values("cpu", "torch-cpu"));
INSTANTIATE_TEST_SUITE_P(All, DecoderTest, kAll, NameOf);
INSTANTIATE_TEST_SUITE_P(All, StreamTest, kAll, NameOf);

}  // namespace
}  // namespace ilre
