#include "common/retrieval/profile.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/test_matchers.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace ilre {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

constexpr int kHidden = 12;

ModelConfig Model() {
  ModelConfig model;
  model.num_layers = 8;
  model.hidden_size = kHidden;
  model.num_heads = 6;
  model.num_kv_heads = 2;
  model.head_dim = 4;
  return model;
}

std::vector<float> RandomFloats(Random* random, size_t count) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random->Uniform() - 0.5);
  return values;
}

RetrievalHead Probe(uint64_t seed, int layer, int dim) {
  Random random(seed);
  RetrievalHead head;
  head.kind = RetrievalHead::Kind::kProbe;
  head.layer = layer;
  head.dim = dim;
  head.weight = 0.1f;
  head.key_projection = RandomFloats(&random, static_cast<size_t>(dim * kHidden));
  head.query_projection = RandomFloats(&random, static_cast<size_t>(dim * kHidden));
  head.gate = RandomFloats(&random, kHidden);
  head.gate_bias = -0.3f;
  return head;
}

RetrievalHead KeyHead() {
  RetrievalHead head;
  head.kind = RetrievalHead::Kind::kKey;
  head.layer = 5;
  head.dim = 4;
  head.type = VectorType::kInt8;
  head.weight = 1.7f;
  head.key_head = 1;
  head.query_heads = {3, 5};
  return head;
}

RetrievalHead PooledHead(uint64_t seed, std::vector<int> layers, int dim) {
  RetrievalHead head = Probe(seed, 0, dim * static_cast<int>(layers.size()));
  Random random(seed + 1);
  head.kind = RetrievalHead::Kind::kPooled;
  head.type = VectorType::kInt8;
  head.dim = dim;
  head.gate = RandomFloats(&random, kHidden * layers.size());
  head.key_gate = RandomFloats(&random, kHidden * layers.size());
  head.key_gate_bias = 0.2f;
  head.layers = std::move(layers);
  return head;
}

// Nothing in it is as a profile without that field would have it.
RetrievalProfile FullProfile() {
  RetrievalProfile profile;
  profile.name = "a \"name\" — with more";
  profile.model = "0123456789abcdef";
  profile.prefix = "<|im_start|>user\n";
  profile.window = 200;
  profile.arithmetic = StreamArithmetic::kInt8;
  profile.max_segment = 50;
  profile.max_indented = 30;
  profile.lexical_postings = true;
  profile.heads = {Probe(1, 2, 3), KeyHead(), Probe(2, 8, 5)};
  profile.neutral_passage = "Nothing in particular.";
  profile.question_prefix = "\n\nQ: ";
  profile.scoring = RetrievalProfile::Scoring::kAttention;
  profile.attention.positions = RetrievalProfile::Attention::Positions::kNone;
  profile.attention.reduce = RetrievalProfile::Attention::Reduce::kSum;
  profile.attention.kernels = {{1, 100}, {31, 300}};
  profile.lexical = {.weight = 0.7f, .k1 = 1.2f, .b = 0.75f, .power = 2.5f};
  profile.neighbour_weight = 0.25f;
  profile.second_look = {.max_looks = 3, .weight = 0.9f, .floor = 0.8f, .min_link = 0.45f, .max_sources = 5};
  profile.rerank = {.shortlist = 4096, .layer = 7, .query_head = 4};
  profile.budget = 300;
  profile.prompt_floor = 0.6f;
  profile.min_prompt = 64;
  profile.prompt_word_floor = 0.4f;
  return profile;
}

std::string Path(const std::string& name) {
  return absl::StrCat(::testing::TempDir(), "/profile_test_", name, ".json");
}

std::string Content(const std::string& path) {
  absl::StatusOr<std::string> content = ReadFile(path, 1 << 20);
  EXPECT_THAT(content, IsOk());
  return content.ok() ? *std::move(content) : "";
}

void ExpectEqual(const RetrievalHead& a, const RetrievalHead& b) {
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(a.layer, b.layer);
  EXPECT_EQ(a.dim, b.dim);
  EXPECT_EQ(a.type, b.type);
  EXPECT_EQ(a.weight, b.weight);
  EXPECT_EQ(a.key_head, b.key_head);
  EXPECT_EQ(a.query_heads, b.query_heads);
  EXPECT_EQ(a.key_projection, b.key_projection);
  EXPECT_EQ(a.query_projection, b.query_projection);
  EXPECT_EQ(a.gate, b.gate);
  EXPECT_EQ(a.gate_bias, b.gate_bias);
  EXPECT_EQ(a.layers, b.layers);
  EXPECT_EQ(a.key_gate, b.key_gate);
  EXPECT_EQ(a.key_gate_bias, b.key_gate_bias);
}

void ExpectEqual(const RetrievalProfile& a, const RetrievalProfile& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.model, b.model);
  EXPECT_EQ(a.prefix, b.prefix);
  EXPECT_EQ(a.window, b.window);
  EXPECT_EQ(a.arithmetic, b.arithmetic);
  EXPECT_EQ(a.max_segment, b.max_segment);
  EXPECT_EQ(a.max_indented, b.max_indented);
  EXPECT_EQ(a.lexical_postings, b.lexical_postings);
  EXPECT_EQ(a.neutral_passage, b.neutral_passage);
  EXPECT_EQ(a.question_prefix, b.question_prefix);
  EXPECT_EQ(a.scoring, b.scoring);
  EXPECT_EQ(a.attention.positions, b.attention.positions);
  EXPECT_EQ(a.attention.reduce, b.attention.reduce);
  ASSERT_EQ(a.attention.kernels.size(), b.attention.kernels.size());
  for (size_t i = 0; i < a.attention.kernels.size(); ++i) {
    EXPECT_EQ(a.attention.kernels[i].size, b.attention.kernels[i].size);
    EXPECT_EQ(a.attention.kernels[i].budget, b.attention.kernels[i].budget);
  }
  EXPECT_EQ(a.lexical.weight, b.lexical.weight);
  EXPECT_EQ(a.lexical.k1, b.lexical.k1);
  EXPECT_EQ(a.lexical.b, b.lexical.b);
  EXPECT_EQ(a.lexical.power, b.lexical.power);
  EXPECT_EQ(a.neighbour_weight, b.neighbour_weight);
  EXPECT_EQ(a.second_look.max_looks, b.second_look.max_looks);
  EXPECT_EQ(a.second_look.weight, b.second_look.weight);
  EXPECT_EQ(a.second_look.floor, b.second_look.floor);
  EXPECT_EQ(a.second_look.min_link, b.second_look.min_link);
  EXPECT_EQ(a.second_look.max_sources, b.second_look.max_sources);
  EXPECT_EQ(a.rerank.shortlist, b.rerank.shortlist);
  EXPECT_EQ(a.rerank.layer, b.rerank.layer);
  EXPECT_EQ(a.rerank.query_head, b.rerank.query_head);
  EXPECT_EQ(a.budget, b.budget);
  EXPECT_EQ(a.prompt_floor, b.prompt_floor);
  EXPECT_EQ(a.min_prompt, b.min_prompt);
  EXPECT_EQ(a.prompt_word_floor, b.prompt_word_floor);
  ASSERT_EQ(a.heads.size(), b.heads.size());
  for (size_t i = 0; i < a.heads.size(); ++i) ExpectEqual(a.heads[i], b.heads[i]);
}

TEST(ProfileFileTest, WhatIsSavedIsLoaded) {
  const RetrievalProfile profile = FullProfile();
  ILRE_ASSERT_OK(profile.Validate(Model()));
  ILRE_ASSERT_OK(SaveProfile(profile, Path("full")));
  ILRE_ASSERT_OK_AND_ASSIGN(const RetrievalProfile loaded, LoadProfile(Path("full")));
  ExpectEqual(loaded, profile);
  EXPECT_EQ(loaded.EncodingFingerprint(), profile.EncodingFingerprint());
}

TEST(ProfileFileTest, AProfileOfFewFieldsIsLoadedToo) {
  RetrievalProfile profile;
  profile.prefix = "x";
  profile.lexical_postings = false;
  profile.heads = {KeyHead()};  // no probes: no file of weights
  ILRE_ASSERT_OK(SaveProfile(profile, Path("few")));
  ILRE_ASSERT_OK_AND_ASSIGN(const RetrievalProfile loaded, LoadProfile(Path("few")));
  ExpectEqual(loaded, profile);
}

class BadProfileTest : public ::testing::Test {
 protected:
  void SetUp() override { ILRE_ASSERT_OK(SaveProfile(FullProfile(), Path("bad"))); }

  absl::Status LoadChanged(const std::function<void(Json*)>& change) {
    Json json = good_;
    change(&json);
    EXPECT_THAT(WriteFileAtomically(Path("bad"), json.dump()), IsOk());
    return LoadProfile(Path("bad")).status();
  }
  void ExpectRefused(const std::function<void(Json*)>& change, const std::string& why) {
    const absl::Status status = LoadChanged(change);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why)));
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(Path("bad"))));
    EXPECT_EQ(ErrorReason(status), "BAD_PROFILE");
  }

  const Json good_ = [] {
    EXPECT_THAT(SaveProfile(FullProfile(), Path("good")), IsOk());
    return Json::parse(Content(Path("good")));
  }();
};

TEST_F(BadProfileTest, FieldsThatNobodyKnowsAreRefusedWhereverTheyStand) {
  ILRE_EXPECT_OK(LoadChanged([](Json* json) {}));
  for (const char* pointer :
       {"", "/heads/0", "/heads/1", "/attention", "/attention/kernels/1", "/lexical", "/second_look", "/rerank"}) {
    ExpectRefused([&](Json* json) { (*json)[Json::json_pointer(pointer)]["budgte"] = 1; }, "unknown field budgte");
  }
}

TEST_F(BadProfileTest, FieldsOfAnotherTypeAreNamed) {
  for (const char* field : {"name",
                            "model",
                            "prefix",
                            "window",
                            "arithmetic",
                            "max_segment",
                            "max_indented",
                            "lexical_postings",
                            "neutral_passage",
                            "question_prefix",
                            "scoring",
                            "neighbour_weight",
                            "budget",
                            "prompt_floor",
                            "min_prompt",
                            "prompt_word_floor",
                            "heads",
                            "attention",
                            "lexical",
                            "second_look",
                            "rerank"}) {
    ExpectRefused([&](Json* json) { (*json)[field] = nullptr; }, field[0] == 'h' ? "heads" : field);
  }
  ExpectRefused([](Json* json) { (*json)["window"] = 2.5; }, "window");
  ExpectRefused([](Json* json) { (*json)["window"] = int64_t{1} << 40; }, "window");
  ExpectRefused([](Json* json) { (*json)["heads"][1]["query_heads"] = {1, "two"}; }, "query_heads");
  ExpectRefused([](Json* json) { (*json)["heads"][0]["type"] = "fp4"; }, "'fp4'");
  ExpectRefused([](Json* json) { (*json)["scoring"] = "best"; }, "'best'");
  ExpectRefused([](Json* json) { (*json)["arithmetic"] = "int4"; }, "'int4'");
}

TEST_F(BadProfileTest, WhatIsMissingIsNamed) {
  for (const char* field : {"format", "name", "model", "prefix", "heads"}) {
    ExpectRefused([&](Json* json) { json->erase(field); }, field);
  }
  ExpectRefused([](Json* json) { (*json)["heads"][2].erase("dim"); }, "head 2 has no field dim");
  ExpectRefused([](Json* json) { (*json)["format"] = 2; }, "format 2");
}

TEST_F(BadProfileTest, TextThatIsNoProfileIsRefused) {
  for (const char* text : {"", "{", "[]", "1", "null", "{\"format\": 1"}) {
    ILRE_ASSERT_OK(WriteFileAtomically(Path("bad"), text));
    EXPECT_EQ(ErrorReason(LoadProfile(Path("bad")).status()), "BAD_PROFILE") << text;
  }
  EXPECT_THAT(LoadProfile(Path("nowhere")), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(BadProfileTest, WeightsThatAreNotThereAreNamed) {
  const absl::Status status = LoadChanged([](Json* json) { (*json)["heads"][1]["kind"] = "probe"; });
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("profile_test_bad.safetensors")));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("heads.1.key")));
}

TEST(ProfileTest, TheFingerprintChangesWithWhatIsStoredAndWithNothingElse) {
  const RetrievalProfile base = FullProfile();
  const std::string fingerprint = base.EncodingFingerprint();
  EXPECT_EQ(fingerprint.size(), 16u);
  using Change = std::function<void(RetrievalProfile*)>;
  const std::vector<std::pair<const char*, Change>> stored = {
      {"model", [](RetrievalProfile* p) { p->model[0] = 'f'; }},
      {"prefix", [](RetrievalProfile* p) { p->prefix += " "; }},
      {"window", [](RetrievalProfile* p) { ++p->window; }},
      {"max_segment", [](RetrievalProfile* p) { ++p->max_segment; }},
      {"max_indented", [](RetrievalProfile* p) { ++p->max_indented; }},
      {"lexical_postings", [](RetrievalProfile* p) { p->lexical_postings = false; }},
      {"arithmetic", [](RetrievalProfile* p) { p->arithmetic = StreamArithmetic::kBf16; }},
      {"a head less", [](RetrievalProfile* p) { p->heads.pop_back(); }},
      {"order of heads", [](RetrievalProfile* p) { std::swap(p->heads[0], p->heads[2]); }},
      {"kind", [](RetrievalProfile* p) { p->heads[1].kind = RetrievalHead::Kind::kProbe; }},
      {"layer", [](RetrievalProfile* p) { ++p->heads[0].layer; }},
      {"dim", [](RetrievalProfile* p) { ++p->heads[1].dim; }},
      {"type", [](RetrievalProfile* p) { p->heads[0].type = VectorType::kInt8; }},
      {"key_head", [](RetrievalProfile* p) { p->heads[1].key_head = 0; }},
      {"a weight", [](RetrievalProfile* p) { p->heads[2].key_projection[17] += 0x1p-20f; }},
  };
  for (const auto& [what, change] : stored) {
    RetrievalProfile changed = base;
    change(&changed);
    EXPECT_NE(changed.EncodingFingerprint(), fingerprint) << what;
  }
  const std::vector<std::pair<const char*, Change>> scoring = {
      {"name", [](RetrievalProfile* p) { p->name = "other"; }},
      {"neutral_passage", [](RetrievalProfile* p) { p->neutral_passage.clear(); }},
      {"question_prefix", [](RetrievalProfile* p) { p->question_prefix = "?"; }},
      {"scoring", [](RetrievalProfile* p) { p->scoring = RetrievalProfile::Scoring::kMaxSim; }},
      {"attention", [](RetrievalProfile* p) { p->attention = {}; }},
      {"lexical", [](RetrievalProfile* p) { p->lexical = {}; }},
      {"neighbour_weight", [](RetrievalProfile* p) { p->neighbour_weight = 0; }},
      {"second_look", [](RetrievalProfile* p) { p->second_look = {}; }},
      {"rerank", [](RetrievalProfile* p) { p->rerank = {}; }},
      {"budget", [](RetrievalProfile* p) { ++p->budget; }},
      {"prompt_floor", [](RetrievalProfile* p) { p->prompt_floor = 0; }},
      {"min_prompt", [](RetrievalProfile* p) { p->min_prompt = 0; }},
      {"prompt_word_floor", [](RetrievalProfile* p) { p->prompt_word_floor = 0; }},
      {"weight", [](RetrievalProfile* p) { p->heads[0].weight = 2; }},
      {"query_heads", [](RetrievalProfile* p) { p->heads[1].query_heads = {4}; }},
      {"query_projection", [](RetrievalProfile* p) { p->heads[0].query_projection[0] = 0; }},
      {"gate", [](RetrievalProfile* p) { p->heads[0].gate[0] = 0; }},
      {"gate_bias", [](RetrievalProfile* p) { p->heads[0].gate_bias = 0; }},
  };
  for (const auto& [what, change] : scoring) {
    RetrievalProfile changed = base;
    change(&changed);
    EXPECT_EQ(changed.EncodingFingerprint(), fingerprint) << what;
  }
}

TEST(ProfileTest, ValidationNamesWhatDoesNotFit) {
  const auto refused = [](const std::function<void(RetrievalProfile*)>& change, const std::string& why) {
    RetrievalProfile profile = FullProfile();
    change(&profile);
    const absl::Status status = profile.Validate(Model());
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why)));
    EXPECT_EQ(ErrorReason(status), "BAD_PROFILE");
  };
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  refused([](RetrievalProfile* p) { p->heads.clear(); }, "0 heads");
  refused([](RetrievalProfile* p) { p->heads.resize(65); }, "65 heads");
  refused([](RetrievalProfile* p) { p->prefix.clear(); }, "prefix");
  refused([](RetrievalProfile* p) { p->window = 0; }, "window");
  refused([](RetrievalProfile* p) { p->max_segment = p->max_indented = 0; }, "segments of 0");
  refused([](RetrievalProfile* p) { p->max_indented = -1; }, "segments of -1");
  refused([](RetrievalProfile* p) { p->max_indented = p->max_segment + 1; }, "indented lines");
  refused([](RetrievalProfile* p) { p->budget = 0; }, "budget");
  refused([](RetrievalProfile* p) { p->heads[0].layer = 9; }, "no layer 9");
  refused([](RetrievalProfile* p) { p->heads[1].layer = 8; }, "no layer 8");  // keys need the layer itself
  refused([](RetrievalProfile* p) { p->heads[0].dim = 4; }, "hidden size 12");
  refused([](RetrievalProfile* p) { p->heads[0].dim = 1 << 20; }, "1048576 dimensions");
  refused([](RetrievalProfile* p) { p->heads[0].gate[3] = kNan; }, "not finite");
  refused([](RetrievalProfile* p) { p->heads[0].weight = kNan; }, "not finite");
  refused([](RetrievalProfile* p) { p->heads[1].dim = 8; }, "head size");
  refused([](RetrievalProfile* p) { p->heads[1].key_head = 2; }, "no key head 2");
  refused([](RetrievalProfile* p) { p->heads[1].query_heads = {2}; }, "does not share");
  refused([](RetrievalProfile* p) { p->heads[1].query_heads.clear(); }, "without query heads");
  refused([](RetrievalProfile* p) { p->attention.kernels[0].size = 4; }, "kernel of 4");
  refused([](RetrievalProfile* p) { p->attention.kernels[0].budget = 0; }, "budget of 0");
  refused([](RetrievalProfile* p) { p->lexical.b = 2; }, "lexical");
  refused([](RetrievalProfile* p) { p->lexical.power = 0; }, "lexical");
  refused([](RetrievalProfile* p) { p->lexical.k1 = kNan; }, "lexical");
  refused([](RetrievalProfile* p) { p->lexical_postings = false; }, "without lexical_postings");
  refused([](RetrievalProfile* p) { p->second_look.max_looks = 17; }, "17 looks");
  refused([](RetrievalProfile* p) { p->second_look.max_looks = -1; }, "-1 looks");
  refused([](RetrievalProfile* p) { p->second_look.weight = 1.1f; }, "second look");
  refused([](RetrievalProfile* p) { p->second_look.floor = -0.1f; }, "second look");
  refused([](RetrievalProfile* p) { p->second_look.min_link = kNan; }, "second look");
  refused([](RetrievalProfile* p) { p->second_look.max_sources = 0; }, "0 sources");
  refused([](RetrievalProfile* p) { p->rerank.layer = 8; }, "reranking head");
  refused([](RetrievalProfile* p) { p->prompt_floor = kNan; }, "prompt_floor");
  refused([](RetrievalProfile* p) { p->neighbour_weight = -1; }, "neighbour_weight");
  refused([](RetrievalProfile* p) { p->min_prompt = -1; }, "min_prompt");
  refused([](RetrievalProfile* p) { p->prompt_word_floor = p->prompt_floor + 0.1f; }, "prompt_word_floor");
  refused([](RetrievalProfile* p) { p->prompt_word_floor = kNan; }, "prompt_word_floor");
}

TEST(ProfileTest, PooledHeadsRoundTripAndAreChecked) {
  RetrievalProfile profile = FullProfile();
  profile.scoring = RetrievalProfile::Scoring::kMaxSim;
  profile.attention = {};
  profile.heads = {Probe(1, 2, 3), PooledHead(3, {2, 8}, 4)};
  const std::string path = Path("pooled");
  ILRE_ASSERT_OK(SaveProfile(profile, path));
  const absl::StatusOr<RetrievalProfile> loaded = LoadProfile(path);
  ILRE_ASSERT_OK(loaded);
  ExpectEqual(*loaded, profile);
  EXPECT_EQ(loaded->EncodingFingerprint(), profile.EncodingFingerprint());
  ILRE_ASSERT_OK(profile.Validate(Model()));
  const auto refused = [&](const std::function<void(RetrievalProfile*)>& change) {
    RetrievalProfile changed = profile;
    change(&changed);
    EXPECT_EQ(ErrorReason(changed.Validate(Model())), "BAD_PROFILE");
  };
  refused([](RetrievalProfile* p) { p->heads[1].layers = {2}; });  // half of what the weights are for
  refused([](RetrievalProfile* p) { p->heads[1].layers = {8, 2}; });
  refused([](RetrievalProfile* p) { p->heads[1].layers = {2, 9}; });
  refused([](RetrievalProfile* p) { p->heads[1].layers.clear(); });
  refused([](RetrievalProfile* p) { p->heads[1].key_gate.pop_back(); });
  refused([](RetrievalProfile* p) { p->scoring = RetrievalProfile::Scoring::kAttention; });
  const std::vector<std::function<void(RetrievalProfile*)>> changes = {
      [](RetrievalProfile* p) {
        p->heads[1].layers = {2, 7};
      },
      [](RetrievalProfile* p) { p->heads[1].key_gate[0] += 1; },
      [](RetrievalProfile* p) { p->heads[1].key_gate_bias += 1; }};
  for (const auto& change : changes) {  // what stored vectors depend on
    RetrievalProfile changed = profile;
    change(&changed);
    EXPECT_NE(changed.EncodingFingerprint(), profile.EncodingFingerprint());
  }
}

TEST(ProfileTest, HeadsShareTheirTaps) {
  RetrievalProfile profile;
  profile.heads = {Probe(1, 2, 3), KeyHead(), Probe(2, 2, 5), KeyHead(), PooledHead(3, {1, 2}, 4)};
  std::vector<std::vector<int>> taps_of_head;
  const std::vector<Tap> keys = profile.KeyTaps(&taps_of_head);
  ASSERT_EQ(keys.size(), 3u);
  EXPECT_EQ(taps_of_head, (std::vector<std::vector<int>>{{0}, {1}, {0}, {1}, {2, 0}}));
  EXPECT_EQ(keys[0].kind, Tap::Kind::kInput);
  EXPECT_EQ(keys[1].kind, Tap::Kind::kKey);
  EXPECT_EQ(profile.QueryTaps(nullptr)[1].kind, Tap::Kind::kQuery);
  EXPECT_EQ(profile.HeadFormats()[1], (HeadFormat{4, VectorType::kInt8}));
  EXPECT_EQ(profile.HeadFormats()[4], (HeadFormat{4, VectorType::kInt8, true}));
}

}  // namespace
}  // namespace ilre
