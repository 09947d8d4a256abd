#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/asker.h"
#include "cli/document_name.h"
#include "cli/report/ask_report.h"
#include "cli/report/report_page.h"
#include "cli/server_connection.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"

namespace ilre::cli {
namespace {

constexpr int kReportParts = 512;        // scores of a document in a report
constexpr uint64_t kContextBytes = 400;  // text shown before and behind a passage

FinishReason ReasonOf(v1::Finish::Reason reason) {
  switch (reason) {
    case v1::Finish::STOP_STRING:
      return FinishReason::kStopString;
    case v1::Finish::MAX_TOKENS:
      return FinishReason::kMaxTokens;
    case v1::Finish::CONTEXT_FULL:
      return FinishReason::kContextFull;
    default:
      return FinishReason::kEndToken;
  }
}

absl::Status TakeSpans(const google::protobuf::RepeatedPtrField<v1::Span>& spans, Answer* answer) {
  std::map<std::string, uint32_t> index;
  for (const v1::Span& span : spans) {
    const auto [place, is_new] = index.emplace(span.document(), static_cast<uint32_t>(answer->documents.size()));
    if (is_new) {
      ILRE_ASSIGN_OR_RETURN(const DocumentName name, FromResourceName(span.document()));
      DocumentRow& row = answer->documents.emplace_back();
      row.collection = name.collection;
      row.document = name.document;
    }
    RecalledSpan& out = answer->retrieval.spans.emplace_back();
    out.document = place->second;
    out.token_begin = static_cast<uint32_t>(span.token_begin());
    out.token_end = static_cast<uint32_t>(span.token_end());
    out.byte_begin = static_cast<uint64_t>(span.byte_begin());
    out.byte_end = static_cast<uint64_t>(span.byte_end());
    out.score = span.score();
    out.in_prompt = span.in_prompt();
    out.text = span.text();
  }
  return absl::OkStatus();
}

void TakeWordCounts(const v1::WordCounts& counts, Answer* answer) {
  for (const v1::WordCounts::Word& word : counts.words()) {
    answer->retrieval.word_counts.words.push_back({word.word(), static_cast<uint64_t>(word.count())});
  }
  answer->retrieval.word_counts.total = static_cast<uint64_t>(counts.total());
}

void TakeTimings(const v1::Timings& timings, Answer* answer) {
  answer->retrieval.query_ms = timings.query_ms();
  answer->retrieval.score_ms = timings.score_ms();
  answer->retrieval.second_look_ms = timings.second_look_ms();
  answer->retrieval.rerank_ms = timings.rerank_ms();
  answer->generation.prefill_ms = timings.prefill_ms();
  answer->first_token_ms = timings.first_token_ms();
  answer->total_ms = timings.total_ms();
}

class RemoteAsker final : public Asker {
 public:
  RemoteAsker(std::unique_ptr<ServerConnection> connection, const AskArguments& arguments)
      : connection_(std::move(connection)), arguments_(arguments) {}

  absl::StatusOr<Answer> Ask(const Question& question, const std::function<void(const Answer&)>& on_spans,
                             const std::function<absl::Status(absl::string_view)>& emit) const override {
    Answer answer;
    ILRE_ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesOf(question));
    ILRE_RETURN_IF_ERROR(question.max_tokens > 0 ? Generate(question, names, on_spans, emit, &answer)
                                                 : Retrieve(question, names, on_spans, &answer));
    return answer;
  }

  absl::Status WriteReport(const Question& question, const Answer& answer, const std::string& path) const override {
    AskReport report;
    report.question = question.text;
    report.answer = answer.generation.text;
    if (question.max_tokens > 0) report.finish_reason = std::string(FinishReasonName(answer.generation.reason));
    report.num_documents = answer.documents.size();
    report.document_tokens = answer.retrieval.document_tokens;
    report.recalled_tokens = answer.retrieval.recalled_tokens;
    report.prompt_tokens = answer.prompt_tokens;
    report.answer_tokens = answer.generation.num_tokens;
    report.query_ms = answer.retrieval.query_ms;
    report.score_ms = answer.retrieval.score_ms;
    report.rerank_ms = answer.retrieval.rerank_ms;
    report.prefill_ms = answer.generation.prefill_ms;
    report.first_token_ms = answer.first_token_ms;
    report.total_ms = answer.total_ms;
    const size_t drawn = std::min<size_t>(answer.documents.size(), kMaxDrawnDocuments);
    for (size_t i = 0; i < drawn; ++i) {
      ILRE_ASSIGN_OR_RETURN(ScoredDocument scored, ScoreDocument(question, answer.documents[i]));
      report.documents.push_back(std::move(scored));
    }
    for (const RecalledSpan& span : answer.retrieval.spans) {
      ILRE_ASSIGN_OR_RETURN(Passage passage, ReadPassage(answer.documents[span.document], span));
      report.recalled.push_back(std::move(passage));
    }
    return Annotate(WriteFileAtomically(path, RenderReport(report)), absl::StrCat("cannot write the report ", path));
  }

  double load_ms() const override { return 0; }

 private:
  absl::StatusOr<std::vector<std::string>> NamesOf(const Question& question) const {
    std::vector<std::string> names;
    for (const std::string& text : question.documents) {
      ILRE_ASSIGN_OR_RETURN(const DocumentName name, ParseDocumentName(text, question.collection, /*allow_all=*/true));
      names.push_back(ResourceName(name));
    }
    if (names.empty()) names.push_back(ResourceName({question.collection, kAllDocuments}));
    return names;
  }

  absl::Status Retrieve(const Question& question, const std::vector<std::string>& names,
                        const std::function<void(const Answer&)>& on_spans, Answer* answer) const {
    v1::RetrieveRequest request;
    request.mutable_names()->Assign(names.begin(), names.end());
    request.set_question(question.text);
    request.set_budget(question.budget);
    request.set_single_look(question.one_look);
    v1::RetrieveResponse response;
    grpc::ClientContext context;
    connection_->Prepare(&context);
    const CancelOnInterrupt cancel(&context);
    ILRE_RETURN_IF_ERROR(connection_->Explain(connection_->retriever().Retrieve(&context, request, &response)));
    ILRE_RETURN_IF_ERROR(TakeSpans(response.spans(), answer));
    answer->retrieval.document_tokens = static_cast<uint64_t>(response.document_tokens());
    answer->retrieval.recalled_tokens = static_cast<int>(response.recalled_tokens());
    answer->retrieval.looks = response.look_count();
    TakeWordCounts(response.word_counts(), answer);
    TakeTimings(response.timings(), answer);
    if (on_spans) on_spans(*answer);
    return absl::OkStatus();
  }

  absl::Status Generate(const Question& question, const std::vector<std::string>& names,
                        const std::function<void(const Answer&)>& on_spans,
                        const std::function<absl::Status(absl::string_view)>& emit, Answer* answer) const {
    v1::GenerateRequest request;
    request.mutable_names()->Assign(names.begin(), names.end());
    request.set_question(question.text);
    request.set_budget(question.budget);
    request.set_single_look(question.one_look);
    request.set_instruction(question.instruction);
    request.set_answer_prefix(question.answer_prefix);
    request.set_max_tokens(question.max_tokens);
    request.mutable_stop()->Assign(arguments_.stop.begin(), arguments_.stop.end());
    v1::Sampling& sampling = *request.mutable_sampling();
    sampling.set_temperature(arguments_.sampling.temperature);
    sampling.set_top_p(arguments_.sampling.top_p);
    sampling.set_top_k(arguments_.sampling.top_k);
    sampling.set_seed(arguments_.sampling.seed);
    sampling.set_repetition_penalty(arguments_.sampling.repetition_penalty);
    grpc::ClientContext context;
    connection_->Prepare(&context);
    const CancelOnInterrupt cancel(&context);
    const auto reader = connection_->generator().Generate(&context, request);
    v1::GenerateResponse event;
    absl::Status status;
    while (status.ok() && reader->Read(&event)) status = TakeEvent(event, on_spans, emit, answer);
    if (!status.ok()) context.TryCancel();
    const absl::Status finished = connection_->Explain(reader->Finish());
    return status.ok() ? finished : status;
  }

  static absl::Status TakeEvent(const v1::GenerateResponse& event, const std::function<void(const Answer&)>& on_spans,
                                const std::function<absl::Status(absl::string_view)>& emit, Answer* answer) {
    if (event.has_recall()) {
      ILRE_RETURN_IF_ERROR(TakeSpans(event.recall().spans(), answer));
      answer->retrieval.document_tokens = static_cast<uint64_t>(event.recall().document_tokens());
      answer->retrieval.recalled_tokens = static_cast<int>(event.recall().recalled_tokens());
      answer->retrieval.looks = event.recall().look_count();
      TakeWordCounts(event.recall().word_counts(), answer);
      answer->prompt_tokens = static_cast<int>(event.recall().prompt_tokens());
      if (on_spans) on_spans(*answer);
    } else if (event.has_finish()) {
      answer->generation.reason = ReasonOf(event.finish().reason());
      answer->generation.num_tokens = static_cast<int>(event.finish().answer_tokens());
      TakeTimings(event.finish().timings(), answer);
    } else if (!event.text().empty()) {
      answer->generation.text += event.text();
      if (emit) return emit(event.text());
    }
    return absl::OkStatus();
  }

  absl::StatusOr<ScoredDocument> ScoreDocument(const Question& question, const DocumentRow& row) const {
    v1::ScoreDocumentRequest request;
    request.set_name(ResourceName({row.collection, row.document}));
    request.set_question(question.text);
    request.set_part_count(kReportParts);
    v1::ScoreDocumentResponse response;
    grpc::ClientContext context;
    connection_->Prepare(&context);
    ILRE_RETURN_IF_ERROR(connection_->Explain(connection_->retriever().ScoreDocument(&context, request, &response)));
    v1::GetDocumentRequest get;
    get.set_name(request.name());
    v1::Document document;
    grpc::ClientContext get_context;
    connection_->Prepare(&get_context);
    ILRE_RETURN_IF_ERROR(connection_->Explain(connection_->encoder().GetDocument(&get_context, get, &document)));
    ScoredDocument scored;
    scored.name = absl::StrCat(row.collection, "/", row.document);
    scored.num_tokens = static_cast<uint64_t>(document.token_count());
    for (const auto& part : response.parts()) scored.scores.push_back(part.score());
    if (!scored.scores.empty()) scored.best_score = *std::max_element(scored.scores.begin(), scored.scores.end());
    return scored;
  }

  absl::StatusOr<Passage> ReadPassage(const DocumentRow& row, const RecalledSpan& span) const {
    v1::ReadTextRequest request;
    request.set_name(ResourceName({row.collection, row.document}));
    const uint64_t begin = span.byte_begin - std::min(span.byte_begin, kContextBytes);
    request.set_byte_begin(static_cast<int64_t>(begin));
    request.set_byte_count(static_cast<int32_t>(std::min<uint64_t>(span.byte_end - begin + kContextBytes, 1 << 20)));
    v1::ReadTextResponse response;
    grpc::ClientContext context;
    connection_->Prepare(&context);
    ILRE_RETURN_IF_ERROR(connection_->Explain(connection_->retriever().ReadText(&context, request, &response)));
    const auto at = static_cast<uint64_t>(response.byte_begin());
    Passage passage{.document = absl::StrCat(row.collection, "/", row.document),
                    .token_begin = span.token_begin,
                    .token_end = span.token_end,
                    .byte_begin = span.byte_begin,
                    .byte_end = span.byte_end,
                    .score = span.score,
                    .in_prompt = span.in_prompt,
                    .text = span.text};
    const std::string& text = response.text();
    if (span.byte_begin >= at) passage.before = text.substr(0, std::min<uint64_t>(text.size(), span.byte_begin - at));
    if (span.byte_end - at < text.size()) passage.after = text.substr(span.byte_end - at);
    return passage;
  }

  const std::unique_ptr<ServerConnection> connection_;
  const AskArguments& arguments_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Asker>> OpenRemoteAsker(const Settings& settings, const AskArguments& arguments) {
  ILRE_ASSIGN_OR_RETURN(auto connection, ServerConnection::Open(settings));
  return std::make_unique<RemoteAsker>(std::move(connection), arguments);
}

}  // namespace ilre::cli
