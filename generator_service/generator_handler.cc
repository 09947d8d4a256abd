#include "generator_service/generator_handler.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/utf8.h"
#include "generator_service/prompt.h"

namespace ilre {
namespace {

constexpr int kDefaultMaxTokens = 128, kMaxMaxTokens = 1 << 20;
constexpr size_t kMaxWordsBytes = 64 << 10;  // of instruction and answer prefix
constexpr size_t kMaxQuestionBytes = 256 << 10;

absl::Status CheckWords(absl::string_view field, const std::string& text, size_t max_bytes) {
  if (text.size() <= max_bytes) return absl::OkStatus();
  return errors::InvalidField(field, absl::StrCat("has ", text.size(), " bytes; at most ", max_bytes));
}

absl::StatusOr<SamplingOptions> ParseSampling(const v1::Sampling& sampling) {
  SamplingOptions options;
  options.temperature = sampling.temperature();
  if (sampling.top_p() != 0) options.top_p = sampling.top_p();
  options.top_k = sampling.top_k();
  options.seed = sampling.seed();
  if (sampling.repetition_penalty() != 0) options.repetition_penalty = sampling.repetition_penalty();
  const absl::Status status = options.Validate();
  if (!status.ok()) return WithField(status, "sampling");
  return options;
}

absl::StatusOr<GenerateOptions> ParseOptions(const v1::GenerateRequest& request) {
  ILRE_RETURN_IF_ERROR(CheckWords("question", request.question(), kMaxQuestionBytes));
  ILRE_RETURN_IF_ERROR(CheckWords("instruction", request.instruction(), kMaxWordsBytes));
  ILRE_RETURN_IF_ERROR(CheckWords("answer_prefix", request.answer_prefix(), kMaxWordsBytes));
  if (request.question().empty()) return errors::InvalidField("question", "is empty");
  if (request.max_tokens() < 0 || request.max_tokens() > kMaxMaxTokens) {
    return errors::InvalidField("max_tokens",
                                absl::StrCat("is ", request.max_tokens(), ", outside 0 to ", kMaxMaxTokens));
  }
  GenerateOptions options;
  options.max_tokens = request.max_tokens() == 0 ? kDefaultMaxTokens : request.max_tokens();
  options.stop.assign(request.stop().begin(), request.stop().end());
  ILRE_ASSIGN_OR_RETURN(options.sampling, ParseSampling(request.sampling()));
  const absl::Status status = options.Validate();
  if (!status.ok()) return WithField(status, "stop");
  return options;
}

v1::Finish::Reason ReasonToProto(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndToken:
      return v1::Finish::END_TOKEN;
    case FinishReason::kStopString:
      return v1::Finish::STOP_STRING;
    case FinishReason::kMaxTokens:
      return v1::Finish::MAX_TOKENS;
    case FinishReason::kContextFull:
      return v1::Finish::CONTEXT_FULL;
  }
  return v1::Finish::REASON_UNSPECIFIED;
}

// "c/d" of collections/c/documents/d: as `ilre ask` names documents.
std::string ShortName(absl::string_view resource) {
  absl::ConsumePrefix(&resource, "collections/");
  return absl::StrReplaceAll(resource, {{"/documents/", "/"}});
}

// The spans' tokens as they stand in the document.
std::vector<std::vector<TokenId>> TokenIdsOf(const v1::RetrieveResponse& recalled) {
  std::vector<std::vector<TokenId>> ids;
  for (const v1::Span& span : recalled.spans()) ids.emplace_back(span.token_ids().begin(), span.token_ids().end());
  return ids;
}

}  // namespace

absl::Status GeneratorHandler::Generate(const CallContext& context, const v1::GenerateRequest& request,
                                        const Write& write) {
  v1::Timings timings;
  timings.set_queue_ms(context.MsSinceArrival());
  ILRE_ASSIGN_OR_RETURN(GenerateOptions options, ParseOptions(request));
  options.should_stop = [&] { return context.ShouldStop(); };

  v1::RetrieveResponse recalled;
  if (!request.names().empty()) {
    v1::RetrieveRequest question;
    *question.mutable_names() = request.names();
    question.set_question(request.question());
    question.set_budget(request.budget());
    question.set_include_token_ids(true);
    question.set_single_look(request.single_look());
    ILRE_RETURN_IF_ERROR(retrieval_.Retrieve(context, question, &recalled));
  }
  const std::vector<std::vector<TokenId>> ids = TokenIdsOf(recalled);
  ILRE_RETURN_IF_ERROR(CheckIds(ids));
  PromptParts parts;
  parts.question = request.question();
  parts.instruction = request.has_instruction() ? request.instruction() : kDefaultInstruction;
  parts.answer_prefix = request.answer_prefix();
  for (int i = 0; i < recalled.spans_size(); ++i) {
    const v1::Span& span = recalled.spans(i);
    if (!span.in_prompt()) continue;
    parts.context.push_back({.text = span.text(), .ids = ids[i], .after_gap = !parts.context.empty()});
    if (recalled.document_count() > 1) parts.context.back().document = ShortName(span.document());
  }
  const std::vector<TokenId> prompt = BuildPrompt(tokenizer_, chat_, parts);

  v1::GenerateResponse first;
  v1::RetrieveSummary& summary = *first.mutable_recall();
  for (v1::Span& span : *recalled.mutable_spans()) {
    span.clear_token_ids();
    *summary.add_spans() = std::move(span);
  }
  summary.set_document_tokens(recalled.document_tokens());
  summary.set_recalled_tokens(recalled.recalled_tokens());
  summary.set_look_count(recalled.look_count());
  if (recalled.has_word_counts()) *summary.mutable_word_counts() = std::move(*recalled.mutable_word_counts());
  summary.set_prompt_tokens(static_cast<int64_t>(prompt.size()));
  ILRE_RETURN_IF_ERROR(write(first));

  const double before_ms = context.MsSinceArrival();
  auto generation = generator_.Generate(prompt, options, [&](absl::string_view text) {
    v1::GenerateResponse piece;
    piece.set_text(std::string(text));
    return write(piece);
  });
  if (absl::IsCancelled(generation.status())) ILRE_RETURN_IF_ERROR(context.Check("the answer"));
  if (ErrorReason(generation.status()) == "PROMPT_TOO_LONG") return WithField(generation.status(), "budget");
  ILRE_RETURN_IF_ERROR(generation.status());

  v1::GenerateResponse last;
  v1::Finish& finish = *last.mutable_finish();
  finish.set_reason(ReasonToProto(generation->reason));
  finish.set_answer_tokens(generation->num_tokens);
  timings.set_query_ms(recalled.timings().query_ms());
  timings.set_score_ms(recalled.timings().score_ms());
  timings.set_second_look_ms(recalled.timings().second_look_ms());
  timings.set_rerank_ms(recalled.timings().rerank_ms());
  timings.set_prefill_ms(generation->prefill_ms);
  timings.set_first_token_ms(before_ms + generation->first_token_ms);
  timings.set_total_ms(context.MsSinceArrival());
  *finish.mutable_timings() = timings;
  return write(last);
}

absl::Status GeneratorHandler::CheckIds(const std::vector<std::vector<TokenId>>& spans) const {
  for (const std::vector<TokenId>& ids : spans) {
    for (const TokenId id : ids) {
      if (id >= 0 && id < tokenizer_.vocab_size()) continue;
      return MakeError(absl::StatusCode::kFailedPrecondition, "MODEL_MISMATCH",
                       absl::StrCat("the retriever recalled the token ", id, ", which this model does not have: ",
                                    "retriever and generator have different models"));
    }
  }
  return absl::OkStatus();
}

}  // namespace ilre
