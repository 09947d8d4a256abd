#include "encoder_service/document_ingest.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"
#include "common/retrieval/lexical.h"
#include "common/retrieval/model_match.h"
#include "xxhash.h"

namespace ilre {
namespace {

// Tokenizing is tried when this much text has come: looking for a place to cut after every byte would cost more than
// the tokens.
constexpr size_t kTokenizeBytes = 4096;

// Text is handed on in pieces of this size, so that a large call is not held in memory twice.
constexpr size_t kPieceBytes = 64 << 10;

}  // namespace

absl::Status IngestOptions::Validate() const {
  if (commit_blocks < 1 || commit_blocks > 4096) {
    return errors::InvalidArgument(absl::StrCat("commit_blocks is ", commit_blocks, ", outside 1 to 4096"));
  }
  return absl::OkStatus();
}

// A block with everything that belongs to it, alive until its commit. `lexical` is made there.
struct DocumentIngest::FinishedBlock {
  std::vector<TokenId> ids;
  std::vector<uint32_t> ends;
  std::unique_ptr<bool[]> segment_starts;
  std::string text;
  uint64_t text_begin;
  uint32_t number;
  std::vector<HeadVectors> vectors;
  LexicalData lexical;
};

DocumentIngest::DocumentIngest(KeyStore& store, const RetrievalModel& model, const IngestOptions& options)
    : store_(store), model_(model), options_(options) {}

DocumentIngest::~DocumentIngest() = default;

absl::StatusOr<std::unique_ptr<DocumentIngest>> DocumentIngest::Begin(KeyStore& store, const RetrievalModel& model,
                                                                      absl::string_view collection,
                                                                      absl::string_view document, bool append,
                                                                      const IngestOptions& options) {
  ILRE_RETURN_IF_ERROR(options.Validate());
  std::unique_ptr<DocumentIngest> ingest(new DocumentIngest(store, model, options));
  absl::StatusOr<DocumentRow> row = store.GetDocument(collection, document);
  if (absl::IsNotFound(row.status())) {
    DocumentRow fresh;
    fresh.collection = std::string(collection);
    fresh.document = std::string(document);
    fresh.model = model.model_fingerprint();
    fresh.tokenizer = model.tokenizer().fingerprint();
    fresh.profile = model.encoding_fingerprint();
    row = store.CreateDocument(fresh);
  }
  ILRE_ASSIGN_OR_RETURN(ingest->row_, std::move(row));
  const std::string name = absl::StrCat(ingest->row_.collection, "/", ingest->row_.document);
  ILRE_RETURN_IF_ERROR(CheckSameModel(ingest->row_, model));
  if (ingest->row_.state == DocumentState::kFailed) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "DOCUMENT_FAILED",
                     absl::StrCat("document ", name, " has failed (", ingest->row_.failure, "): delete or replace it"));
  }
  if (ingest->row_.state == DocumentState::kReady && !append) {
    return MakeError(absl::StatusCode::kAlreadyExists, "DOCUMENT_EXISTS", absl::StrCat("document ", name, " exists"));
  }
  ILRE_RETURN_IF_ERROR(Annotate(ingest->Restore(), absl::StrCat("document ", name)));
  return ingest;
}

absl::Status DocumentIngest::Restore() {
  if (row_.committed_bytes == 0) {
    state_.stream = model_.document_start();
    return absl::OkStatus();
  }
  ILRE_ASSIGN_OR_RETURN(const std::string bytes, store_.ReadState(row_));
  ILRE_ASSIGN_OR_RETURN(state_, ParseIngestState(bytes, model_.decoder().config(), model_.document_start()));
  if (state_.received_bytes() != row_.committed_bytes || state_.num_blocks > row_.num_blocks) {
    return MakeError(absl::StatusCode::kDataLoss, "STATE_DAMAGED", "its state does not fit its row");
  }
  text_checker_ = TextChecker(state_.received_bytes(), state_.pending_text);
  progress_ = {state_.received_bytes(), state_.received_bytes(), uint64_t{state_.num_blocks} * kBlockTokens};
  return absl::OkStatus();
}

absl::Status DocumentIngest::Write(absl::string_view bytes) {
  ILRE_RETURN_IF_ERROR(failure_);
  ILRE_RETURN_IF_ERROR(text_checker_.Take(bytes));
  while (!bytes.empty()) {
    const absl::string_view piece = bytes.substr(0, kPieceBytes);
    bytes.remove_prefix(piece.size());
    state_.pending_text.append(piece.data(), piece.size());
    progress_.received_bytes += piece.size();
    untried_bytes_ += piece.size();
    if (untried_bytes_ < kTokenizeBytes) continue;
    ILRE_RETURN_IF_ERROR(Tokenize(/*to_the_end=*/false));
    ILRE_RETURN_IF_ERROR(EncodeBlocks(/*to_the_end=*/false));
  }
  return PollCommit();
}

absl::Status DocumentIngest::Tokenize(bool to_the_end) {
  untried_bytes_ = 0;
  const absl::string_view raw = absl::string_view(state_.pending_text).substr(state_.tokenized_bytes());
  const size_t ready = to_the_end ? raw.size() : model_.tokenizer().SafePrefix(raw);
  if (ready == 0) return absl::OkStatus();
  const bool at_start = state_.num_blocks == 0 && state_.pending_ids.empty();
  const uint32_t base = state_.tokenized_bytes();
  const Tokens tokens = model_.tokenizer().Encode(raw.substr(0, ready), SpecialTokens::kPlainText,
                                                  at_start ? TextPosition::kStart : TextPosition::kContinued);
  state_.pending_ids.insert(state_.pending_ids.end(), tokens.ids.begin(), tokens.ids.end());
  for (const uint32_t end : tokens.ends) state_.pending_ends.push_back(base + end);
  if (to_the_end && tokens.ids.empty()) {
    // Some vocabularies have no token for some control characters. Such an end of the text belongs to the last token,
    // or to a line break that stands in for one: every byte of a document is in a block.
    if (state_.pending_ids.empty()) {
      state_.pending_ids.push_back(model_.tokenizer().EncodeIds("\n").front());
      state_.pending_ends.push_back(0);
    }
    state_.pending_ends.back() = base + static_cast<uint32_t>(ready);
  }
  return absl::OkStatus();
}

absl::Status DocumentIngest::EncodeBlocks(bool to_the_end) {
  const ScopedPriority background(Priority::kBackground);
  while (state_.pending_ids.size() >= kBlockTokens || (to_the_end && !state_.pending_ids.empty())) {
    if (options_.should_stop && options_.should_stop()) {
      ILRE_RETURN_IF_ERROR(CollectCommit());
      return errors::Cancelled("the ingest");
    }
    ILRE_RETURN_IF_ERROR(EncodeOneBlock(std::min<size_t>(kBlockTokens, state_.pending_ids.size())));
    if (!to_the_end && finished_.size() >= static_cast<size_t>(options_.commit_blocks)) {
      ILRE_RETURN_IF_ERROR(StartCommit(DocumentState::kIngesting, EncodeIngestState(state_)));
    }
  }
  return absl::OkStatus();
}

absl::Status DocumentIngest::EncodeOneBlock(size_t num_tokens) {
  auto block = std::make_unique<FinishedBlock>();
  block->number = state_.num_blocks;
  block->text_begin = state_.block_bytes;
  block->ids.assign(state_.pending_ids.begin(), state_.pending_ids.begin() + static_cast<ptrdiff_t>(num_tokens));
  block->ends.assign(state_.pending_ends.begin(), state_.pending_ends.begin() + static_cast<ptrdiff_t>(num_tokens));
  const uint32_t text_bytes = block->ends.back();
  block->text = state_.pending_text.substr(0, text_bytes);
  block->segment_starts = std::make_unique<bool[]>(num_tokens);
  const RetrievalProfile& profile = model_.profile();
  Segmenter segmenter(profile.max_segment, profile.max_indented, state_.segmenter);
  uint32_t token_begin = 0;
  for (size_t i = 0; i < num_tokens; ++i) {
    block->segment_starts[i] =
        segmenter.StartsSegment(absl::string_view(block->text).substr(token_begin, block->ends[i] - token_begin));
    token_begin = block->ends[i];
  }
  state_.segmenter = segmenter.state();
  ILRE_ASSIGN_OR_RETURN(block->vectors, model_.EncodeBlock(block->ids, block->segment_starts.get(), &state_.stream));

  state_.pending_ids.erase(state_.pending_ids.begin(), state_.pending_ids.begin() + static_cast<ptrdiff_t>(num_tokens));
  state_.pending_ends.erase(state_.pending_ends.begin(),
                            state_.pending_ends.begin() + static_cast<ptrdiff_t>(num_tokens));
  for (uint32_t& end : state_.pending_ends) end -= text_bytes;
  state_.pending_text.erase(0, text_bytes);
  state_.text_checksum = XXH3_64bits_withSeed(block->text.data(), block->text.size(), state_.text_checksum);
  state_.block_bytes += text_bytes;
  ++state_.num_blocks;
  progress_.num_tokens += num_tokens;
  finished_.push_back(std::move(block));
  return absl::OkStatus();
}

absl::Status DocumentIngest::EncodeEnd() {
  IngestState before = state_;
  const size_t finished_before = finished_.size();
  const uint64_t tokens_before = progress_.num_tokens;
  const auto encode = [this]() -> absl::Status {
    ILRE_RETURN_IF_ERROR(Tokenize(/*to_the_end=*/true));
    return EncodeBlocks(/*to_the_end=*/true);
  };
  const absl::Status status = encode();
  if (status.ok()) return status;
  state_ = std::move(before);
  finished_.resize(finished_before);
  progress_.num_tokens = tokens_before;
  return status;
}

absl::Status DocumentIngest::StartCommit(DocumentState row_state, std::string state) {
  ILRE_RETURN_IF_ERROR(CollectCommit());
  pending_.row = row_;
  pending_.row.state = row_state;
  pending_.row.committed_bytes = progress_.received_bytes;
  // Without a new block, what is stored stays: also the last, partial block of a document that is appended to. It lies
  // behind the state's blocks, its text is pending again, and the next block replaces it.
  if (!finished_.empty()) {
    pending_.row.num_blocks = state_.num_blocks;
    pending_.row.num_tokens = progress_.num_tokens;
    pending_.row.text_checksum = state_.text_checksum;
  }
  pending_.state = std::move(state);
  pending_.blocks = std::exchange(finished_, {});
  is_committing_ = true;
  side_thread_.Start([this] { CommitOnSideThread(); });
  return absl::OkStatus();
}

absl::Status DocumentIngest::CollectCommit() {
  ILRE_RETURN_IF_ERROR(failure_);
  if (!is_committing_) return absl::OkStatus();
  side_thread_.Wait();
  is_committing_ = false;
  failure_ = pending_.result.status();
  ILRE_RETURN_IF_ERROR(failure_);
  row_ = *std::move(pending_.result);
  progress_.committed_bytes = row_.committed_bytes;
  return absl::OkStatus();
}

absl::Status DocumentIngest::PollCommit() { return side_thread_.is_idle() ? CollectCommit() : absl::OkStatus(); }

void DocumentIngest::CommitOnSideThread() {
  const bool lexical = model_.profile().lexical_postings;
  Commit commit;
  commit.row = pending_.row;
  commit.state = pending_.state;
  const uint64_t fingerprint = CombinedFingerprint(commit.row.model, commit.row.tokenizer, commit.row.profile);
  const std::vector<HeadFormat> heads = model_.profile().HeadFormats();
  for (const auto& finished : pending_.blocks) {
    Commit::Block& block = commit.blocks.emplace_back();
    block.data.document_uid = commit.row.uid;
    block.data.block = finished->number;
    block.data.fingerprint = fingerprint;
    block.data.text_begin = finished->text_begin;
    block.data.ids = finished->ids;
    block.data.ends = finished->ends;
    block.data.segment_starts = finished->segment_starts.get();
    block.data.heads = heads;
    for (const HeadVectors& vectors : finished->vectors) {
      block.data.vectors.push_back(vectors.bytes);
      block.data.scales.push_back(vectors.scales);
    }
    block.text = finished->text;
    if (lexical) {
      finished->lexical = BuildLexical(finished->text, finished->ends, finished->segment_starts.get());
      block.lexical = &finished->lexical;
    }
  }
  pending_.result = store_.Apply(commit);
  pending_.blocks.clear();
}

absl::Status DocumentIngest::Flush() {
  ILRE_RETURN_IF_ERROR(failure_);
  ILRE_RETURN_IF_ERROR(Tokenize(/*to_the_end=*/false));
  ILRE_RETURN_IF_ERROR(EncodeBlocks(/*to_the_end=*/false));
  return CommitComputed();
}

absl::Status DocumentIngest::CommitComputed() {
  ILRE_RETURN_IF_ERROR(CollectCommit());
  if (finished_.empty() && progress_.committed_bytes == progress_.received_bytes) return absl::OkStatus();
  ILRE_RETURN_IF_ERROR(StartCommit(DocumentState::kIngesting, EncodeIngestState(state_)));
  return CollectCommit();
}

absl::Status DocumentIngest::Finish() {
  ILRE_RETURN_IF_ERROR(failure_);
  if (progress_.received_bytes == 0) {
    return MakeError(absl::StatusCode::kInvalidArgument, "EMPTY_DOCUMENT", "the document is empty");
  }
  ILRE_RETURN_IF_ERROR(text_checker_.CheckEnd());
  ILRE_RETURN_IF_ERROR(Tokenize(/*to_the_end=*/false));
  ILRE_RETURN_IF_ERROR(EncodeBlocks(/*to_the_end=*/false));
  // What is appended later goes on from here: the end of this text may be tokenized otherwise once more follows.
  std::string state = EncodeIngestState(state_);
  ILRE_RETURN_IF_ERROR(EncodeEnd());
  ILRE_RETURN_IF_ERROR(StartCommit(DocumentState::kReady, std::move(state)));
  return CollectCommit();
}

}  // namespace ilre
