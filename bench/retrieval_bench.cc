// Time of the stages of retrieval from a document that is stored, and the processor time of all.
//
// Usage: retrieval_bench MODEL PROFILE.json DATA_DIR COLLECTION/DOCUMENT [--rounds N] [--threads N]
//                        [--one-look] [QUESTION...]
//
// Prints, for each question, the median and the fastest of the rounds, after one that is not counted.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"
#include "common/kernels/cpu_info.h"
#include "common/model/checkpoint.h"
#include "common/model/decoder.h"
#include "common/model/tokenizer.h"
#include "common/retrieval/profile.h"
#include "common/retrieval/retrieval_model.h"
#include "common/store/key_store.h"
#include "retriever_service/retriever.h"

namespace ilre {
namespace {

double ProcessorMs() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto ms = [](const timeval& time) {
    return 1e3 * static_cast<double>(time.tv_sec) + 1e-3 * static_cast<double>(time.tv_usec);
  };
  return ms(usage.ru_utime) + ms(usage.ru_stime);
}

void Print(const char* stage, std::vector<double> ms) {
  std::sort(ms.begin(), ms.end());
  std::printf("  %-12s %8.2f ms (fastest %.2f)\n", stage, ms[ms.size() / 2], ms[0]);
}

absl::Status Measure(const Retriever& retriever, const DocumentRow& row, const std::string& question, int rounds,
                     bool one_look) {
  std::vector<double> query, score, second_look, processor;
  for (int round = 0; round <= rounds; ++round) {
    const double before = ProcessorMs();
    ILRE_ASSIGN_OR_RETURN(const Retrieval retrieval, retriever.Retrieve({&row, 1}, question, {.one_look = one_look}));
    if (round == 0) continue;
    processor.push_back(ProcessorMs() - before);
    query.push_back(retrieval.query_ms);
    score.push_back(retrieval.score_ms);
    second_look.push_back(retrieval.second_look_ms);
  }
  std::printf("%s\n", question.c_str());
  Print("question", query);
  Print("scoring", score);
  Print("second look", second_look);
  Print("processor", processor);
  return absl::OkStatus();
}

absl::Status Run(const std::vector<std::string>& arguments, std::vector<std::string> questions, int rounds,
                 bool one_look) {
  ILRE_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(arguments[0]));
  ILRE_ASSIGN_OR_RETURN(RetrievalProfile profile, LoadProfile(arguments[1]));
  ILRE_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Create(checkpoint->tokenizer()));
  ILRE_ASSIGN_OR_RETURN(const auto decoder, Decoder::Load(*checkpoint, {}));
  ILRE_ASSIGN_OR_RETURN(const auto model,
                        RetrievalModel::Create(*decoder, *tokenizer, checkpoint->fingerprint(), std::move(profile)));
  ILRE_ASSIGN_OR_RETURN(const auto store, OpenKeyStoreFollower(arguments[2], {}));
  const std::vector<std::string> name = absl::StrSplit(arguments[3], '/');
  if (name.size() != 2) return absl::InvalidArgumentError("COLLECTION/DOCUMENT is wanted");
  ILRE_ASSIGN_OR_RETURN(const DocumentRow row, store->GetDocument(name[0], name[1]));
  std::printf("%s; %d threads; %llu tokens\n", kernels::CpuDescription().c_str(), DefaultPool().num_threads(),
              static_cast<unsigned long long>(row.num_tokens));
  const Retriever retriever(*model, *store);
  if (questions.empty()) {
    questions = {"Who was the father of Solomon?",
                 "What did the king say to the people of Israel when they came to him at Hebron after the battle?"};
  }
  for (const std::string& question : questions)
    ILRE_RETURN_IF_ERROR(Measure(retriever, row, question, rounds, one_look));
  return absl::OkStatus();
}

}  // namespace
}  // namespace ilre

int main(int argc, char** argv) {
  std::vector<std::string> arguments;
  int rounds = 20;
  bool one_look = false;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--rounds" && i + 1 < argc) {
      rounds = std::max(1, std::atoi(argv[++i]));
    } else if (argument == "--threads" && i + 1 < argc) {
      ilre::SetDefaultPoolThreads(std::atoi(argv[++i]));
    } else if (argument == "--one-look") {
      one_look = true;
    } else {
      arguments.push_back(argument);
    }
  }
  if (arguments.size() < 4) {
    std::fprintf(stderr,
                 "usage: retrieval_bench MODEL PROFILE.json DATA_DIR COLLECTION/DOCUMENT [--rounds N] [--threads N]\n"
                 "                       [--one-look] [QUESTION...]\n");
    return 2;
  }
  const absl::Status status = ilre::Run(arguments, {arguments.begin() + 4, arguments.end()}, rounds, one_look);
  if (!status.ok()) std::fprintf(stderr, "retrieval_bench: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
