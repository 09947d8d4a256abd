#include "cli/calibrate/write_questions_command.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/calibrate/base_profile.h"
#include "cli/calibrate/written_questions.h"
#include "cli/content_digest.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/line_log.h"
#include "cli/progress.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/utf8.h"
#include "generator_service/batch_generator.h"

namespace ilre::cli {
namespace {

constexpr uint64_t kMaxTextBytes = uint64_t{1} << 28;
constexpr int kMaxQuestionTokens = 64;
constexpr int kTogether = 8;  // questions written at once

absl::StatusOr<std::vector<SquadArticle>> ReadTexts(const CalibrateArguments& arguments, const Tokenizer& tokenizer,
                                                    const RetrievalProfile& profile) {
  std::vector<SquadArticle> articles;
  for (const std::string& path : arguments.write_questions) {
    ILRE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxTextBytes));
    if (const size_t valid = Utf8ValidPrefix(text); valid != text.size()) {
      return errors::InvalidArgument(absl::StrCat(path, " is not UTF-8 at byte ", valid));
    }
    const std::string name = std::filesystem::path(path).filename().string();
    for (SquadArticle& article : CutArticles(tokenizer, profile, name, text)) articles.push_back(std::move(article));
  }
  return articles;
}

// Questions by the index of the segment that they were written about, "" where none came out. Kept as lines of JSON
// {"segment": index, "question": text}.
class QuestionLog {
 public:
  // Without a folder nothing is kept.
  static absl::StatusOr<std::unique_ptr<QuestionLog>> Open(const CalibrateArguments& arguments,
                                                           const std::string& model) {
    std::unique_ptr<QuestionLog> log(new QuestionLog);
    if (arguments.work.empty()) return log;
    ILRE_RETURN_IF_ERROR(CreateFolders(arguments.work));
    ILRE_ASSIGN_OR_RETURN(const std::string texts, FilesDigest(arguments.write_questions));
    const Json settings = {{"model", model}, {"texts", texts}};
    ILRE_ASSIGN_OR_RETURN(log->lines_, LineLog::Open(absl::StrCat(arguments.work, "/questions.jsonl"),
                                                     DumpLine(settings), "CALIBRATE_OTHER_SETTINGS"));
    for (size_t i = 0; i < log->lines_->lines().size(); ++i) {
      const Json line = Json::parse(log->lines_->lines()[i], nullptr, /*allow_exceptions=*/false);
      if (!line.is_object() || !line.contains("segment") || !line["segment"].is_number_unsigned() ||
          !line.contains("question") || !line["question"].is_string()) {
        return log->lines_->Damaged(i, "CALIBRATE_LOG_DAMAGED");
      }
      log->questions_[line["segment"].get<size_t>()] = line["question"].get<std::string>();
    }
    return log;
  }

  bool Has(size_t segment) const { return questions_.count(segment) > 0; }
  const std::string& at(size_t segment) const { return questions_.at(segment); }

  absl::Status Add(size_t segment, std::string question) {
    if (lines_ != nullptr) {
      ILRE_RETURN_IF_ERROR(lines_->Append(DumpLine({{"segment", segment}, {"question", question}})));
    }
    questions_[segment] = std::move(question);
    return absl::OkStatus();
  }

 private:
  QuestionLog() = default;

  std::unique_ptr<LineLog> lines_;
  std::map<size_t, std::string> questions_;
};

// `most` numbers below `count` at the most, ascending. The same seed draws the same, and fewer of them are among more.
std::vector<size_t> Drawn(size_t count, size_t most, uint64_t seed) {
  std::vector<size_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0);
  Random(seed).Shuffle(numbers);
  numbers.resize(std::min(count, most));
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

// Some threads ask the model, each for one question at a time. The first error ends it.
class Writer {
 public:
  Writer(const Decoder& decoder, const Tokenizer& tokenizer, const ChatTemplate& chat, QuestionLog* log)
      : tokenizer_(tokenizer), chat_(chat), log_(log), generator_(decoder, tokenizer, {.max_running = kTogether}) {}

  // texts: of segments, whose indices come first, that the log does not have.
  absl::Status Write(const std::vector<std::pair<size_t, std::string>>& texts) {
    std::atomic<size_t> next{0};
    uint64_t done = 0;
    Progress progress("writing", texts.size(), 0, "questions");
    const auto work = [&] {
      for (size_t i = next++; i < texts.size(); i = next++) {
        auto question = Ask(texts[i].second);
        const std::lock_guard<std::mutex> lock(mutex_);
        status_.Update(question.ok() ? log_->Add(texts[i].first, *std::move(question)) : question.status());
        if (!status_.ok()) return;
        ++done;
        progress.Update(done, done);
      }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < kTogether; ++i) threads.emplace_back(work);
    for (std::thread& thread : threads) thread.join();
    return status_;
  }

 private:
  absl::StatusOr<std::string> Ask(const std::string& text) {
    GenerateOptions options;
    options.max_tokens = kMaxQuestionTokens;
    options.stop = {"\n"};
    options.should_stop = [] { return Interrupted(); };
    ILRE_ASSIGN_OR_RETURN(const Generation written,
                          generator_.Generate(QuestionPrompt(tokenizer_, chat_, text), options, nullptr));
    return QuestionIn(written.text).value_or("");
  }

  const Tokenizer& tokenizer_;
  const ChatTemplate& chat_;
  std::mutex mutex_;  // guards the next two
  QuestionLog* const log_;
  absl::Status status_;
  BatchGenerator generator_;
};

}  // namespace

absl::Status CalibrateWriteQuestions(const Settings& settings, const CalibrateArguments& arguments) {
  ILRE_ASSIGN_OR_RETURN(const std::string model_path, ModelPath(settings));
  ILRE_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(model_path));
  ILRE_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Create(checkpoint->tokenizer()));
  ILRE_ASSIGN_OR_RETURN(const ChatTemplate chat, MakeChatTemplate(*tokenizer));
  const RetrievalProfile profile = BaseProfile(*checkpoint, *tokenizer, chat, arguments, /*depth=*/1);
  ILRE_ASSIGN_OR_RETURN(std::vector<SquadArticle> articles, ReadTexts(arguments, *tokenizer, profile));
  const std::vector<AskedSegment> segments = SegmentsToAsk(*tokenizer, profile, articles);
  if (segments.empty()) return errors::InvalidArgument("calibrate: no sentence to ask about in the texts");
  ILRE_ASSIGN_OR_RETURN(const auto log, QuestionLog::Open(arguments, checkpoint->fingerprint()));

  DecoderOptions options;
  options.device = settings.device;
  ILRE_ASSIGN_OR_RETURN(options.arithmetic, ParseArithmetic(settings.arithmetic));
  ILRE_ASSIGN_OR_RETURN(const auto decoder, Decoder::Load(*checkpoint, options));
  const std::vector<size_t> asked =
      Drawn(segments.size(), static_cast<size_t>(arguments.most), arguments.training.seed);
  std::vector<std::pair<size_t, std::string>> texts;
  for (const size_t segment : asked) {
    if (log->Has(segment)) continue;
    const auto& [article, paragraph, begin, end] = segments[segment];
    texts.push_back({segment, articles[article].paragraphs[paragraph].context.substr(begin, end - begin)});
  }
  ILRE_RETURN_IF_ERROR(Writer(*decoder, *tokenizer, chat, log.get()).Write(texts));

  std::map<std::string, int> times;
  for (const size_t segment : asked) ++times[log->at(segment)];
  size_t kept = 0;
  for (const size_t segment : asked) {
    const std::string& question = log->at(segment);
    if (question.empty() || times[question] > 1) continue;  // two segments answer it: neither is the place
    const auto& [article, paragraph, begin, end] = segments[segment];
    articles[article].paragraphs[paragraph].questions.push_back({question, begin, end});
    ++kept;
  }
  ILRE_RETURN_IF_ERROR(WriteFileAtomically(arguments.output, SquadFile(articles)));
  std::printf("Written: %s: %zu questions about %zu of %zu sentences\n", arguments.output.c_str(), kept, asked.size(),
              segments.size());
  return absl::OkStatus();
}

}  // namespace ilre::cli
