#include "common/model/tokenizer_files.h"

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/test_matchers.h"
#include "common/model/test_gguf_writer.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace ilre {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

std::string Golden(const std::string& name) { return *ReadFile("tests/tokenizer/golden/" + name, 1 << 20); }

// ------------------------------------------------------------------------------------------------ GGUF

// What goes into a small GGUF file; tests change it.
struct GgufParts {
  std::string model = "gpt2", pre = "gpt-2", chat_template = "template";
  std::vector<std::string> tokens = {"<|endoftext|>", "a", "b", "ab", "<|im_end|>"};
  std::vector<int32_t> types = {3, 1, 1, 1, 3};
  std::vector<std::string> merges = {"a b"};
  std::vector<float> scores;
  uint32_t eos = 0;
  GgufWriter more;
};

absl::StatusOr<TokenizerSpec> ReadGguf(const GgufParts& parts) {
  GgufWriter writer = parts.more;
  const auto add_string = [&](const char* key, const std::string& value) {
    if (!value.empty()) writer.AddString(key, value);
  };
  add_string("tokenizer.ggml.model", parts.model);
  add_string("tokenizer.ggml.pre", parts.pre);
  add_string("tokenizer.chat_template", parts.chat_template);
  writer.AddStrings("tokenizer.ggml.tokens", parts.tokens);
  writer.AddNumbers<int32_t>("tokenizer.ggml.token_type", parts.types);
  if (!parts.merges.empty()) writer.AddStrings("tokenizer.ggml.merges", parts.merges);
  if (!parts.scores.empty()) writer.AddNumbers<float>("tokenizer.ggml.scores", parts.scores);
  writer.AddNumber<uint32_t>("tokenizer.ggml.eos_token_id", parts.eos);
  const std::string bytes = writer.Finish();
  absl::StatusOr<std::shared_ptr<const GgufFile>> file = GgufFile::Parse("x.gguf", bytes);
  if (!file.ok()) return file.status();
  return TokenizerSpecFromGguf(**file);
}

TEST(TokenizerGgufTest, ReadsByteLevelBpe) {
  GgufParts parts;
  parts.more.AddNumber<uint32_t>("tokenizer.ggml.bos_token_id", 1);
  parts.more.AddNumber<bool>("tokenizer.ggml.add_bos_token", true);
  ILRE_ASSERT_OK_AND_ASSIGN(const TokenizerSpec spec, ReadGguf(parts));
  EXPECT_EQ(spec.kind, TokenizerKind::kByteLevelBpe);
  EXPECT_EQ(spec.pre_tokenizer, PreTokenizerKind::kGpt2);
  EXPECT_EQ(spec.tokens, parts.tokens);
  EXPECT_EQ(spec.types[3], TokenType::kNormal);
  EXPECT_THAT(spec.merges, ElementsAre(std::make_pair(std::string("a"), std::string("b"))));
  EXPECT_EQ(spec.bos_id, 1);
  EXPECT_TRUE(spec.add_bos);
  EXPECT_EQ(spec.eos_id, 0);
  EXPECT_THAT(spec.stop_ids, ElementsAre(0, 4));  // the turn's end, though the file does not name it
  EXPECT_EQ(spec.chat_template, "template");
}

TEST(TokenizerGgufTest, PreTokenizersHaveTheirRules) {
  GgufParts parts;
  parts.pre = "llama-bpe";
  ILRE_ASSERT_OK_AND_ASSIGN(TokenizerSpec spec, ReadGguf(parts));
  EXPECT_EQ(spec.pre_tokenizer, PreTokenizerKind::kLlama3);
  EXPECT_TRUE(spec.ignore_merges);
  EXPECT_FALSE(spec.add_bos);  // there is no begin token to add
  parts.pre = "smollm";
  ILRE_ASSERT_OK_AND_ASSIGN(spec, ReadGguf(parts));
  EXPECT_EQ(spec.pre_tokenizer, PreTokenizerKind::kSmolLm);
  EXPECT_FALSE(spec.ignore_merges);
}

TEST(TokenizerGgufTest, ReadsSentencePiece) {
  GgufParts parts;
  parts.model = "llama";
  parts.pre = "";
  parts.merges.clear();
  parts.scores = {0, -1, -2, -3, 0};
  ILRE_ASSERT_OK_AND_ASSIGN(const TokenizerSpec spec, ReadGguf(parts));
  EXPECT_EQ(spec.kind, TokenizerKind::kSentencePiece);
  EXPECT_THAT(spec.scores, ElementsAre(0, -1, -2, -3, 0));
  EXPECT_TRUE(spec.add_space_prefix);
  EXPECT_TRUE(spec.add_bos);
  EXPECT_EQ(spec.bos_id, 1);
}

TEST(TokenizerGgufTest, ErrorsNameTheKey) {
  struct Bad {
    void (*change)(GgufParts*);
    const char* message;
  };
  const Bad bad_parts[] = {
      {[](GgufParts* p) { p->model = ""; }, "tokenizer.ggml.model is missing"},
      {[](GgufParts* p) { p->model = "bert"; }, "\"bert\""},
      {[](GgufParts* p) { p->pre = ""; }, "tokenizer.ggml.pre is missing"},
      {[](GgufParts* p) { p->pre = "tekken"; }, "\"tekken\""},
      {[](GgufParts* p) { p->types.pop_back(); }, "has 4 entries for 5 tokens"},
      {[](GgufParts* p) { p->types[0] = 7; }, "unknown type 7"},
      {[](GgufParts* p) { p->merges.clear(); }, "tokenizer.ggml.merges is missing"},
      {[](GgufParts* p) { p->merges[0] = "ab"; }, "not of two tokens"},
      {[](GgufParts* p) { p->eos = 5; }, "tokenizer.ggml.eos_token_id is 5"},
      {[](GgufParts* p) { p->model = "llama"; }, "tokenizer.ggml.scores is missing"},
      {[](GgufParts* p) { p->model = "llama", p->scores = {1}; }, "has 1 entries"},
      {[](GgufParts* p) { p->more.AddNumber<bool>("tokenizer.ggml.add_space_prefix", true); }, "add_space_prefix"},
      {[](GgufParts* p) { p->more.AddString("tokenizer.ggml.bos_token_id", "1"); }, "another type"},
  };
  for (const Bad& bad : bad_parts) {
    GgufParts parts;
    bad.change(&parts);
    const absl::Status status = ReadGguf(parts).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(bad.message)));
    EXPECT_THAT(std::string(status.message()), HasSubstr("x.gguf"));
    EXPECT_EQ(ErrorReason(status), "BAD_MODEL_FILE");
  }
}

// ------------------------------------------------------------------------------------------------ tokenizer.json

absl::StatusOr<TokenizerSpec> ReadJson(const Json& tokenizer, const TokenizerJsonFiles& others = {}) {
  const std::string text = tokenizer.dump();
  TokenizerJsonFiles files = others;
  files.tokenizer = text;
  return TokenizerSpecFromJson("model", files);
}

TEST(TokenizerJsonTest, OtherFilesCompleteTheSpec) {
  const Json tokenizer = Json::parse(Golden("gpt2/tokenizer.json"));
  TokenizerJsonFiles others;
  others.tokenizer_config = R"({"bos_token": {"content": "<|begin_of_text|>"}, "eos_token": "<|im_end|>",
      "add_bos_token": true, "chat_template": [{"name": "tool", "template": "x"}, {"name": "default", "template": "y"}]})";
  others.generation_config = R"({"eos_token_id": [0, 999999], "bos_token_id": 0})";
  others.config = R"({"eos_token_id": 5, "bos_token_id": 5})";
  ILRE_ASSERT_OK_AND_ASSIGN(TokenizerSpec spec, ReadJson(tokenizer, others));
  EXPECT_EQ(spec.tokens[spec.bos_id], "<|begin_of_text|>");
  EXPECT_EQ(spec.tokens[spec.eos_id], "<|im_end|>");
  EXPECT_TRUE(spec.add_bos);
  EXPECT_EQ(spec.chat_template, "y");
  EXPECT_THAT(spec.stop_ids, ElementsAre(0, 1, 5));
  others.chat_template = "from a file of its own";
  ILRE_ASSERT_OK_AND_ASSIGN(spec, ReadJson(tokenizer, others));
  EXPECT_EQ(spec.chat_template, "from a file of its own");
}

TEST(TokenizerJsonTest, TheConfigGivesIdsWhereNothingElseDoes) {
  TokenizerJsonFiles others;
  others.config = R"({"eos_token_id": 5, "bos_token_id": 6})";
  ILRE_ASSERT_OK_AND_ASSIGN(const TokenizerSpec spec, ReadJson(Json::parse(Golden("gpt2/tokenizer.json")), others));
  EXPECT_EQ(spec.eos_id, 5);
  EXPECT_EQ(spec.bos_id, 6);
  EXPECT_FALSE(spec.add_bos);
}

TEST(TokenizerJsonTest, ThePostProcessorAsksForABeginToken) {
  ILRE_ASSERT_OK_AND_ASSIGN(const TokenizerSpec spec, ReadJson(Json::parse(Golden("llama3/tokenizer.json"))));
  EXPECT_TRUE(spec.add_bos);
  EXPECT_EQ(spec.tokens[spec.bos_id], "<|begin_of_text|>");
  EXPECT_TRUE(spec.ignore_merges);
}

TEST(TokenizerJsonTest, WhatIsNotSupportedIsNamed) {
  struct Bad {
    const char* folder;
    const char* pointer;  // of the value to replace, as in RFC 6901
    const char* value;
    const char* message;
  };
  const Bad bad_values[] = {
      {"gpt2", "/model/type", "\"Unigram\"", "model.type is \"Unigram\""},
      {"gpt2", "/model/end_of_word_suffix", "\"</w>\"", "model.end_of_word_suffix is \"</w>\""},
      {"gpt2", "/model/vocab", "[]", "model.vocab is not an object"},
      {"gpt2", "/model/vocab/a", "\"1\"", "model.vocab gives \"a\" an id"},
      {"gpt2", "/model/vocab/a", "-1", "model.vocab gives \"a\" an id"},
      {"gpt2", "/model/vocab/a", "16777215", "model.vocab gives \"a\" an id"},
      {"gpt2", "/model/vocab/a", "20", "gives id 20 to two tokens"},
      {"gpt2", "/model/merges/3", "\"ab\"", "model.merges[3] is not of two tokens"},
      {"gpt2", "/model/merges/3", "[1, 2]", "model.merges[3] is not of two tokens"},
      {"gpt2", "/added_tokens/0/id", "null", "added_tokens[0] gives"},
      {"gpt2", "/normalizer", R"({"type": "Lowercase"})", "normalizer.type is \"Lowercase\""},
      {"gpt2", "/pre_tokenizer", "null", "pre_tokenizer is missing"},
      {"gpt2", "/pre_tokenizer/pretokenizers/0/add_prefix_space", "true", "add_prefix_space is set"},
      {"gpt2", "/pre_tokenizer/pretokenizers/0/use_regex", "false", "use_regex"},
      {"gpt2", "/pre_tokenizer/pretokenizers/0/type", "\"Whitespace\"", "is \"Whitespace\""},
      {"smollm", "/pre_tokenizer/pretokenizers/0/individual_digits", "false", "individual_digits is not true"},
      {"smollm", "/pre_tokenizer/pretokenizers/0/type", "\"Punctuation\"", "is \"Punctuation\""},
      {"llama3", "/pre_tokenizer/pretokenizers/0/pattern/Regex", "\"a+\"", "pattern.Regex is \"a+\""},
      {"llama3", "/pre_tokenizer/pretokenizers/0/behavior", "\"Removed\"", "behavior is \"Removed\""},
      {"llama3", "/pre_tokenizer/pretokenizers/0/invert", "true", "invert is set"},
      {"llama2", "/normalizer/normalizers/0/prepend", "\"x\"", "is \"Prepend\""},
      {"llama2", "/normalizer/normalizers/1/content", "\"x\"", "is \"Replace\""},
      {"metaspace", "/pre_tokenizer/split", "true", "split is not false"},
      {"metaspace", "/pre_tokenizer/prepend_scheme", "\"always\"", "is \"always\""},
      {"metaspace", "/pre_tokenizer/replacement", "\"_\"", "is \"_\""},
  };
  for (const Bad& bad : bad_values) {
    Json tokenizer = Json::parse(Golden(absl::StrCat(bad.folder, "/tokenizer.json")));
    tokenizer[Json::json_pointer(bad.pointer)] = Json::parse(bad.value);
    const absl::Status status = ReadJson(tokenizer).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(bad.message))) << bad.pointer;
    EXPECT_THAT(std::string(status.message()), HasSubstr("model/tokenizer.json"));
    EXPECT_EQ(ErrorReason(status), "BAD_MODEL_FILE");
  }
}

TEST(TokenizerJsonTest, TruncatedFilesAreErrors) {
  const std::string whole = Golden("gpt2/tokenizer.json");
  for (size_t size = 1; size < whole.size(); size += 1 + whole.size() / 300) {
    TokenizerJsonFiles files;
    files.tokenizer = absl::string_view(whole).substr(0, size);
    EXPECT_THAT(TokenizerSpecFromJson("model", files), StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

TEST(TokenizerJsonTest, NestingWithoutEndIsAnError) {
  const std::string deep(1 << 20, '[');
  TokenizerJsonFiles files;
  files.tokenizer = deep;
  EXPECT_THAT(TokenizerSpecFromJson("model", files),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("tokenizer.json")));
}

// ------------------------------------------------------------------------------------------------ tokenizer.model

TEST(SentencePieceModelTest, EveryTruncatedPrefixIsAnErrorOrAModel) {
  const std::string whole = Golden("sentencepiece/tokenizer.model");
  for (size_t size = 1; size < whole.size(); ++size) {
    TokenizerJsonFiles files;
    files.sentencepiece = absl::string_view(whole).substr(0, size);
    EXPECT_FALSE(TokenizerSpecFromJson("model", files).ok()) << size;
  }
}

// A protocol buffer of one length-delimited field.
std::string FieldOf(int number, const std::string& bytes) {
  return absl::StrCat(std::string(1, static_cast<char>(number << 3 | 2)),
                      std::string(1, static_cast<char>(bytes.size())), bytes);
}

TEST(SentencePieceModelTest, WhatIsNotSupportedIsNamed) {
  const std::string whole = Golden("sentencepiece/tokenizer.model");
  const std::pair<std::string, const char*> cases[] = {
      {FieldOf(2, "\x18\x01"), "model type 1"},               // model_type: UNIGRAM
      {FieldOf(3, "\x12\x01x"), "rewrites text"},             // precompiled_charsmap
      {FieldOf(3, "\x20\x01"), "rewrites text"},              // remove_extra_whitespaces
      {FieldOf(3, std::string("\x28\x00", 2)), "unescaped"},  // escape_whitespaces
      {FieldOf(2, "\xc0\x01\x01"), "spaces behind words"},    // treat_whitespace_as_suffix
      {FieldOf(1, "\x18\x09"), "has the type 9"},             // type
      {"\x0b", "not a protocol buffer"},                      // a group
      {std::string(11, '\xff'), "not a protocol buffer"},     // a varint without end
  };
  for (const auto& [appended, message] : cases) {
    const std::string bytes = whole + appended;  // later fields replace earlier ones
    TokenizerJsonFiles files;
    files.sentencepiece = bytes;
    EXPECT_THAT(TokenizerSpecFromJson("model", files),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  }
}

// ------------------------------------------------------------------------------------------------ folders

TEST(TokenizerFolderTest, ReadsAllFilesOfAFolder) {
  const std::string folder = ::testing::TempDir() + "/tokenizer_folder";
  std::filesystem::create_directories(folder);
  ILRE_ASSERT_OK(WriteFileAtomically(folder + "/tokenizer.json", Golden("gpt2/tokenizer.json")));
  ILRE_ASSERT_OK(WriteFileAtomically(folder + "/tokenizer.model", "not looked at"));
  ILRE_ASSERT_OK(WriteFileAtomically(folder + "/chat_template.jinja", "<|im_start|>"));
  ILRE_ASSERT_OK(WriteFileAtomically(folder + "/generation_config.json", R"({"eos_token_id": 7})"));
  ILRE_ASSERT_OK_AND_ASSIGN(const TokenizerSpec spec, TokenizerSpecFromFolder(folder));
  EXPECT_EQ(spec.chat_template, "<|im_start|>");
  EXPECT_EQ(spec.eos_id, 7);
  ILRE_ASSERT_OK(WriteFileAtomically(folder + "/config.json", "{"));
  EXPECT_THAT(TokenizerSpecFromFolder(folder), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("config.json")));
  std::filesystem::remove_all(folder);
  EXPECT_THAT(TokenizerSpecFromFolder(folder), StatusIs(absl::StatusCode::kNotFound, HasSubstr(folder)));
}

}  // namespace
}  // namespace ilre
