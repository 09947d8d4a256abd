#include "retriever_service/retriever_handler.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/api/resource_name.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/utf8.h"
#include "retriever_service/score_map.h"
#include "retriever_service/text_reader.h"

namespace ilre {
namespace {

constexpr int kMaxNames = 10'000, kMaxBudget = 1 << 20;
constexpr int kDefaultParts = 512, kMaxParts = 4096;
constexpr int kDefaultTextBytes = 64 << 10, kMaxTextBytes = 1 << 20;

// What is still wrong with a request whose other fields were checked is its question.
absl::Status OfQuestion(const absl::Status& status) {
  return absl::IsInvalidArgument(status) ? WithField(status, "question") : status;
}

v1::WordCounts ToProto(const WordCounts& counts) {
  v1::WordCounts proto;
  for (const WordCounts::Word& word : counts.words) {
    v1::WordCounts::Word* out = proto.add_words();
    out->set_word(Utf8Repaired(word.word));
    out->set_count(static_cast<int64_t>(word.count));
  }
  proto.set_total(static_cast<int64_t>(counts.total));
  return proto;
}

}  // namespace

absl::StatusOr<std::vector<SearchTarget>> RetrieverHandler::ParseNames(const CallContext& context,
                                                                       const v1::RetrieveRequest& request) {
  if (request.names().empty()) return errors::InvalidField("names", "is empty");
  if (request.names_size() > kMaxNames) {
    return errors::InvalidField("names", absl::StrCat("has ", request.names_size(), " names; at most ", kMaxNames));
  }
  std::vector<SearchTarget> targets;
  for (int i = 0; i < request.names_size(); ++i) {
    const std::string field = absl::StrCat("names[", i, "]");
    ILRE_ASSIGN_OR_RETURN(StoredName name,
                          ParseDocumentName(request.names(i), context.tenant, field, /*allow_all=*/true));
    if (name.document == kAllDocuments) name.document.clear();
    targets.push_back({std::move(name.collection), std::move(name.document), request.names(i)});
  }
  return targets;
}

absl::Status RetrieverHandler::Retrieve(const CallContext& context, const v1::RetrieveRequest& request,
                                        v1::RetrieveResponse* response) {
  const double queue_ms = context.MsSinceArrival();
  if (request.budget() < 0 || request.budget() > kMaxBudget) {
    return errors::InvalidField("budget", absl::StrCat("is ", request.budget(), ", outside 0 to ", kMaxBudget));
  }
  if (request.question().empty()) return errors::InvalidField("question", "is empty");
  ILRE_ASSIGN_OR_RETURN(const std::vector<SearchTarget> targets, ParseNames(context, request));
  RetrieveOptions options;
  options.budget = request.budget();
  options.one_look = request.single_look();
  options.should_stop = [&] { return context.ShouldStop(); };
  const auto search = SearchDocuments(retriever_, store_, targets, request.question(), options);
  if (absl::IsCancelled(search.status())) ILRE_RETURN_IF_ERROR(context.Check("the search"));
  if (!search.ok()) return HideTenant(OfQuestion(search.status()), context.tenant);
  const Retrieval& retrieval = search->retrieval;
  for (const RecalledSpan& span : retrieval.spans) {
    v1::Span* out = response->add_spans();
    const DocumentRow& row = search->documents[span.document];
    out->set_document(DocumentResourceName(row.collection, row.document));
    out->set_token_begin(span.token_begin);
    out->set_token_end(span.token_end);
    out->set_byte_begin(static_cast<int64_t>(span.byte_begin));
    out->set_byte_end(static_cast<int64_t>(span.byte_end));
    out->set_score(span.score);
    out->set_in_prompt(span.in_prompt);
    out->set_text(Utf8Repaired(span.text));
    if (request.include_token_ids()) out->mutable_token_ids()->Assign(span.ids.begin(), span.ids.end());
  }
  response->set_document_tokens(static_cast<int64_t>(retrieval.document_tokens));
  response->set_document_count(static_cast<int64_t>(search->documents.size()));
  response->set_recalled_tokens(retrieval.recalled_tokens);
  v1::Timings* timings = response->mutable_timings();
  timings->set_queue_ms(queue_ms);
  timings->set_query_ms(retrieval.query_ms);
  timings->set_score_ms(retrieval.score_ms);
  response->set_look_count(retrieval.looks);
  if (!retrieval.word_counts.words.empty()) *response->mutable_word_counts() = ToProto(retrieval.word_counts);
  timings->set_second_look_ms(retrieval.second_look_ms);
  timings->set_rerank_ms(retrieval.rerank_ms);
  timings->set_total_ms(context.MsSinceArrival());
  return absl::OkStatus();
}

absl::Status RetrieverHandler::ScoreDocument(const CallContext& context, const v1::ScoreDocumentRequest& request,
                                             v1::ScoreDocumentResponse* response) {
  if (request.part_count() < 0 || request.part_count() > kMaxParts) {
    return errors::InvalidField("part_count", absl::StrCat("is ", request.part_count(), ", outside 0 to ", kMaxParts));
  }
  ILRE_ASSIGN_OR_RETURN(const StoredName name, ParseDocumentName(request.name(), context.tenant, "name"));
  if (request.question().empty()) return errors::InvalidField("question", "is empty");
  const auto score = [&]() -> absl::Status {
    ILRE_ASSIGN_OR_RETURN(const DocumentRow row, store_.GetDocument(name.collection, name.document));
    ILRE_ASSIGN_OR_RETURN(const auto segments, retriever_.ScoreAll({row}, request.question()));
    ILRE_ASSIGN_OR_RETURN(
        const auto parts,
        MapScores(store_, row, segments, request.part_count() == 0 ? kDefaultParts : request.part_count()));
    for (const ScorePart& part : parts) {
      v1::ScoreDocumentResponse::Part* out = response->add_parts();
      out->set_byte_begin(static_cast<int64_t>(part.byte_begin));
      out->set_byte_end(static_cast<int64_t>(part.byte_end));
      out->set_score(part.score);
    }
    return absl::OkStatus();
  };
  return WithResource(HideTenant(OfQuestion(score()), context.tenant), request.name());
}

absl::Status RetrieverHandler::ReadText(const CallContext& context, const v1::ReadTextRequest& request,
                                        v1::ReadTextResponse* response) {
  if (request.byte_begin() < 0) return errors::InvalidField("byte_begin", "is negative");
  if (request.byte_count() < 0 || request.byte_count() > kMaxTextBytes) {
    return errors::InvalidField("byte_count",
                                absl::StrCat("is ", request.byte_count(), ", outside 0 to ", kMaxTextBytes));
  }
  ILRE_ASSIGN_OR_RETURN(const StoredName name, ParseDocumentName(request.name(), context.tenant, "name"));
  const auto read = [&]() -> absl::Status {
    ILRE_ASSIGN_OR_RETURN(const DocumentRow row, store_.GetDocument(name.collection, name.document));
    if (row.state != DocumentState::kReady) {
      return MakeError(absl::StatusCode::kFailedPrecondition, "DOCUMENT_NOT_READY",
                       absl::StrCat("document ", request.name(), " is ", DocumentStateName(row.state)));
    }
    const int count = request.byte_count() == 0 ? kDefaultTextBytes : std::max(4, request.byte_count());
    ILRE_ASSIGN_OR_RETURN(TextPiece piece, ReadTextPiece(store_, row, static_cast<uint64_t>(request.byte_begin()),
                                                         static_cast<uint64_t>(count)));
    response->set_text(std::move(piece.text));
    response->set_byte_begin(static_cast<int64_t>(piece.byte_begin));
    response->set_document_bytes(static_cast<int64_t>(row.committed_bytes));
    return absl::OkStatus();
  };
  return WithResource(HideTenant(read(), context.tenant), request.name());
}

}  // namespace ilre
