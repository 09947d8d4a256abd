// The Encoder's handler over a real store and a small model: offsets, comparison, replacement, tenants.
#include "encoder_service/encoder_handler.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/base/errors.h"
#include "common/base/test_matchers.h"
#include "common/store/test_documents.h"
#include "gtest/gtest.h"
#include "tests/engine/tiny_engine.h"

namespace ilre {
namespace {

constexpr char kName[] = "collections/c/documents/d";

MATCHER_P(HasReason, reason, "") {
  *result_listener << StatusOf(arg).ToString();
  return ErrorReason(StatusOf(arg)) == reason;
}

const TinyEngine& Engine() {
  static const TinyEngine* const engine = new TinyEngine();
  return *engine;
}

v1::IngestDocumentRequest Piece(uint64_t offset, absl::string_view data, bool finish = false) {
  v1::IngestDocumentRequest message;
  message.set_name(kName);
  message.set_write_offset(static_cast<int64_t>(offset));
  message.set_data(std::string(data));
  message.set_finish_write(finish);
  return message;
}

class EncoderHandlerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ILRE_ASSERT_OK_AND_ASSIGN(store_, OpenKeyStore(folder_.path(), {}));
    limits_.commit_blocks = 2;
    limits_.max_document_bytes = 1 << 20;
    handler_ = std::make_unique<EncoderHandler>(*store_, Engine().model(), limits_);
  }

  // One call with these messages. OK only if it ended well.
  absl::Status Call(const std::vector<v1::IngestDocumentRequest>& messages, v1::IngestProgress* last = nullptr,
                    const std::string& tenant = "") {
    CallContext context;
    context.tenant = tenant;
    const auto session = handler_->NewIngest(context, [&](const v1::IngestProgress& progress) {
      EXPECT_GT(progress.committed_bytes(), acknowledged_);
      acknowledged_ = progress.committed_bytes();
    });
    acknowledged_ = 0;
    for (const v1::IngestDocumentRequest& message : messages) {
      if (absl::Status status = session->Take(message); !status.ok()) {
        session->Abandon();
        return status;
      }
    }
    v1::IngestProgress progress;
    absl::Status status = session->End(&progress);
    if (last != nullptr) *last = progress;
    return status;
  }

  DocumentContent Content(absl::string_view collection = "c") {
    auto content = ReadContent(*store_, collection, "d");
    ILRE_EXPECT_OK(content);
    return content.ok() ? *std::move(content) : DocumentContent();
  }
  DocumentContent Expected(absl::string_view text) {
    ILRE_EXPECT_OK(IngestWhole(*store_, Engine().model(), "expected", "d", text));
    DocumentContent content = Content("expected");
    ILRE_EXPECT_OK(store_->DeleteDocument("expected", "d"));
    return content;
  }
  void ExpectStored(absl::string_view text) {
    const DocumentContent expected = Expected(text), content = Content();
    EXPECT_EQ(content.text, expected.text);
    EXPECT_EQ(content.blocks, expected.blocks);
    EXPECT_EQ(content.row.state, DocumentState::kReady);
  }

  TempFolder folder_;
  std::unique_ptr<KeyStore> store_;
  EncoderLimits limits_;
  std::unique_ptr<EncoderHandler> handler_;
  int64_t acknowledged_ = 0;
  Random random_{7};
};

TEST_F(EncoderHandlerTest, WholeDocumentInOneCall) {
  const std::string text = MadeUpText(&random_, 5000);
  v1::IngestProgress last;
  ILRE_ASSERT_OK(Call({Piece(0, text.substr(0, 2000)), Piece(2000, text.substr(2000), true)}, &last));
  EXPECT_EQ(last.committed_bytes(), static_cast<int64_t>(text.size()));
  EXPECT_EQ(last.document().state(), v1::Document::READY);
  EXPECT_EQ(last.document().name(), kName);
  EXPECT_EQ(last.computed_tokens(), last.token_count());
  ExpectStored(text);
}

TEST_F(EncoderHandlerTest, ResumesAnywhereInWhatIsStored) {
  const std::string text = MadeUpText(&random_, 6000);
  for (const size_t resume_at : {size_t{0}, size_t{1}, size_t{1500}, size_t{3000}}) {
    ILRE_ASSERT_OK(Call({Piece(0, text.substr(0, 3000))}));  // ends without finish_write
    v1::IngestProgress status;
    v1::GetIngestStatusRequest request;
    request.set_name(kName);
    ILRE_ASSERT_OK(handler_->GetIngestStatus({}, request, &status));
    EXPECT_EQ(status.committed_bytes(), 3000);
    EXPECT_EQ(status.document().state(), v1::Document::INGESTING);
    ILRE_ASSERT_OK(Call({Piece(resume_at, text.substr(resume_at), true)}));
    ExpectStored(text);
    ILRE_ASSERT_OK(store_->DeleteDocument("c", "d"));
  }
}

TEST_F(EncoderHandlerTest, TheSameContentAgainComputesNothing) {
  const std::string text = MadeUpText(&random_, 3000);
  ILRE_ASSERT_OK(Call({Piece(0, text, true)}));
  const uint64_t revision = Content().row.revision;
  v1::IngestProgress last;
  ILRE_ASSERT_OK(Call({Piece(0, text.substr(0, 10)), Piece(10, text.substr(10), true)}, &last));
  EXPECT_EQ(last.computed_tokens(), 0);
  EXPECT_EQ(last.document().state(), v1::Document::READY);
  EXPECT_EQ(Content().row.revision, revision);
}

TEST_F(EncoderHandlerTest, OtherContentIsRefusedAndNothingChanges) {
  const std::string text = MadeUpText(&random_, 3000);
  ILRE_ASSERT_OK(Call({Piece(0, text, true)}));
  const DocumentContent before = Content();
  EXPECT_THAT(Call({Piece(0, "other", true)}), HasReason("CONTENT_DIFFERS"));
  EXPECT_THAT(Call({Piece(0, text.substr(0, 100), true)}), HasReason("CONTENT_DIFFERS"));  // shorter
  EXPECT_THAT(Call({Piece(0, text + "more", true)}), HasReason("DOCUMENT_EXISTS"));
  EXPECT_THAT(Call({Piece(text.size(), "more", true)}), HasReason("DOCUMENT_EXISTS"));
  EXPECT_EQ(Content(), before);
}

TEST_F(EncoderHandlerTest, ReplaceAndAppend) {
  const std::string text = MadeUpText(&random_, 3000), other = MadeUpText(&random_, 2000);
  ILRE_ASSERT_OK(Call({Piece(0, text, true)}));
  v1::IngestDocumentRequest more = Piece(text.size(), other, true);
  more.mutable_options()->set_append(true);
  ILRE_ASSERT_OK(Call({more}));
  ExpectStored(text + other);
  v1::IngestProgress last;
  ILRE_ASSERT_OK(Call({more}, &last));  // the same again
  EXPECT_EQ(last.computed_tokens(), 0);
  ExpectStored(text + other);
  v1::IngestDocumentRequest anew = Piece(0, other, true);
  anew.mutable_options()->set_replace(true);
  ILRE_ASSERT_OK(Call({anew}));
  ExpectStored(other);
}

TEST_F(EncoderHandlerTest, GapsAndOverlapsNameTheCommittedSize) {
  const std::string text = MadeUpText(&random_, 3000);
  absl::Status status = Call({Piece(5, text)});
  EXPECT_THAT(status, HasReason("OFFSET_GAP"));
  EXPECT_EQ(DetailsOf(status).metadata["committed_bytes"], "0");
  ILRE_ASSERT_OK(Call({Piece(0, text)}));
  status = Call({Piece(text.size() + 7, text)});
  EXPECT_THAT(status, HasReason("OFFSET_GAP"));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_EQ(DetailsOf(status).metadata["committed_bytes"], std::to_string(text.size()));
  EXPECT_THAT(Call({Piece(text.size(), "abc"), Piece(text.size(), "abc")}), HasReason("OFFSET_OVERLAP"));
}

TEST_F(EncoderHandlerTest, WrongMessagesNameTheField) {
  const auto field = [&](const v1::IngestDocumentRequest& message) {
    const absl::Status status = Call({message});
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
    return DetailsOf(status).field;
  };
  v1::IngestDocumentRequest message = Piece(0, "text");
  message.set_name("d");
  EXPECT_EQ(field(message), "name");
  message = Piece(0, "text");
  message.set_write_offset(-1);
  EXPECT_EQ(field(message), "write_offset");
  EXPECT_EQ(field(Piece(0, std::string((1 << 20) + 1, 'a'))), "data");
  message = Piece(0, "text");
  message.mutable_options()->mutable_expire_time()->set_seconds(1);
  EXPECT_EQ(field(message), "options.expire_time");
  message.mutable_options()->mutable_expire_time()->set_seconds(int64_t{1} << 60);
  EXPECT_EQ(field(message), "options.expire_time");
  message = Piece(0, "text");
  message.mutable_options()->set_append(true);
  message.mutable_options()->set_replace(true);
  EXPECT_EQ(field(message), "options.append");
  EXPECT_THAT(Call({}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(EncoderHandlerTest, WhatIsNoTextLeavesNothingBehind) {
  EXPECT_THAT(Call({Piece(0, std::string("a\0b", 3), true)}), HasReason("BINARY_TEXT"));
  EXPECT_THAT(store_->GetDocument("c", "d"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Call({Piece(0, "a\xff", true)}), HasReason("NOT_UTF8"));
  EXPECT_THAT(Call({Piece(0, "", true)}), HasReason("EMPTY_DOCUMENT"));
  EXPECT_THAT(store_->GetDocument("c", "d"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Call({Piece(0, std::string(1 << 20, 'a')), Piece(1 << 20, "b")}), HasReason("DOCUMENT_TOO_LARGE"));
}

TEST_F(EncoderHandlerTest, ANewerCallTakesTheDocumentOver) {
  const std::string text = MadeUpText(&random_, 4000);
  const auto old_call = handler_->NewIngest({}, nullptr);
  ILRE_ASSERT_OK(old_call->Take(Piece(0, text.substr(0, 1000))));
  std::atomic<bool> finished{false};
  std::thread newer([&] {
    ILRE_EXPECT_OK(Call({Piece(0, text, true)}));
    finished = true;
  });
  // The old call notices at its next message, and gives the document back with its end.
  absl::Status status;
  for (uint64_t at = 1000; status.ok() && at < 3000; at += 10) {
    status = old_call->Take(Piece(at, text.substr(at, 10)));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_THAT(status, HasReason("INGEST_TAKEN_OVER"));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kAborted));
  EXPECT_FALSE(finished);
  EXPECT_EQ(handler_->num_ingests(), 1);
  const_cast<std::unique_ptr<IngestSession>&>(old_call).reset();
  newer.join();
  ExpectStored(text);
  EXPECT_EQ(handler_->num_ingests(), 0);
}

TEST_F(EncoderHandlerTest, ACancelledCallStopsAndKeepsWhatWasComputed) {
  const std::string text = MadeUpText(&random_, 40000);
  std::atomic<bool> cancelled{false};
  CallContext context;
  context.cancelled = [&] { return cancelled.load(); };
  auto session = handler_->NewIngest(context, [&](const v1::IngestProgress& progress) {
    acknowledged_ = progress.committed_bytes();
    cancelled = true;
  });
  EXPECT_THAT(session->Take(Piece(0, text)), StatusIs(absl::StatusCode::kCancelled));
  const uint64_t computed = session->computed_tokens();
  session->Abandon();
  EXPECT_EQ(session->computed_tokens(), computed) << "it computed on";
  const DocumentRow row = Content().row;
  EXPECT_EQ(row.num_tokens, computed);
  EXPECT_EQ(row.committed_bytes, session->committed_bytes());
  session.reset();
  const uint64_t committed = row.committed_bytes;
  EXPECT_GT(committed, static_cast<uint64_t>(acknowledged_));
  EXPECT_LT(computed, Expected(text).row.num_tokens);
  ILRE_ASSERT_OK(Call({Piece(committed, text.substr(committed), true)}));
  ExpectStored(text);
}

TEST_F(EncoderHandlerTest, DocumentsOfTenantsDoNotMeet) {
  ILRE_ASSERT_OK(Call({Piece(0, "The text of Ann.", true)}, nullptr, "ann"));
  ILRE_ASSERT_OK(Call({Piece(0, "The text of Bob, another one.", true)}, nullptr, "bob"));
  CallContext ann, bob, carl;
  ann.tenant = "ann";
  bob.tenant = "bob";
  carl.tenant = "carl";
  v1::GetDocumentRequest get;
  get.set_name(kName);
  v1::Document document;
  ILRE_ASSERT_OK(handler_->GetDocument(ann, get, &document));
  EXPECT_EQ(document.committed_bytes(), 16);
  EXPECT_EQ(document.name(), kName);
  EXPECT_THAT(handler_->GetDocument(carl, get, &document), HasReason("DOCUMENT_NOT_FOUND"));
  v1::ListDocumentsRequest list;
  list.set_parent("collections/-");
  for (const auto& [context, count] : {std::pair(ann, 1), std::pair(bob, 1), std::pair(carl, 0)}) {
    v1::ListDocumentsResponse response;
    ILRE_ASSERT_OK(handler_->ListDocuments(context, list, &response));
    EXPECT_EQ(response.documents_size(), count);
    EXPECT_EQ(response.next_page_token(), "");
  }
  v1::DeleteDocumentRequest remove;
  remove.set_name(kName);
  EXPECT_THAT(handler_->DeleteDocument(carl, remove), HasReason("DOCUMENT_NOT_FOUND"));
  ILRE_ASSERT_OK(handler_->DeleteDocument(bob, remove));
  ILRE_ASSERT_OK(handler_->GetDocument(ann, get, &document));
}

TEST_F(EncoderHandlerTest, PagesOfALongList) {
  for (int i = 0; i < 25; ++i) {
    v1::CreateDocumentRequest create;
    create.set_parent(i % 2 == 0 ? "collections/even" : "collections/odd");
    create.set_document_id("d" + std::to_string(100 + i));
    v1::Document document;
    ILRE_ASSERT_OK(handler_->CreateDocument({}, create, &document));
    EXPECT_THAT(handler_->CreateDocument({}, create, &document), StatusIs(absl::StatusCode::kAlreadyExists));
  }
  v1::ListDocumentsRequest list;
  list.set_parent("collections/even");
  list.set_page_size(5);
  std::vector<std::string> names;
  do {
    v1::ListDocumentsResponse response;
    ILRE_ASSERT_OK(handler_->ListDocuments({}, list, &response));
    EXPECT_LE(response.documents_size(), 5);
    for (const v1::Document& document : response.documents()) names.push_back(document.name());
    list.set_page_token(response.next_page_token());
  } while (!list.page_token().empty());
  EXPECT_EQ(names.size(), 13u);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  list.set_page_token("nonsense");
  v1::ListDocumentsResponse response;
  EXPECT_THAT(handler_->ListDocuments({}, list, &response), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(EncoderHandlerTest, ExpiryAndEtags) {
  ILRE_ASSERT_OK(Call({Piece(0, "A text.", true)}));
  v1::UpdateDocumentRequest update;
  update.mutable_document()->set_name(kName);
  update.mutable_document()->mutable_expire_time()->set_seconds(4102444800);
  v1::Document document;
  ILRE_ASSERT_OK(handler_->UpdateDocument({}, update, &document));
  EXPECT_EQ(document.expire_time().seconds(), 4102444800);
  const std::string etag = document.etag();
  update.mutable_document()->set_etag("stale");
  EXPECT_THAT(handler_->UpdateDocument({}, update, &document), HasReason("ETAG_MISMATCH"));
  update.mutable_document()->set_etag(etag);
  update.mutable_document()->clear_expire_time();
  ILRE_ASSERT_OK(handler_->UpdateDocument({}, update, &document));
  EXPECT_FALSE(document.has_expire_time());
  v1::DeleteDocumentRequest remove;
  remove.set_name(kName);
  remove.set_etag(etag);
  EXPECT_THAT(handler_->DeleteDocument({}, remove), HasReason("ETAG_MISMATCH"));
  remove.clear_etag();
  ILRE_ASSERT_OK(handler_->DeleteDocument({}, remove));
  EXPECT_THAT(handler_->DeleteDocument({}, remove), StatusIs(absl::StatusCode::kNotFound));
  remove.set_allow_missing(true);
  ILRE_ASSERT_OK(handler_->DeleteDocument({}, remove));
}

}  // namespace
}  // namespace ilre
