#include "cli/ingest_command.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/document_name.h"
#include "cli/input_file.h"
#include "cli/interrupt.h"
#include "cli/loaded_model.h"
#include "cli/progress.h"
#include "cli/remote_commands.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/retrieval/model_match.h"
#include "common/store/key_store.h"
#include "encoder_service/document_ingest.h"
#include "encoder_service/stored_text.h"

namespace ilre::cli {
namespace {

enum class Existing { kNone, kSameSoFar, kSameWhole };

// Compares the beginning of `input` with what the store has under the name. `rest` receives bytes read beyond it.
absl::StatusOr<Existing> Compare(const KeyStore& store, const RetrievalModel& model, const DocumentRow& row,
                                 Input& input, std::string* rest) {
  const std::string name = absl::StrCat(row.collection, "/", row.document);
  const absl::Status other =
      MakeError(absl::StatusCode::kAlreadyExists, "OTHER_CONTENT",
                absl::StrCat("document ", name, " has other content: use --replace to replace it",
                             row.state == DocumentState::kReady ? ", --append to add to it," : "", " or another name"));
  StoredText stored(store, model, row);
  while (!stored.at_end()) {
    ILRE_ASSIGN_OR_RETURN(const absl::string_view bytes, input.Read());
    if (bytes.empty()) return other;  // shorter than what is stored
    size_t matched = 0;
    ILRE_ASSIGN_OR_RETURN(const bool same, stored.GoesOnWith(bytes, &matched));
    if (!same) return other;
    rest->assign(bytes.data() + matched, bytes.size() - matched);
  }
  if (row.state != DocumentState::kReady) return Existing::kSameSoFar;
  if (rest->empty()) {
    ILRE_ASSIGN_OR_RETURN(const absl::string_view more, input.Read());
    if (more.empty()) return Existing::kSameWhole;
  }
  return other;
}

absl::Status WriteAll(DocumentIngest& ingest, Input& input, std::string rest, const IngestArguments& arguments) {
  const uint64_t before = ingest.progress().received_bytes;
  Progress progress(arguments.name, input.size(), before);
  uint64_t acknowledged = before;
  const auto report = [&] {
    const IngestProgress& now = ingest.progress();
    progress.Update(now.received_bytes, now.num_tokens);
    if (arguments.acknowledge && now.committed_bytes > acknowledged) {
      acknowledged = now.committed_bytes;
      std::printf("acknowledged %llu\n", static_cast<unsigned long long>(acknowledged));
      std::fflush(stdout);
    }
  };
  ILRE_RETURN_IF_ERROR(ingest.Write(rest));
  for (;;) {
    report();
    ILRE_ASSIGN_OR_RETURN(absl::string_view bytes, input.Read());
    if (bytes.empty()) break;
    if (ingest.progress().received_bytes + bytes.size() > arguments.max_bytes) {
      return GoesBeyond(input, arguments.max_bytes);
    }
    while (!bytes.empty()) {  // in small steps, so that progress is seen
      const absl::string_view piece = bytes.substr(0, 32 << 10);
      ILRE_RETURN_IF_ERROR(ingest.Write(piece));
      bytes.remove_prefix(piece.size());
      report();
    }
  }
  ILRE_RETURN_IF_ERROR(ingest.Finish());
  report();
  return absl::OkStatus();
}

// What a document that cannot be finished leaves behind: nothing, if this command began it.
absl::Status AfterFailure(absl::Status error, KeyStore& store, const DocumentName& name, bool begun_here,
                          bool is_append) {
  if (absl::IsInvalidArgument(error)) {
    if (begun_here) store.DeleteDocument(name.collection, name.document).IgnoreError();
    return error;
  }
  if (!absl::IsCancelled(error) && ErrorReason(error) != "DISK_FULL") return error;
  const char* remedy = is_append ? "to go on, ingest all of it, the old text and the new, without --append"
                                 : "run the same command again to go on";
  return Annotate(error, absl::StrCat(name.ToString(), " is not finished (", remedy, ")"));
}

}  // namespace

absl::Status RunIngest(const Settings& settings, const IngestArguments& arguments) {
  ILRE_ASSIGN_OR_RETURN(const DocumentName name, ParseDocumentName(arguments.name, arguments.collection));
  ILRE_ASSIGN_OR_RETURN(const auto input, Input::Open(arguments.file));
  if (input->is_regular()) ILRE_RETURN_IF_ERROR(CheckWholeFile(*input, arguments.max_bytes));
  if (!settings.server.empty()) return RunRemoteIngest(settings, arguments, name, *input);
  ILRE_ASSIGN_OR_RETURN(const std::string data_dir, DataDirectory(settings));
  ILRE_ASSIGN_OR_RETURN(const auto store, OpenKeyStore(data_dir, {}));
  ILRE_ASSIGN_OR_RETURN(const LoadedModel model, LoadModel(settings, Layers::kForRetrieval));
  InstallInterruptHandler();

  if (arguments.replace) {
    const absl::Status deleted = store->DeleteDocument(name.collection, name.document);
    if (!deleted.ok() && !absl::IsNotFound(deleted)) return deleted;
  }
  std::string rest;
  const absl::StatusOr<DocumentRow> row = store->GetDocument(name.collection, name.document);
  if (!row.ok() && !absl::IsNotFound(row.status())) return row.status();
  const bool append = arguments.append && row.ok() && row->state == DocumentState::kReady;
  if (arguments.append && row.ok() && row->state == DocumentState::kIngesting) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "DOCUMENT_NOT_READY",
                     absl::StrCat("document ", name.ToString(),
                                  " is not finished: ingest all of it, the old text and the new, without --append"));
  }
  // Before the texts are compared: the same text that another profile read cannot be asked, and is not up to date.
  if (row.ok() && row->state != DocumentState::kFailed) {
    ILRE_RETURN_IF_ERROR(Annotate(CheckSameModel(*row, *model.retrieval), "--replace reads it again"));
  }
  if (row.ok() && row->state != DocumentState::kFailed && row->committed_bytes > 0 && !append) {
    ILRE_ASSIGN_OR_RETURN(const Existing existing, Compare(*store, *model.retrieval, *row, *input, &rest));
    if (existing == Existing::kSameWhole) {
      std::printf("%s is up to date: %s tokens\n", name.ToString().c_str(), WithCommas(row->num_tokens).c_str());
      return absl::OkStatus();
    }
  }
  IngestOptions options;
  options.commit_blocks = arguments.commit_blocks;
  options.should_stop = [] { return Interrupted(); };
  const auto start = std::chrono::steady_clock::now();
  ILRE_ASSIGN_OR_RETURN(const auto ingest, DocumentIngest::Begin(*store, *model.retrieval, name.collection,
                                                                 name.document, arguments.append, options));
  const uint64_t tokens_before = ingest->progress().num_tokens, bytes_before = ingest->progress().received_bytes;
  if (bytes_before > 0 && !append) {
    std::fprintf(stderr, "%s: going on at byte %s\n", name.ToString().c_str(), WithCommas(bytes_before).c_str());
  }
  if (absl::Status status = WriteAll(*ingest, *input, std::move(rest), arguments); !status.ok()) {
    if (absl::IsCancelled(status)) ingest->CommitComputed().IgnoreError();  // what is lost is computed again
    return AfterFailure(std::move(status), *store, name, !row.ok(), append);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const uint64_t tokens = ingest->row().num_tokens;
  std::printf("%s: %s tokens, %s bytes, in %.3f s (%s tokens/s)\n", name.ToString().c_str(), WithCommas(tokens).c_str(),
              WithCommas(ingest->row().committed_bytes).c_str(), seconds,
              WithCommas(static_cast<uint64_t>(static_cast<double>(tokens - std::min(tokens, tokens_before)) / seconds))
                  .c_str());
  return absl::OkStatus();
}

}  // namespace ilre::cli
