// Questions over several documents and whole collections, while these stand still and while they change.
#include "retriever_service/document_search.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/test_matchers.h"
#include "common/store/test_documents.h"
#include "gtest/gtest.h"
#include "tests/engine/tiny_engine.h"

namespace ilre {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

MATCHER_P(HasReason, reason, "") {
  *result_listener << StatusOf(arg).ToString();
  return ErrorReason(StatusOf(arg)) == reason;
}

constexpr char kQuestion[] = "Which lamp stood at the quarry in 1204?";

const TinyEngine& Engine() {
  static const TinyEngine* const engine = new TinyEngine();
  return *engine;
}

// Vectors that depend on a token alone, words and a second look: nothing here asks what stands around a sentence.
void WithoutContext(RetrievalProfile* profile) {
  Random random(8);
  profile->heads = {RandomProbe(Engine().config(), &random, 0, 64, VectorType::kBf16)};
  profile->lexical.weight = 0.7f;
  profile->neighbour_weight = 0;
  profile->second_look.max_looks = 2;
  profile->prompt_floor = 0.6f;
}

std::string Sentences(uint64_t seed, int count) {
  static constexpr const char* kWords[] = {"harbour", "lamp", "quarry", "north", "1204", "paper", "river", "letter"};
  Random random(seed);
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += absl::StrCat("Entry ", random.Below(300), ":");
    for (uint64_t words = 3 + random.Below(8); words > 0; --words) absl::StrAppend(&text, " ", kWords[random.Below(8)]);
    text += ".\n";
  }
  return text;
}

// Without what stands before its end, up to whole blocks: a word that runs on into the next block counts as two.
std::string WholeBlocks(std::string text) {
  while (Engine().tokenizer().EncodeIds(text).size() % kBlockTokens != 0) text.erase(text.size() - 3, 1);
  return text;
}

// A store that lets something happen before blocks are visited.
class InterruptedStore final : public KeyStoreReader {
 public:
  explicit InterruptedStore(KeyStore* store) : store_(*store) {}

  std::function<void()> before_visit;

  absl::StatusOr<DocumentRow> GetDocument(absl::string_view collection, absl::string_view document) const override {
    return store_.GetDocument(collection, document);
  }
  absl::StatusOr<Page> ListDocuments(absl::string_view collection, int size, absl::string_view after) const override {
    return store_.ListDocuments(collection, size, after);
  }
  absl::Status VisitBlocks(const DocumentRow& row, uint32_t begin, uint32_t end,
                           const std::function<absl::Status(const BlockView&)>& visit) const override {
    if (before_visit) before_visit();
    return store_.VisitBlocks(row, begin, end, visit);
  }
  absl::Status VisitLexical(const DocumentRow& row, uint32_t begin, uint32_t end,
                            const std::function<absl::Status(uint32_t, const LexicalData&)>& visit) const override {
    return store_.VisitLexical(row, begin, end, visit);
  }
  absl::StatusOr<std::string> ReadText(const DocumentRow& row, uint32_t begin, uint32_t end) const override {
    return store_.ReadText(row, begin, end);
  }
  absl::StatusOr<std::string> ReadState(const DocumentRow& row) const override { return store_.ReadState(row); }
  absl::StatusOr<Stats> GetStats() const override { return store_.GetStats(); }
  absl::Status Refresh() override { return store_.Refresh(); }

 private:
  KeyStore& store_;
};

class DocumentSearchTest : public ::testing::Test {
 protected:
  DocumentRow Ingest(const std::string& collection, const std::string& name, const std::string& text) {
    auto row = IngestWhole(*store_, *model_, collection, name, text);
    EXPECT_TRUE(row.ok()) << row.status();
    return *std::move(row);
  }

  TempFolder folder_;
  const std::unique_ptr<RetrievalModel> model_ = Engine().With(WithoutContext);
  const std::unique_ptr<KeyStore> store_ = *OpenKeyStore(folder_.path(), {});
  const Retriever retriever_{*model_, *store_};
};

// What was recalled, token by token: place in all texts one after the other -> score, whether in the prompt.
std::map<uint64_t, std::pair<float, bool>> RecalledTokens(const DocumentSearch& search) {
  std::vector<uint64_t> begins = {0};
  for (const DocumentRow& row : search.documents) begins.push_back(begins.back() + row.num_tokens);
  std::map<uint64_t, std::pair<float, bool>> tokens;
  for (const RecalledSpan& span : search.retrieval.spans) {
    for (uint32_t t = span.token_begin; t < span.token_end; ++t) {
      tokens[begins[span.document] + t] = {span.score, span.in_prompt};
    }
  }
  return tokens;
}

TEST_F(DocumentSearchTest, ACollectionAnswersAsOneLongDocument) {
  std::string all;
  for (int i = 0; i < 20; ++i) {
    const std::string text = WholeBlocks(Sentences(100 + i, 10 + i));
    Ingest("parts", absl::StrCat("d", 10 + i), text);
    all += text;
  }
  const DocumentRow whole = Ingest("whole", "d", all);
  for (const int budget : {20, 100, 400}) {
    ILRE_ASSERT_OK_AND_ASSIGN(const DocumentSearch parts, SearchDocuments(retriever_, *store_, {{"parts", "", "parts"}},
                                                                          kQuestion, {.budget = budget}));
    ILRE_ASSERT_OK_AND_ASSIGN(const DocumentSearch one, SearchDocuments(retriever_, *store_, {{"whole", "d", "d"}},
                                                                        kQuestion, {.budget = budget}));
    ASSERT_EQ(parts.documents.size(), 20u);
    ASSERT_EQ(parts.retrieval.document_tokens, whole.num_tokens) << "no token may lie across two documents";
    const auto of_parts = RecalledTokens(parts), of_one = RecalledTokens(one);
    ASSERT_EQ(of_parts.size(), of_one.size());
    EXPECT_GT(parts.retrieval.looks, 1);
    for (const auto& [token, recalled] : of_parts) {
      ASSERT_EQ(of_one.count(token), 1u) << token;
      EXPECT_EQ(of_one.at(token).second, recalled.second);
      EXPECT_GE(of_one.at(token).first, recalled.first);  // neighbours across documents became one span of the whole
    }
    for (const RecalledSpan& span : parts.retrieval.spans) EXPECT_NE(all.find(span.text), std::string::npos);
  }
}

TEST_F(DocumentSearchTest, NamesAndCollectionsEachOnceAndInOrder) {
  Ingest("c", "b", "A lamp.");
  Ingest("c", "a", "A quarry.");
  Ingest("other", "z", "A river.");
  ILRE_ASSERT_OK_AND_ASSIGN(
      const auto rows,
      FindDocuments(*store_, {{"other", "z", "other/z"}, {"c", "b", "c/b"}, {"c", "", "c"}, {"c", "a", "c/a"}},
                    nullptr));
  std::string names;
  for (const DocumentRow& row : rows) absl::StrAppend(&names, row.collection, "/", row.document, " ");
  EXPECT_EQ(names, "other/z c/b c/a ");
  const auto missing = FindDocuments(*store_, {{"c", "a", "c/a"}, {"c", "none", "RESOURCE"}}, nullptr);
  EXPECT_THAT(missing, HasReason("DOCUMENT_NOT_FOUND"));
  EXPECT_EQ(DetailsOf(missing.status()).resource, "RESOURCE");
  EXPECT_THAT(FindDocuments(*store_, {{"nobody", "", "nobody"}}, nullptr),
              AllOf(HasReason("COLLECTION_EMPTY"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("nobody"))));
  EXPECT_THAT(FindDocuments(*store_, {{"c", "", "c"}}, [] { return true; }), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(DocumentSearchTest, WhatLeavesACollectionMeanwhileIsNotSearched) {
  for (const char* name : {"a", "b", "c"}) Ingest("c", name, Sentences(name[0], 5));
  InterruptedStore store(store_.get());
  const Retriever retriever(*model_, store);
  const std::vector<SearchTarget> collection = {{"c", "", "c"}}, named = {{"c", "a", "c/a"}, {"c", "b", "c/b"}};
  int deletions = 0;
  store.before_visit = [&] {
    if (deletions++ > 0) return;
    ILRE_EXPECT_OK(store_->DeleteDocument("c", "b"));
  };
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentSearch search, SearchDocuments(retriever, store, collection, kQuestion, {}));
  EXPECT_EQ(search.documents.size(), 2u);
  // Replaced: another document of the same name is searched instead.
  deletions = 0;
  store.before_visit = [&] {
    if (deletions++ > 0) return;
    ILRE_EXPECT_OK(store_->DeleteDocument("c", "c"));
    Ingest("c", "c", "The lamp stood at the quarry in 1204.\n");
  };
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentSearch again, SearchDocuments(retriever, store, collection, kQuestion, {}));
  EXPECT_EQ(again.documents.size(), 2u);
  EXPECT_EQ(again.documents[1].num_blocks, 1u);
  EXPECT_EQ(again.retrieval.spans.back().text, "The lamp stood at the quarry in 1204.\n");
  // One that was asked for by name is missed.
  Ingest("c", "b", Sentences(7, 5));
  deletions = 0;
  store.before_visit = [&] {
    if (deletions++ > 0) return;
    ILRE_EXPECT_OK(store_->DeleteDocument("c", "b"));
  };
  EXPECT_THAT(SearchDocuments(retriever, store, named, kQuestion, {}), HasReason("DOCUMENT_NOT_FOUND"));
  // A collection that never stands still ends in an error, not in endless searching.
  int visits = 0;
  store.before_visit = [&] {
    ++visits;
    ILRE_ASSERT_OK(store_->DeleteDocument("c", "a"));
    Ingest("c", "a", Sentences(static_cast<uint64_t>(visits), 5));
  };
  ILRE_ASSERT_OK(store_->DeleteDocument("c", "c"));
  EXPECT_THAT(SearchDocuments(retriever, store, collection, kQuestion, {}), HasReason("DOCUMENT_NOT_FOUND"));
  EXPECT_EQ(visits, 4);
}

TEST_F(DocumentSearchTest, DocumentsOfAnotherProfileAreCounted) {
  Ingest("c", "a", "A lamp.");
  const auto other = Engine().With([](RetrievalProfile* profile) {
    WithoutContext(profile);
    profile->window = 50;
  });
  for (const char* name : {"b", "d"}) {
    const auto row = IngestWhole(*store_, *other, "c", name, "A quarry.");
    ILRE_ASSERT_OK(row);
  }
  EXPECT_THAT(SearchDocuments(retriever_, *store_, {{"c", "", "c"}}, kQuestion, {}),
              AllOf(HasReason("MODEL_MISMATCH"), StatusIs(absl::StatusCode::kFailedPrecondition,
                                                          AllOf(HasSubstr("2 of 3 documents"), HasSubstr("c/b")))));
}

}  // namespace
}  // namespace ilre
