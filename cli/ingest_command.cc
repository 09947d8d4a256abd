#include "cli/ingest_command.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/document_name.h"
#include "cli/interrupt.h"
#include "cli/loaded_model.h"
#include "cli/progress.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/store/key_store.h"
#include "encoder_service/document_ingest.h"
#include "encoder_service/stored_text.h"
#include "encoder_service/text_checker.h"

namespace ilre::cli {
namespace {

constexpr size_t kReadBytes = 1 << 20;

// The bytes to ingest: a file, or standard input.
class Input {
 public:
  static absl::StatusOr<std::unique_ptr<Input>> Open(const std::string& file) {
    auto input = std::unique_ptr<Input>(new Input(file));
    if (file == "-") return input;
    input->fd_ = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (input->fd_ < 0) return ErrnoError(errno, absl::StrCat("cannot open ", file));
    struct stat info;
    if (::fstat(input->fd_, &info) != 0) return ErrnoError(errno, absl::StrCat("cannot stat ", file));
    if (S_ISDIR(info.st_mode))
      return MakeError(absl::StatusCode::kInvalidArgument, "NOT_A_FILE", file + " is a folder");
    input->is_regular_ = S_ISREG(info.st_mode);
    if (input->is_regular_) input->size_ = static_cast<uint64_t>(info.st_size);
    return input;
  }
  ~Input() {
    if (fd_ > STDIN_FILENO) ::close(fd_);
  }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  bool is_regular() const { return is_regular_; }
  uint64_t size() const { return size_; }  // 0 if unknown
  const std::string& name() const { return name_; }

  // The next bytes, none at the end.
  absl::StatusOr<absl::string_view> Read() {
    for (;;) {
      const ssize_t n = ::read(fd_, buffer_.data(), buffer_.size());
      if (n >= 0) return absl::string_view(buffer_.data(), static_cast<size_t>(n));
      if (errno != EINTR) return ErrnoError(errno, absl::StrCat("cannot read ", name_));
      if (Interrupted()) return errors::Cancelled("reading");
    }
  }
  absl::Status Rewind() {
    if (::lseek(fd_, 0, SEEK_SET) == 0) return absl::OkStatus();
    return ErrnoError(errno, absl::StrCat("cannot rewind ", name_));
  }

 private:
  explicit Input(const std::string& file) : name_(file == "-" ? "standard input" : file), buffer_(kReadBytes, '\0') {}
  std::string name_, buffer_;
  int fd_ = STDIN_FILENO;
  bool is_regular_ = false;
  uint64_t size_ = 0;
};

// Reads a regular file once to see that all of it can be ingested: nothing is begun for a file that cannot be finished.
absl::Status CheckWholeFile(Input& input, uint64_t max_bytes) {
  if (input.size() == 0) {
    return MakeError(absl::StatusCode::kInvalidArgument, "EMPTY_DOCUMENT", absl::StrCat(input.name(), " is empty"));
  }
  if (input.size() > max_bytes) {
    return MakeError(absl::StatusCode::kInvalidArgument, "DOCUMENT_TOO_LARGE",
                     absl::StrCat(input.name(), " has ", WithCommas(input.size()), " bytes; a document may have ",
                                  WithCommas(max_bytes), " (--max-bytes)"));
  }
  TextChecker checker;
  for (;;) {
    ILRE_ASSIGN_OR_RETURN(const absl::string_view bytes, input.Read());
    if (bytes.empty()) break;
    ILRE_RETURN_IF_ERROR(Annotate(checker.Take(bytes), input.name()));
  }
  ILRE_RETURN_IF_ERROR(Annotate(checker.CheckEnd(), input.name()));
  return input.Rewind();
}

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
      return MakeError(absl::StatusCode::kInvalidArgument, "DOCUMENT_TOO_LARGE",
                       absl::StrCat(input.name(), " goes beyond ", WithCommas(arguments.max_bytes),
                                    " bytes, which a document may have (--max-bytes)"));
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
