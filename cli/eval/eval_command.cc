#include "cli/eval/eval_command.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "cli/content_digest.h"
#include "cli/eval/eval_report.h"
#include "cli/eval/evaluator.h"
#include "cli/eval/other_retriever.h"
#include "cli/eval/prose.h"
#include "cli/eval/question_files.h"
#include "cli/eval/result_log.h"
#include "cli/eval/ruler.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"

namespace ilre::cli {
namespace {

// Files read once, for all tasks.
struct Inputs {
  Prose prose;
  Passages squad, hotpot;
  std::vector<Sample> user;
  bool has_prose = false;
};

// What is to be asked, without its text: samples are made when their turn comes.
struct Job {
  std::string task;
  int length = 0, index = 0;
  std::function<absl::StatusOr<Sample>()> make;
};

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// What is asked, and how.
struct Modes {
  std::vector<std::string> names;
  std::map<std::string, std::string> profiles, chosen;  // files, of other profiles and of other retrievers' choices
};

// An option whose values add modes.
struct ModeOption {
  const char* name;
  const char* form;  // of its values
  const std::vector<std::string>* values;
  std::map<std::string, std::string>* files;  // by mode
};

absl::Status AddModes(const ModeOption& option, const EvalArguments& arguments, Modes* modes) {
  for (const std::string& value : *option.values) {
    const std::pair<std::string, std::string> named = absl::StrSplit(value, absl::MaxSplits('=', 1));
    const auto& [name, path] = named;
    if (name.empty() || path.empty() || absl::StrContains(name, ',')) {
      return errors::InvalidArgument(absl::StrCat("eval: ", option.name, " ", value, " is not ", option.form));
    }
    if (Contains(EvalModes(), name) || modes->profiles.count(name) + modes->chosen.count(name) > 0) {
      return errors::InvalidArgument(absl::StrCat("eval: ", option.name, " ", value, ": there is a mode ", name));
    }
    if (arguments.modes.empty()) modes->names.push_back(name);
    if (!Contains(modes->names, name)) {
      return errors::InvalidArgument(absl::StrCat("eval: ", option.name, " ", name, " is not among the modes"));
    }
    (*option.files)[name] = path;
  }
  return absl::OkStatus();
}

absl::StatusOr<Modes> ReadModes(const EvalArguments& arguments) {
  Modes modes{.names = arguments.modes};
  if (modes.names.empty()) modes.names.push_back("default");
  for (const ModeOption& option : {ModeOption{"--compare", "NAME=PROFILE.json", &arguments.compared, &modes.profiles},
                                   ModeOption{"--chosen", "NAME=FILE", &arguments.chosen, &modes.chosen}}) {
    ILRE_RETURN_IF_ERROR(AddModes(option, arguments, &modes));
  }
  for (const std::string& name : modes.names) {
    if (Contains(EvalModes(), name) || modes.profiles.count(name) + modes.chosen.count(name) > 0) continue;
    return errors::InvalidArgument(absl::StrCat("no mode ", name, ", nor --compare or --chosen ", name, "=FILE"));
  }
  return modes;
}

absl::Status CheckArguments(const EvalArguments& arguments) {
  for (const std::string& task : arguments.tasks) {
    if (!Contains(RulerTasks(), task)) return errors::InvalidArgument(absl::StrCat("no task ", task));
  }
  if (!(arguments.holdout > 0 && arguments.holdout <= 1)) {
    return errors::InvalidArgument("eval: --holdout is not in (0, 1]");
  }
  if (arguments.squad_tokens > 0 && arguments.squad.empty()) {
    return errors::InvalidArgument("eval: --squad-tokens without --squad");
  }
  if (arguments.collection && arguments.squad_tokens == 0) {
    return errors::InvalidArgument("eval: --collection without --squad-tokens");
  }
  if (arguments.lengths.empty() && arguments.squad_tokens == 0 && arguments.questions.empty()) {
    return errors::InvalidArgument("eval: nothing to do: give --lengths, --squad-tokens or --questions");
  }
  return absl::OkStatus();
}

absl::StatusOr<Inputs> ReadInputs(const EvalArguments& arguments, const Tokenizer& tokenizer) {
  Inputs inputs;
  if (!arguments.squad.empty()) {
    ILRE_ASSIGN_OR_RETURN(inputs.squad, ReadSquadPassages(arguments.squad, arguments.holdout));
  }
  int64_t squad_tokens = 0;
  for (const std::string& text : inputs.squad.texts) squad_tokens += CountTokens(tokenizer, text);
  if (!arguments.lengths.empty() || squad_tokens < arguments.squad_tokens) {
    ILRE_ASSIGN_OR_RETURN(const std::string text, ReadProse(arguments.prose));
    ILRE_ASSIGN_OR_RETURN(inputs.prose, MakeProse(tokenizer, text));
    inputs.has_prose = true;
  }
  if (!arguments.hotpot.empty()) {
    ILRE_ASSIGN_OR_RETURN(inputs.hotpot, ReadHotpotPassages(arguments.hotpot));
  }
  if (!arguments.questions.empty()) {
    ILRE_ASSIGN_OR_RETURN(inputs.user, ReadUserSamples(arguments.questions));
  }
  return inputs;
}

// All held-out questions over one text, or over its paragraphs as documents of a collection.
void AddSquadJobs(const EvalArguments& arguments, const Inputs& inputs, const Tokenizer& tokenizer,
                  std::vector<Job>* jobs) {
  const auto set = std::make_shared<const QuestionSet>(SquadQuestions(
      tokenizer, inputs.squad, inputs.has_prose ? &inputs.prose : nullptr, arguments.squad_tokens, arguments.seed));
  for (size_t i = 0; i < set->samples.size(); ++i) {
    const Sample& sample = set->samples[i];
    jobs->push_back({sample.task, sample.length, sample.index,
                     [set, i, is_collection = arguments.collection]() -> absl::StatusOr<Sample> {
                       Sample made = set->samples[i];
                       made.document = set->document;
                       if (is_collection) made.document_ends = set->ends;
                       return made;
                     }});
  }
}

std::vector<Job> PlanJobs(const EvalArguments& arguments, const Inputs& inputs, const TaskSources& sources,
                          const Tokenizer& tokenizer) {
  std::vector<Job> jobs;
  const auto add_all = [&](std::shared_ptr<const std::vector<Sample>> samples) {
    for (size_t i = 0; i < samples->size(); ++i) {
      const Sample& sample = (*samples)[i];
      jobs.push_back({sample.task, sample.length, sample.index,
                      [samples, i]() -> absl::StatusOr<Sample> { return (*samples)[i]; }});
    }
  };
  if (arguments.squad_tokens > 0) AddSquadJobs(arguments, inputs, tokenizer, &jobs);
  if (!inputs.user.empty()) add_all(std::make_shared<const std::vector<Sample>>(inputs.user));
  for (const int length : arguments.lengths) {
    for (int index = 0; index < arguments.samples; ++index) {  // by sample: stopped early, every task has some
      for (const std::string& task : arguments.tasks.empty() ? RulerTasks() : arguments.tasks) {
        if (arguments.tasks.empty() && !CanMake(sources, task)) continue;
        jobs.push_back({task, length, index, [&sources, task, length, index, seed = arguments.seed] {
                          return MakeRulerSample(sources, task, length, index, seed);
                        }});
      }
    }
  }
  return jobs;
}

// Of a profile and of the weights beside it, where it has some.
absl::StatusOr<std::string> ProfileDigest(const std::string& path) {
  std::vector<std::string> files = {path};
  std::error_code error;
  const std::string weights = std::filesystem::path(path).replace_extension(".safetensors").string();
  if (std::filesystem::exists(weights, error)) files.push_back(weights);
  return FilesDigest(files);
}

// What results depend on beside their keys, in one line.
absl::StatusOr<std::string> LogSettings(const Settings& settings, const EvalArguments& arguments,
                                        const Evaluator& evaluator) {
  ILRE_ASSIGN_OR_RETURN(const std::string profile, ProfilePath(settings, evaluator.model_fingerprint()));
  Json line = {{"model_and_profile", evaluator.Fingerprint()}, {"seed", arguments.seed}};
  ILRE_ASSIGN_OR_RETURN(line["profile"], ProfileDigest(profile));
  const std::pair<const char*, std::string> files[] = {{"squad", arguments.squad},
                                                       {"hotpot", arguments.hotpot},
                                                       {"questions", arguments.questions},
                                                       {"prose", arguments.prose}};
  for (const auto& [name, path] : files) {
    if (path.empty()) continue;
    ILRE_ASSIGN_OR_RETURN(line[name], FileDigest(path));
  }
  if (!arguments.squad.empty()) line["holdout"] = arguments.holdout;
  if (arguments.collection) line["collection"] = true;
  return DumpLine(line);
}

// Says of each mode what its results depend on alone.
absl::Status LogModes(const Modes& modes, const Evaluator& evaluator, ResultLog* log) {
  for (const std::string& mode : modes.names) {
    Json settings;
    if (const auto profile = modes.profiles.find(mode); profile != modes.profiles.end()) {
      ILRE_ASSIGN_OR_RETURN(settings["profile"], ProfileDigest(profile->second));
    } else if (const auto chosen = modes.chosen.find(mode); chosen != modes.chosen.end()) {
      ILRE_ASSIGN_OR_RETURN(settings["chosen"], FileDigest(chosen->second));
    } else if (SelectsTokens(mode)) {
      settings["attention_layer"] = evaluator.AttentionLayer();
    }
    if (!settings.is_null()) ILRE_RETURN_IF_ERROR(log->SetMode(mode, DumpLine(settings)));
  }
  return absl::OkStatus();
}

// That other retrievers chose of all that is to be asked: said before anything is, not hours later.
absl::Status CheckChosen(const EvalArguments& arguments, const std::map<std::string, ChosenRanges>& chosen,
                         const std::vector<Job>& jobs) {
  for (const auto& [mode, ranges] : chosen) {
    for (const Job& job : jobs) {
      for (const int budget : arguments.budgets) {
        ILRE_RETURN_IF_ERROR(ranges.Check(job.task, job.length, job.index, budget));
      }
    }
  }
  return absl::OkStatus();
}

// Writes the samples for another retriever; they have their name only when all are written.
absl::Status WriteSamples(const std::vector<Job>& jobs, const Evaluator& evaluator, const std::string& path) {
  const std::string unfinished = path + ".part";
  std::ofstream file(unfinished, std::ios::binary | std::ios::trunc);
  for (const Job& job : jobs) {
    ILRE_ASSIGN_OR_RETURN(const Sample sample, job.make());
    file << SampleLine(sample, evaluator.tokenizer(), evaluator.profile()) << '\n';
    if (Interrupted()) return errors::Cancelled("the evaluation");
  }
  file.close();
  if (!file || std::rename(unfinished.c_str(), path.c_str()) != 0) {
    return ErrnoError(errno, absl::StrCat("cannot write ", path));
  }
  std::fprintf(stderr, "%zu samples in %s\n", jobs.size(), path.c_str());
  return absl::OkStatus();
}

// Answers what the log does not have yet.
absl::Status RunJobs(const EvalArguments& arguments, const std::vector<std::string>& modes,
                     const std::vector<Job>& jobs, Evaluator* evaluator, ResultLog* log) {
  const auto start = std::chrono::steady_clock::now();
  auto said = start;
  size_t done = 0;
  for (const Job& job : jobs) {
    ++done;
    absl::StatusOr<Sample> sample = absl::UnknownError("");  // made when it is needed
    for (const std::string& mode : modes) {
      for (const int wanted : arguments.budgets) {
        const int budget = mode == "full" ? 0 : wanted;
        if (log->Has({.task = job.task, .mode = mode, .length = job.length, .index = job.index, .budget = budget})) {
          continue;
        }
        if (!sample.ok()) {
          sample = job.make();
          ILRE_RETURN_IF_ERROR(sample.status());
        }
        ILRE_ASSIGN_OR_RETURN(const auto result, evaluator->Evaluate(*sample, mode, budget));
        if (result.has_value()) ILRE_RETURN_IF_ERROR(log->Append(*result));
        if (Interrupted()) return errors::Cancelled("the evaluation");
      }
    }
    const auto now = std::chrono::steady_clock::now();
    if (now - said > std::chrono::seconds(10) || done == jobs.size()) {
      said = now;
      std::fprintf(stderr, "%zu of %zu samples, %.0f s\n", done, jobs.size(),
                   std::chrono::duration<double>(now - start).count());
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunEval(const Settings& settings, const EvalArguments& arguments) {
  ILRE_RETURN_IF_ERROR(CheckArguments(arguments));
  ILRE_ASSIGN_OR_RETURN(const Modes modes, ReadModes(arguments));
  EvaluatorOptions options{.compared = modes.profiles,
                           .answers = !arguments.recall_only && !arguments.write_samples,
                           .attention_layer = arguments.attention_layer};
  for (const auto& [name, path] : modes.chosen) {
    ILRE_ASSIGN_OR_RETURN(options.chosen[name], ChosenRanges::Read(path));
  }
  ILRE_RETURN_IF_ERROR(CreateFolders(arguments.output));
  InstallInterruptHandler();
  ILRE_ASSIGN_OR_RETURN(const auto evaluator, Evaluator::Open(settings, modes.names, options));
  ILRE_ASSIGN_OR_RETURN(const Inputs inputs, ReadInputs(arguments, evaluator->tokenizer()));
  TaskSources sources{.tokenizer = &evaluator->tokenizer(), .prose = &inputs.prose};
  if (!inputs.squad.texts.empty()) sources.squad = &inputs.squad;
  if (!inputs.hotpot.texts.empty()) sources.hotpot = &inputs.hotpot;
  if (!arguments.lengths.empty() && arguments.tasks.empty()) {
    for (const std::string& task : RulerTasks()) {
      if (CanMake(sources, task)) continue;
      std::fprintf(stderr, "ilre: without %s: no file of questions (%s)\n", task.c_str(),
                   task == "qa_1" ? "--squad" : "--hotpot");
    }
  }
  const std::vector<Job> jobs = PlanJobs(arguments, inputs, sources, evaluator->tokenizer());
  if (arguments.write_samples) return WriteSamples(jobs, *evaluator, absl::StrCat(arguments.output, "/samples.jsonl"));
  ILRE_RETURN_IF_ERROR(CheckChosen(arguments, options.chosen, jobs));
  ILRE_ASSIGN_OR_RETURN(const std::string log_settings, LogSettings(settings, arguments, *evaluator));
  ILRE_ASSIGN_OR_RETURN(const auto log,
                        ResultLog::Open(absl::StrCat(arguments.output, "/results.jsonl"), log_settings));
  ILRE_RETURN_IF_ERROR(LogModes(modes, *evaluator, log.get()));
  const absl::Status status = RunJobs(arguments, modes.names, jobs, evaluator.get(), log.get());
  if (!log->results().empty()) {  // what is known so far, also where it ends early
    const std::vector<EvalFigure> figures = Summarize(log->results());
    ILRE_RETURN_IF_ERROR(WriteReport(arguments.output, figures));
    std::printf("%s", FormatTable(figures).c_str());
  }
  return status;
}

}  // namespace ilre::cli
