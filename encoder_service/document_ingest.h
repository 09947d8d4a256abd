// One document on its way into the store: bytes in, tokens, blocks, vectors, commits.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/retrieval/retrieval_model.h"
#include "common/store/key_store.h"
#include "encoder_service/ingest_state.h"
#include "encoder_service/side_thread.h"
#include "encoder_service/text_checker.h"

namespace ilre {

struct IngestOptions {
  // Blocks computed between two commits. More: less to sync; fewer: less to do again after a crash.
  int commit_blocks = 64;
  // Asked before each block; true stops with CANCELLED, once a commit that has begun is done. Everything committed
  // stays, and what was computed since then can be committed, too: CommitComputed.
  std::function<bool()> should_stop;
  absl::Status Validate() const;
};

struct IngestProgress {
  uint64_t received_bytes = 0;   // taken by Write
  uint64_t committed_bytes = 0;  // durable: survives a crash of process or machine
  uint64_t num_tokens = 0;       // in whole blocks so far
};

// Blocks are computed on the calling thread and the default pool, as background work: questions go first. Meanwhile the
// blocks before them are indexed and committed on a thread of this object: at most `commit_blocks` of them wait there.
//
// Not thread-safe: one caller at a time. After an error other than INVALID_ARGUMENT for bytes that were refused, give
// it up (after CANCELLED perhaps with CommitComputed) and begin a new one: it goes on from what was committed. The
// model and store must outlive it.
//
// An error of a commit surfaces with the next call that can tell it, Flush or Finish at the latest. When this is
// destroyed, a commit that has begun is finished: more may then be durable than was reported, never less.
//
// Stored blocks depend on the bytes alone, not on how they were cut into calls, where commits fell, or how often the
// ingest was interrupted.
class DocumentIngest {
 public:
  // Creates the document, or goes on with the unfinished (INGESTING) one of that name. Of a finished one only with
  // `append`: then bytes are added behind its end; else ALREADY_EXISTS with reason DOCUMENT_EXISTS.
  // FAILED_PRECONDITION with reason MODEL_MISMATCH, naming both fingerprints, if it was begun with another model,
  // tokenizer or profile.
  static absl::StatusOr<std::unique_ptr<DocumentIngest>> Begin(KeyStore& store, const RetrievalModel& model,
                                                               absl::string_view collection, absl::string_view document,
                                                               bool append, const IngestOptions& options);

  ~DocumentIngest();

  // Bytes of the document that are in already when this begins: the offset of the next byte to be written.
  const IngestProgress& progress() const { return progress_; }
  const DocumentRow& row() const { return row_; }

  // The next bytes, cut anywhere. Returns when their whole blocks are computed; commits follow by themselves.
  // INVALID_ARGUMENT with reason NOT_UTF8 or BINARY_TEXT naming the byte's offset: nothing of this call counts then.
  absl::Status Write(absl::string_view bytes);

  // Commits what was received. OK means it is durable.
  absl::Status Flush();

  // Commits the blocks that are computed and the text behind them, and computes nothing more: for an ingest that is to
  // end here. May be called after CANCELLED, also of Finish: the document is then as before the end was asked for.
  absl::Status CommitComputed();

  // Ends the document: it is READY and durable when this returns OK. INVALID_ARGUMENT with reason EMPTY_DOCUMENT if no
  // byte was written, or NOT_UTF8 if it ends within a character.
  absl::Status Finish();

 private:
  struct FinishedBlock;

  DocumentIngest(KeyStore& store, const RetrievalModel& model, const IngestOptions& options);
  absl::Status Restore();
  absl::Status Tokenize(bool to_the_end);
  absl::Status EncodeBlocks(bool to_the_end);
  absl::Status EncodeOneBlock(size_t num_tokens);
  // What is left, with its end as the text's end. After an error it is as if this had not been called.
  absl::Status EncodeEnd();
  // Hands the blocks computed so far to the side thread, once that is done with those before.
  absl::Status StartCommit(DocumentState row_state, std::string state);
  // Waits for the commit at hand and takes its result.
  absl::Status CollectCommit();
  // The same if it is done.
  absl::Status PollCommit();
  void CommitOnSideThread();

  KeyStore& store_;
  const RetrievalModel& model_;
  IngestOptions options_;
  DocumentRow row_;
  IngestState state_;
  IngestProgress progress_;
  std::vector<std::unique_ptr<FinishedBlock>> finished_;  // computed, not handed over
  size_t untried_bytes_ = 0;                              // received since tokenizing was last tried
  TextChecker text_checker_;

  // A commit at hand. Belongs to the side thread from Start until it is idle again.
  struct PendingCommit {
    DocumentRow row;
    std::string state;
    std::vector<std::unique_ptr<FinishedBlock>> blocks;
    absl::StatusOr<DocumentRow> result;
  };
  PendingCommit pending_;
  bool is_committing_ = false;  // a commit was started and its result not taken
  absl::Status failure_;        // of a commit: nothing goes on after it
  SideThread side_thread_;      // the last member: it ends before what it works on
};

}  // namespace ilre
