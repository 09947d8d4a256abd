#include "cli/calibrate/training_pools.h"

#include <utility>

#include "cli/interrupt.h"
#include "cli/progress.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre::cli {
namespace {

constexpr int kFactsPerText = 160;

uint64_t BytesOf(const TrainingText& text) {
  uint64_t bytes = text.text.size();
  for (const TextQuestion& question : text.questions) bytes += question.question.size();
  return bytes;
}

}  // namespace

absl::StatusOr<CalibrationTexts> ReadCalibrationTexts(const CalibrateArguments& arguments) {
  ILRE_ASSIGN_OR_RETURN(const auto files, ReadSplitSquads(arguments.squad_files, arguments.holdout));
  std::vector<SquadArticle> training, part, validation, held_out;
  for (const SplitSquad& file : files) {
    AppendArticles(file.training, &training);
    AppendArticles(file.held_out, &held_out);
    if (arguments.validation == 0) continue;
    auto split = SplitArticles(file.training, arguments.validation);
    if (!split.ok()) return Annotate(split.status(), "calibrate: --validation 0 trains without it");
    AppendArticles(split->training, &part);
    AppendArticles(split->held_out, &validation);
  }
  CalibrationTexts texts;
  texts.training = JoinArticles(training);
  texts.part = JoinArticles(part);
  texts.validation = JoinArticles(validation);
  texts.held_out = JoinArticles(held_out);
  const std::vector<std::string> prose = SentencesOf(texts.training.text);
  for (int i = 0; i < arguments.needle_texts; ++i) {
    texts.needles.push_back(MakeNeedles(arguments.training.seed + static_cast<uint64_t>(i), kFactsPerText, prose));
  }
  return texts;
}

absl::StatusOr<CalibrationPools> ReadCalibrationPools(const Decoder& decoder, const Tokenizer& tokenizer,
                                                      const RetrievalProfile& profile, const CalibrationTexts& texts,
                                                      const Teacher* teacher, const std::vector<int>& layers,
                                                      const std::vector<int>& pooled_layers,
                                                      const std::string& folder) {
  std::vector<int> all_layers = layers;
  all_layers.insert(all_layers.end(), pooled_layers.begin(), pooled_layers.end());
  struct Job {
    const TrainingText* text;
    const PoolReader* reader;
    TrainingPool* pool;
  };
  const auto reader_of = [&](const std::vector<int>& wanted) {
    return PoolReader::Create(decoder, tokenizer, profile, wanted, folder);
  };
  ILRE_ASSIGN_OR_RETURN(const PoolReader reader, reader_of(all_layers));
  ILRE_ASSIGN_OR_RETURN(const PoolReader needle_reader, reader_of(layers));
  ILRE_ASSIGN_OR_RETURN(const PoolReader pooled_reader, reader_of(teacher == nullptr ? layers : pooled_layers));
  CalibrationPools pools;
  pools.needles.resize(texts.needles.size());
  pools.others.resize(teacher == nullptr ? 0 : teacher->texts().size());
  std::vector<Job> jobs = {{&texts.training, &reader, &pools.training},
                           {&texts.part, &reader, &pools.part},
                           {&texts.validation, &reader, &pools.validation},
                           {&texts.held_out, &reader, &pools.held_out}};
  for (size_t i = 0; i < texts.needles.size(); ++i)
    jobs.push_back({&texts.needles[i], &needle_reader, &pools.needles[i]});
  for (size_t i = 0; i < pools.others.size(); ++i) {
    jobs.push_back({&teacher->texts()[i], &pooled_reader, &pools.others[i]});
  }
  uint64_t all_bytes = 0, bytes = 0, tokens = 0;
  for (const Job& job : jobs) all_bytes += BytesOf(*job.text);
  Progress progress("reading", all_bytes, 0);
  for (const Job& job : jobs) {
    ILRE_ASSIGN_OR_RETURN(*job.pool, job.reader->Read(*job.text, [&](int64_t read) {
      tokens += static_cast<uint64_t>(read);
      progress.Update(bytes, tokens);
      return !Interrupted();
    }));
    bytes += BytesOf(*job.text);
  }
  return pools;
}

}  // namespace ilre::cli
