// Samples for another retriever, and its choices: what is read back, and what is refused.
#include "cli/eval/other_retriever.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "cli/eval/eval_context.h"
#include "cli/eval/made_up_prose.h"
#include "cli/json_output.h"
#include "common/base/test_matchers.h"
#include "gtest/gtest.h"

namespace ilre::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Write(const std::string& content) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/other_retriever_test.jsonl");
  std::ofstream(path) << content;
  return path;
}

Sample SmallSample() {
  Sample sample;
  sample.task = "vt";
  sample.length = 512;
  sample.index = 3;
  sample.document = "The käse is old. The sky is blue.\nSo is the sea.";
  sample.question = "What is \"old\"?";
  return sample;
}

TEST(OtherRetrieverTest, SegmentsOfASampleAreItsWholeDocument) {
  const Sample sample = SmallSample();
  const Json json = Json::parse(SampleLine(sample, TinyTokenizer(), {}));
  EXPECT_EQ(json["task"], "vt");
  EXPECT_EQ(json["length"], 512);
  EXPECT_EQ(json["index"], 3);
  EXPECT_EQ(json["question"], sample.question);
  EXPECT_EQ(json["document"], sample.document);
  ASSERT_EQ(json["segments"].size(), 3u);
  uint64_t end = 0, tokens = 0;
  for (const Json& segment : json["segments"]) {
    EXPECT_EQ(segment[0], end);
    end = segment[1].get<uint64_t>();
    tokens += segment[2].get<uint64_t>();
  }
  EXPECT_EQ(end, sample.document.size());
  EXPECT_EQ(tokens, TinyTokenizer().Encode(sample.document).ids.size());
  EXPECT_EQ(sample.document.substr(json["segments"][1][0], 8), "The sky ");
}

TEST(OtherRetrieverTest, RangesAreFoundBySampleAndBudget) {
  const auto chosen = ChosenRanges::Read(Write(
      "{\"task\": \"vt\", \"length\": 512, \"index\": 3, \"budget\": 64, \"ranges\": [[0, 4], [4, 9], [17, 20]]}\n\n"
      "{\"task\": \"vt\", \"length\": 512, \"index\": 3, \"budget\": 128, \"ranges\": [], \"more\": 1}\n"));
  ASSERT_THAT(chosen, IsOk());
  Sample sample = SmallSample();
  EXPECT_THAT(*chosen->Of(sample, 64), ElementsAre(ByteRange{0, 9}, ByteRange{17, 20}));
  EXPECT_TRUE(chosen->Of(sample, 128)->empty());
  EXPECT_THAT(chosen->Of(sample, 32), StatusIs(absl::StatusCode::kNotFound, HasSubstr("index 3, budget 32")));
  sample.document = "short";
  EXPECT_THAT(chosen->Of(sample, 64), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("byte 20 of")));
  sample.index = 4;
  EXPECT_THAT(chosen->Of(sample, 64), StatusIs(absl::StatusCode::kNotFound));
}

TEST(OtherRetrieverTest, WhatIsNotOfTheFormatIsRefused) {
  const auto line = [](const std::string& ranges, const std::string& index = "0") {
    return absl::StrCat(R"({"task": "t", "length": 1, "index": )", index, R"(, "budget": 5, "ranges": )", ranges,
                        "}\n");
  };
  for (const std::string& bad :
       {std::string("{\n"), std::string("[]\n"), std::string("{\"task\": \"t\"}\n"), line("3"), line("[3]"),
        line("[[3]]"), line("[[3, 3]]"), line("[[3, 2]]"), line("[[0, 3], [2, 4]]"), line("[[-1, 2]]"),
        line("[[0.5, 2]]"), line("[]", "-1"), line("[]", "\"0\""), line("[]", "1e3"),
        line("[]", "18446744073709551615"), line("[]", "1")}) {
    const bool is_twice = bad == line("[]", "1");
    EXPECT_THAT(ChosenRanges::Read(Write(line("[[0, 3], [3, 4]]", "1") + bad)),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr(absl::StrCat("test.jsonl:2: ", is_twice ? "sample and budget" : "not {"))))
        << bad;
  }
  EXPECT_THAT(ChosenRanges::Read("/nowhere"), StatusIs(absl::StatusCode::kNotFound));
}

TEST(OtherRetrieverTest, APromptHoldsTheRangesAlone) {
  const std::string document = SmallSample().document;
  const EvalContext context = ContextOfBytes(TinyTokenizer(), document, {{0, 3}, {18, 25}});
  ASSERT_EQ(context.pieces.size(), 2u);
  EXPECT_EQ(context.pieces[0].text, "The");
  EXPECT_EQ(context.pieces[1].text, document.substr(18, 7));
  EXPECT_EQ(context.recalled_tokens, static_cast<int>(context.pieces[0].ids.size() + context.pieces[1].ids.size()));
  EXPECT_THAT(context.in_prompt, ElementsAre(ByteRange{0, 3}, ByteRange{18, 25}));
  EXPECT_EQ(context.recalled, context.in_prompt);
}

}  // namespace
}  // namespace ilre::cli
