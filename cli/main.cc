// The `ilre` program: reads the command line and runs one command. Exit status 0, 1 on failure, 2 on wrong usage.
#include <cstdio>
#include <functional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "cli/ask_command.h"
#include "cli/calibrate/calibrate_command.h"
#include "cli/documents_command.h"
#include "cli/eval/eval_command.h"
#include "cli/ingest_command.h"
#include "cli/serve/serve_command.h"
#include "cli/settings.h"
#include "common/base/standard_files.h"
#include "common/base/status_macros.h"

namespace ilre::cli {
namespace {

constexpr char kVersion[] = "0.1.0";

using Command = std::function<absl::Status()>;

void AddSettings(CLI::App* app, Settings* settings) {
  app->add_option("--data-dir", settings->data_dir, "Folder of the documents [$ILRE_DATA_DIR, or ~/.local/share/ilre]");
  app->add_option("--model", settings->model, "GGUF file or Hugging Face folder [$ILRE_MODEL, or the default model]");
  app->add_option("--profile", settings->profile,
                  "Retrieval profile [$ILRE_PROFILE, or the one shipped for the model]");
  app->add_option("--server", settings->server,
                  "Let a running server do the work: HOST:PORT [$ILRE_SERVER, or this process]");
  app->add_option("--server-ca", settings->server_ca,
                  "TLS: the file of the authority that signed the server's certificate, or `system`");
  app->add_option("--token-file", settings->token_file, "File with the bearer token for the server [$ILRE_TOKEN]");
  app->add_option("--device", settings->device, "cpu, cuda, cuda:N, npu, npu:N, or torch-cpu")->capture_default_str();
  app->add_option("--arithmetic", settings->arithmetic,
                  "Of answers on the processor: float32, quantized (the file's own codes in int8), or auto: quantized "
                  "where the file is")
      ->capture_default_str();
  app->add_option("--threads", settings->threads, "Threads of the computation; 0: one for each processor")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
}

void AddIngest(CLI::App* app, const Settings& settings, IngestArguments* arguments, Command* command) {
  CLI::App* ingest = app->add_subcommand("ingest", "Read a document once, so that it can be asked");
  ingest->add_option("name", arguments->name, "Its name: DOCUMENT or COLLECTION/DOCUMENT")->required();
  ingest->add_option("file", arguments->file, "A UTF-8 text, or - for standard input")->required();
  ingest->add_option("--collection", arguments->collection, "Collection of a name without one [default]");
  auto* replace = ingest->add_flag("--replace", arguments->replace, "Replace what is stored under the name");
  ingest->add_flag("--append", arguments->append, "Add to the end of a finished document")->excludes(replace);
  ingest->add_option("--max-bytes", arguments->max_bytes, "Refuse longer documents")
      ->capture_default_str()
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 40));
  ingest->add_option("--commit-blocks", arguments->commit_blocks, "Blocks of 256 tokens between two commits")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  ingest->add_flag("--acknowledge", arguments->acknowledge, "Print `acknowledged BYTES` after each durable commit");
  ingest->callback([=, &settings] { *command = [=, &settings] { return RunIngest(settings, *arguments); }; });
}

void AddAsk(CLI::App* app, const Settings& settings, AskArguments* arguments, Command* command) {
  CLI::App* ask = app->add_subcommand("ask", "Answer a question from documents: ilre ask NAME... QUESTION");
  ask->add_option("words", arguments->words, "Names of documents, then the question");
  ask->add_option("--collection", arguments->collection, "Collection of names without one; without names: all of it");
  ask->add_option("--budget", arguments->budget, "Tokens to recall at the most; 0: as the profile says")
      ->check(CLI::Range(0, 1 << 20));
  ask->add_flag("--one-look", arguments->one_look, "Do not look again for what the first look found");
  auto* instruction =
      ask->add_option("--instruction", arguments->instruction, "What to tell the model after text and question");
  ask->add_option("--answer-prefix", arguments->answer_prefix, "How the answer begins");
  ask->add_option("--max-tokens", arguments->max_tokens, "Length of the answer; 0: recalled spans only")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  ask->add_option("--stop", arguments->stop, "A string that ends the answer (may be repeated)")
      ->expected(1)
      ->take_all();
  ask->add_option("--temperature", arguments->sampling.temperature, "0 is greedy")->capture_default_str();
  ask->add_option("--top-p", arguments->sampling.top_p)->capture_default_str();
  ask->add_option("--top-k", arguments->sampling.top_k)->capture_default_str();
  ask->add_option("--seed", arguments->sampling.seed)->capture_default_str();
  ask->add_option("--repetition-penalty", arguments->sampling.repetition_penalty)->capture_default_str();
  ask->add_flag("--json", arguments->json, "One line of JSON");
  auto* batch = ask->add_option(
      "--batch", arguments->batch_file,
      "Questions, one JSON object a line: {\"documents\": [...], \"question\": ...}; answers are JSON lines");
  ask->add_option("--report", arguments->report_file,
                  "Also write FILE.html: the answer, a heat map of the documents and the passages it came from")
      ->excludes(batch);
  ask->callback([=, &settings] {
    arguments->has_instruction = instruction->count() > 0;
    if (arguments->batch_file.empty() == arguments->words.empty()) {
      throw CLI::ValidationError("ask", "give either NAME... QUESTION or --batch FILE");
    }
    if (arguments->words.size() == 1 && arguments->collection.empty()) {
      throw CLI::ValidationError(
          "ask", "give the names of documents and then the question, or --collection C and the question");
    }
    *command = [=, &settings] { return RunAsk(settings, *arguments); };
  });
}

void AddDocuments(CLI::App* app, const Settings& settings, DocumentsArguments* arguments, Command* command) {
  CLI::App* documents = app->add_subcommand("documents", "List, show or delete documents");
  documents->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, bool has_name,
                       absl::Status (*run)(const Settings&, const DocumentsArguments&)) {
    CLI::App* sub = documents->add_subcommand(name, help);
    if (has_name) sub->add_option("name", arguments->name, "DOCUMENT or COLLECTION/DOCUMENT")->required();
    sub->add_option("--collection", arguments->collection,
                    has_name ? "Collection of a name without one [default]" : "Only documents of this collection");
    if (run != &RunDocumentsDelete) sub->add_flag("--json", arguments->json, "JSON, one document a line");
    sub->callback([=, &settings] { *command = [=, &settings] { return run(settings, *arguments); }; });
  };
  add("list", "All documents", false, &RunDocumentsList);
  add("show", "What is known of one document", true, &RunDocumentsShow);
  add("delete", "Remove a document and free its space", true, &RunDocumentsDelete);
}

void AddInspect(CLI::App* app, const Settings& settings, InspectArguments* arguments, Command* command) {
  CLI::App* inspect = app->add_subcommand("inspect", "Look into the store");
  inspect->add_option("name", arguments->name, "One document; without it the whole store");
  inspect->add_option("--collection", arguments->collection, "Collection of a name without one");
  inspect->add_flag("--verify", arguments->verify, "Read and check every record");
  inspect->add_flag("--segments", arguments->segments, "Print the segments of a document as JSON lines");
  inspect->add_flag(
      "--checksums", arguments->checksums,
      "Print a line for each block of a document: its number, its tokens, and digests of its vectors with "
      "tokens, of its text and of its words");
  inspect->add_flag("--json", arguments->json, "JSON");
  inspect->callback([=, &settings] {
    if ((arguments->segments || arguments->checksums) && arguments->name.empty()) {
      throw CLI::ValidationError("inspect", "--segments and --checksums need a name");
    }
    *command = [=, &settings] { return RunInspect(settings, *arguments); };
  });
}

void AddCalibrate(CLI::App* app, const Settings& settings, CalibrateArguments* arguments, Command* command) {
  CLI::App* calibrate = app->add_subcommand("calibrate", "Make the retrieval profile of a model");
  calibrate->add_flag("--train", arguments->train,
                      "Train a probe at each --layer, with --teacher a pooled head as well, and write a profile");
  calibrate->add_flag(
      "--heads", arguments->heads,
      "Try every head of every layer on generated needles and on questions, and write a profile of the best");
  calibrate->add_option("--lengths", arguments->lengths, "With --heads: of the texts, in tokens")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(256, 1 << 17));
  calibrate->add_option("--texts", arguments->texts, "With --heads: texts of needles of each length")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  calibrate->add_option("--questions", arguments->questions, "With --heads: asked of each text, at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  calibrate->add_option("--budget", arguments->budget, "With --heads: tokens recalled")
      ->capture_default_str()
      ->check(CLI::Range(8, 1 << 20));
  calibrate
      ->add_option("--tolerance", arguments->tolerance,
                   "Recall to give for an earlier layer (--heads) or a cheaper pooled head (--train)")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  calibrate->add_option("--work", arguments->work,
                        "A folder of results, with --train also of layers' inputs; a killed run goes on from it");
  calibrate->add_option("--report", arguments->report, "Write the figures as one HTML page");
  calibrate->add_option("--squad", arguments->squad_files,
                        "Questions to learn from: SQuAD-format files, of each the last articles are held out");
  calibrate
      ->add_option("--write-questions", arguments->write_questions,
                   "Let the model write questions about these texts, for --squad: a SQuAD-format file is the output")
      ->take_all();
  calibrate->add_option("--most", arguments->most, "With --write-questions: sentences that are asked about, at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 24));
  calibrate
      ->add_option("--output", arguments->output,
                   "What to write: the profile, FILE.json with its weights beside it, or the questions")
      ->required();
  calibrate->add_option("--name", arguments->name, "The profile's name [the file's]");
  calibrate->add_option("--layer", arguments->layers, "Read the input of this layer (may be repeated)")
      ->take_all()
      ->capture_default_str();
  calibrate->add_option("--dim", arguments->training.dim, "Of the stored vectors")
      ->capture_default_str()
      ->check(CLI::Range(1, kMaxHeadDim));
  calibrate->add_option("--steps", arguments->training.steps)->capture_default_str()->check(CLI::Range(1, 100000));
  calibrate->add_option("--learning-rate", arguments->training.learning_rate)->capture_default_str();
  calibrate->add_option("--seed", arguments->training.seed)->capture_default_str();
  calibrate->add_option("--holdout", arguments->holdout, "Share of the articles, the last ones, not trained on")
      ->capture_default_str();
  calibrate
      ->add_option("--validation", arguments->validation,
                   "With --train: share of the other articles that say how long to train; 0: all --steps")
      ->capture_default_str();
  calibrate->add_flag("--bf16", arguments->bf16, "With --train: the stream's arithmetic in bf16, not int8");
  calibrate->add_option("--teacher", arguments->teacher,
                        "Train a pooled head from this folder of a sentence-embedding model's vectors");
  calibrate
      ->add_option("--pooled-layers", arguments->pooled_layers,
                   "Of the pooled head: \"0,2\" (may be repeated: the cheapest good one is taken) [0 and --layer]")
      ->take_all();
  calibrate->add_option("--pooled-dim", arguments->pooled_dims, "Dimensions of the pooled head (several are tried)")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(1, kMaxHeadDim));
  calibrate->add_option("--pooled-steps", arguments->pooled.steps, "Of the pooled head's gates")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  calibrate->add_option("--needle-texts", arguments->needle_texts, "Generated texts of facts to learn from as well")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000));
  calibrate->add_option("--probe-weight", arguments->probe_weight, "Of a probe in the scores; a pooled head has 1")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1000.0));
  calibrate->add_option("--lexical-weight", arguments->lexical_weight,
                        "Of BM25 in the scores [0.7; with a pooled head 6]");
  calibrate->add_option("--lexical-power", arguments->lexical_power,
                        "That BM25's share is raised to [1; with a pooled head 3]");
  calibrate->add_option("--neighbour-weight", arguments->neighbour_weight,
                        "Of the better neighbour's score [0.3; with a pooled head 0.4]");
  calibrate->add_option("--max-looks", arguments->max_looks, "That follow what the first look found; 0: none")
      ->capture_default_str()
      ->check(CLI::Range(0, 16));
  calibrate->callback([=, &settings] { *command = [=, &settings] { return RunCalibrate(settings, *arguments); }; });
}

void AddServe(CLI::App* app, const Settings& settings, ServeArguments* arguments, Command* command) {
  CLI::App* serve = app->add_subcommand("serve", "Serve all of it: gRPC, an HTTP API and a page, from one process");
  AddServeFlags(serve, arguments);
  serve->callback([=, &settings] {
    *command = [=, &settings]() -> absl::Status {
      ILRE_RETURN_IF_ERROR(FinishServerFlags(serve, arguments->server));
      return RunServe(settings, *arguments);
    };
  });
}

void AddEval(CLI::App* app, const Settings& settings, EvalArguments* arguments, Command* command) {
  CLI::App* eval = app->add_subcommand("eval", "Measure recall and answers on generated tasks and files of questions");
  eval->add_option("--output", arguments->output, "Folder of results and report; a killed evaluation goes on from it")
      ->required();
  eval->add_option("--lengths", arguments->lengths, "Tokens of RULER's tasks: 4096,8192")
      ->delimiter(',')
      ->check(CLI::Range(512, 1 << 24));
  eval->add_option("--tasks", arguments->tasks, "Of RULER's 13 tasks [all whose files are given]")->delimiter(',');
  eval->add_option(
          "--modes", arguments->modes,
          "Of default, one-look, no-lexical, bm25, full (the whole document), window (its first and last tokens), "
          "gemfilter, snapkv (rivals that read all of it first: like full, within the model's context alone), and the "
          "names of --compare and --chosen [default, and these]")
      ->delimiter(',');
  eval->add_option("--budget", arguments->budgets, "Tokens to recall: 128,512")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  eval->add_option("--samples", arguments->samples, "Of each task and length")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  eval->add_option("--seed", arguments->seed)->capture_default_str();
  eval->add_option("--prose", arguments->prose, "Long English text to hide needles in [the King James Bible]");
  eval->add_option("--squad", arguments->squad, "Questions of task qa_1: a SQuAD-format file");
  eval->add_option("--holdout", arguments->holdout, "Share of its articles that are asked about, the last ones")
      ->capture_default_str();
  eval->add_option(
          "--squad-tokens", arguments->squad_tokens,
          "Ask all its held-out questions too, over one text of about so many tokens: its paragraphs, then prose")
      ->check(CLI::Range(1, 1 << 24));
  eval->add_flag("--collection", arguments->collection, "Each paragraph of that text is a document of its own");
  eval->add_option("--hotpot", arguments->hotpot,
                   "Questions of task qa_2: a HotpotQA-format file, such as the source's bench/data/two_hop.json");
  eval->add_option("--questions", arguments->questions,
                   "Your own, one a line: {\"document\": text, \"question\": text, \"answers\": [text, ...]}");
  eval->add_option("--compare", arguments->compared,
                   "Another profile as a mode of its own: NAME=PROFILE.json; again for more")
      ->allow_extra_args(false);
  eval->add_flag("--write-samples", arguments->write_samples,
                 "Ask nothing, but write the samples to OUTPUT/samples.jsonl, for another retriever");
  eval->add_option("--chosen", arguments->chosen,
                   "What another retriever chose of them, as a mode of its own: NAME=FILE, whose lines are {\"task\": "
                   "text, \"length\": tokens, \"index\": number, \"budget\": tokens, \"ranges\": [[first byte, byte "
                   "after the last], ...]}; again for more")
      ->allow_extra_args(false);
  eval->add_option("--attention-layer", arguments->attention_layer,
                   "Of modes gemfilter and snapkv, from 0 [two fifths of the way up]")
      ->check(CLI::Range(0, 1 << 10));
  eval->add_flag("--recall-only", arguments->recall_only, "Generate no answers");
  eval->callback([=, &settings] { *command = [=, &settings] { return RunEval(settings, *arguments); }; });
}

// One line on stderr. Where something required is missing and something unknown is there, the latter is the likely
// mistake: `ilre documents lsit`.
int WrongUsage(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
  const bool is_requirement = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
  std::string what = error.what();
  if (is_requirement && !unknown.empty()) what = "'" + unknown[0] + "' is not understood";
  std::fprintf(stderr, "ilre: %s (see ilre --help)\n", what.c_str());
  return 2;
}

int Main(int argc, char** argv) {
  HoldStandardFiles();
  Settings settings;
  IngestArguments ingest;
  AskArguments ask;
  DocumentsArguments documents;
  InspectArguments inspect;
  Command command;
  CLI::App app(
      "ILRe: ask long documents on a small machine. Documents are read once; questions are answered from the few "
      "hundred tokens that matter.");
  app.set_version_flag("--version", kVersion);
  app.require_subcommand(1);
  app.fallthrough();  // common options may stand behind the command
  AddSettings(&app, &settings);
  AddIngest(&app, settings, &ingest, &command);
  AddAsk(&app, settings, &ask, &command);
  AddDocuments(&app, settings, &documents, &command);
  AddInspect(&app, settings, &inspect, &command);
  ServeArguments serve;
  AddServe(&app, settings, &serve, &command);
  CalibrateArguments calibrate;
  EvalArguments eval;
  AddCalibrate(&app, settings, &calibrate, &command);
  AddEval(&app, settings, &eval, &command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {  // --help, --version
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return WrongUsage(app, error);
  }
  const absl::Status status = command();
  if (status.ok()) return 0;
  std::fflush(stdout);
  std::fprintf(stderr, "ilre: %s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace
}  // namespace ilre::cli

int main(int argc, char** argv) { return ilre::cli::Main(argc, argv); }
