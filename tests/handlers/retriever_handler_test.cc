// The Retriever's handler over a real store and a small model.
#include "retriever_service/retriever_handler.h"

#include <memory>
#include <string>

#include "common/base/errors.h"
#include "common/base/test_matchers.h"
#include "common/base/utf8.h"
#include "common/store/test_documents.h"
#include "gtest/gtest.h"
#include "tests/engine/tiny_engine.h"

namespace ilre {
namespace {

MATCHER_P(HasReason, reason, "") {
  *result_listener << StatusOf(arg).ToString();
  return ErrorReason(StatusOf(arg)) == reason;
}

class RetrieverHandlerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ILRE_ASSERT_OK_AND_ASSIGN(store_, OpenKeyStore(folder_.path(), {}));
    handler_ = std::make_unique<RetrieverHandler>(engine_.model(), *store_);
    Random random(3);
    text_ = MadeUpText(&random, 20000);
    ILRE_ASSERT_OK(IngestWhole(*store_, engine_.model(), "c", "d", text_));
    ILRE_ASSERT_OK(IngestWhole(*store_, engine_.model(), "c", "e", "Another text, a short one."));
    ILRE_ASSERT_OK(IngestWhole(*store_, engine_.model(), "ann.c", "d", "A text of Ann's."));
  }

  TinyEngine engine_;
  TempFolder folder_;
  std::unique_ptr<KeyStore> store_;
  std::unique_ptr<RetrieverHandler> handler_;
  std::string text_;
};

TEST_F(RetrieverHandlerTest, SpansAreTheDocumentsText) {
  v1::RetrieveRequest request;
  request.add_names("collections/c/documents/d");
  request.set_question("harbour of the north?");
  request.set_budget(200);
  request.set_include_token_ids(true);
  v1::RetrieveResponse response;
  ILRE_ASSERT_OK(handler_->Retrieve({}, request, &response));
  ASSERT_GT(response.spans_size(), 0);
  int64_t tokens = 0;
  for (const v1::Span& span : response.spans()) {
    EXPECT_EQ(span.document(), "collections/c/documents/d");
    EXPECT_EQ(span.text(), Utf8Repaired(text_.substr(span.byte_begin(), span.byte_end() - span.byte_begin())));
    EXPECT_EQ(span.token_ids_size(), span.token_end() - span.token_begin());
    tokens += span.token_end() - span.token_begin();
  }
  EXPECT_EQ(tokens, response.recalled_tokens());
  EXPECT_LE(tokens, 200);
  EXPECT_EQ(response.document_count(), 1);
  request.set_include_token_ids(false);
  v1::RetrieveResponse without;
  ILRE_ASSERT_OK(handler_->Retrieve({}, request, &without));
  EXPECT_EQ(without.spans(0).token_ids_size(), 0);
}

TEST_F(RetrieverHandlerTest, WordCountsSayThatWordsWereCounted) {
  ILRE_ASSERT_OK(IngestWhole(*store_, engine_.model(), "c", "w", "Kite and lamp. The kite."));
  v1::RetrieveRequest request;
  request.add_names("collections/c/documents/w");
  request.set_question("Which are the two most common words?");
  v1::RetrieveResponse response;
  ILRE_ASSERT_OK(handler_->Retrieve({}, request, &response));
  ASSERT_EQ(response.word_counts().words_size(), 2);
  EXPECT_EQ(response.word_counts().words(0).word(), "Kite");
  EXPECT_EQ(response.word_counts().words(0).count(), 2);
  EXPECT_EQ(response.word_counts().words(1).word(), "lamp");
  EXPECT_EQ(response.word_counts().words(1).count(), 1);
  EXPECT_EQ(response.word_counts().total(), 3);
  EXPECT_EQ(response.look_count(), 1);
  for (const bool single_look : {true, false}) {
    request.set_single_look(single_look);
    if (!single_look) request.set_question("Where is the kite?");
    v1::RetrieveResponse searched;
    ILRE_ASSERT_OK(handler_->Retrieve({}, request, &searched));
    EXPECT_FALSE(searched.has_word_counts());
  }
}

TEST_F(RetrieverHandlerTest, CollectionsAndDocumentsNamedTwice) {
  v1::RetrieveRequest request;
  request.add_names("collections/c/documents/e");
  request.add_names("collections/c/documents/-");
  request.add_names("collections/c/documents/e");
  request.set_question("short?");
  v1::RetrieveResponse response;
  ILRE_ASSERT_OK(handler_->Retrieve({}, request, &response));
  EXPECT_EQ(response.document_count(), 2);
  request.clear_names();
  request.add_names("collections/nobody/documents/-");
  EXPECT_THAT(handler_->Retrieve({}, request, &response), HasReason("COLLECTION_EMPTY"));
}

TEST_F(RetrieverHandlerTest, TenantsSeeTheirOwn) {
  CallContext ann, bob;
  ann.tenant = "ann";
  bob.tenant = "bob";
  v1::RetrieveRequest request;
  request.add_names("collections/c/documents/d");
  request.set_question("text?");
  v1::RetrieveResponse response;
  ILRE_ASSERT_OK(handler_->Retrieve(ann, request, &response));
  EXPECT_EQ(response.spans(0).text(), "A text of Ann's.");
  EXPECT_EQ(response.spans(0).document(), "collections/c/documents/d");
  EXPECT_THAT(handler_->Retrieve(bob, request, &response), HasReason("DOCUMENT_NOT_FOUND"));
  v1::ReadTextRequest read;
  read.set_name("collections/c/documents/d");
  v1::ReadTextResponse text;
  EXPECT_THAT(handler_->ReadText(bob, read, &text), HasReason("DOCUMENT_NOT_FOUND"));
  v1::ScoreDocumentRequest score;
  score.set_name("collections/c/documents/d");
  score.set_question("text?");
  v1::ScoreDocumentResponse parts;
  EXPECT_THAT(handler_->ScoreDocument(bob, score, &parts), HasReason("DOCUMENT_NOT_FOUND"));
}

TEST_F(RetrieverHandlerTest, PartsCoverTheDocumentAndTheBestHoldsTheBestSegment) {
  v1::ScoreDocumentRequest request;
  request.set_name("collections/c/documents/d");
  request.set_question("harbour lamp?");
  for (const int count : {1, 7, 512, 4096}) {
    request.set_part_count(count);
    v1::ScoreDocumentResponse response;
    ILRE_ASSERT_OK(handler_->ScoreDocument({}, request, &response));
    EXPECT_LE(response.parts_size(), count);
    int64_t at = 0;
    float best = -1e9f;
    for (const auto& part : response.parts()) {
      EXPECT_EQ(part.byte_begin(), at);
      EXPECT_GE(part.byte_end(), at);
      at = part.byte_end();
      best = std::max(best, part.score());
    }
    EXPECT_EQ(at, static_cast<int64_t>(text_.size()));
    v1::RetrieveRequest retrieve;
    retrieve.add_names(request.name());
    retrieve.set_question(request.question());
    v1::RetrieveResponse recalled;
    ILRE_ASSERT_OK(handler_->Retrieve({}, retrieve, &recalled));
    float recalled_best = -1e9f;
    for (const auto& span : recalled.spans()) recalled_best = std::max(recalled_best, span.score());
    EXPECT_FLOAT_EQ(best, recalled_best);
  }
}

TEST_F(RetrieverHandlerTest, TextComesInWholeCharacters) {
  v1::ReadTextRequest request;
  request.set_name("collections/c/documents/d");
  Random random(5);
  for (int i = 0; i < 300; ++i) {
    const auto begin = static_cast<int64_t>(random.Below(text_.size()));
    request.set_byte_begin(begin);
    request.set_byte_count(static_cast<int32_t>(4 + random.Below(3000)));
    v1::ReadTextResponse response;
    ILRE_ASSERT_OK(handler_->ReadText({}, request, &response));
    EXPECT_LE(response.byte_begin(), begin);
    EXPECT_GE(response.byte_begin(), begin - 3);
    EXPECT_EQ(response.text(), text_.substr(response.byte_begin(), response.text().size()));
    EXPECT_EQ(Utf8ValidPrefix(response.text()), response.text().size());
    const int64_t end = response.byte_begin() + static_cast<int64_t>(response.text().size());
    EXPECT_GE(end, std::min<int64_t>(begin + request.byte_count(), static_cast<int64_t>(text_.size())) - 3);
  }
  request.set_byte_begin(static_cast<int64_t>(text_.size()));
  v1::ReadTextResponse response;
  ILRE_ASSERT_OK(handler_->ReadText({}, request, &response));
  EXPECT_EQ(response.text(), "");
  request.set_byte_begin(static_cast<int64_t>(text_.size()) + 1);
  EXPECT_THAT(handler_->ReadText({}, request, &response), StatusIs(absl::StatusCode::kOutOfRange));
}

TEST_F(RetrieverHandlerTest, WrongFieldsAreNamed) {
  const auto field = [&](const v1::RetrieveRequest& request) {
    v1::RetrieveResponse response;
    const absl::Status status = handler_->Retrieve({}, request, &response);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
    return DetailsOf(status).field;
  };
  v1::RetrieveRequest good;
  good.add_names("collections/c/documents/d");
  good.set_question("q");
  v1::RetrieveRequest bad = good;
  bad.clear_names();
  EXPECT_EQ(field(bad), "names");
  bad = good;
  bad.add_names("../etc/passwd");
  EXPECT_EQ(field(bad), "names[1]");
  bad = good;
  bad.clear_question();
  EXPECT_EQ(field(bad), "question");
  bad.set_question(std::string(5'000'000, 'x'));
  EXPECT_EQ(field(bad), "question");
  bad = good;
  bad.set_budget(-1);
  EXPECT_EQ(field(bad), "budget");
  bad.set_budget(2'000'000'000);
  EXPECT_EQ(field(bad), "budget");
}

TEST_F(RetrieverHandlerTest, StopsWhenNobodyWantsTheAnswer) {
  CallContext context;
  context.cancelled = [] { return true; };
  v1::RetrieveRequest request;
  request.add_names("collections/c/documents/d");
  request.set_question("q");
  v1::RetrieveResponse response;
  EXPECT_THAT(handler_->Retrieve(context, request, &response), StatusIs(absl::StatusCode::kCancelled));
  context.cancelled = nullptr;
  context.deadline = absl::Now() - absl::Seconds(1);
  EXPECT_THAT(handler_->Retrieve(context, request, &response), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

}  // namespace
}  // namespace ilre
