// Reading documents: whatever happens on the way, the stored bytes depend on the text alone, and nothing acknowledged
// is lost.
#include <algorithm>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/errors.h"
#include "common/base/test_matchers.h"
#include "common/base/utf8.h"
#include "common/store/test_documents.h"
#include "encoder_service/document_ingest.h"
#include "encoder_service/stored_text.h"
#include "gtest/gtest.h"
#include "tests/engine/tiny_engine.h"

namespace ilre {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

MATCHER_P(HasReason, reason, "") {
  *result_listener << StatusOf(arg).ToString();
  return ErrorReason(StatusOf(arg)) == reason;
}

const TinyEngine& Engine() {
  static const TinyEngine* const engine = new TinyEngine();
  return *engine;
}

class IngestTest : public ::testing::Test {
 protected:
  void SetUp() override { OpenStore(); }
  void OpenStore() {
    store_.reset();
    ILRE_ASSERT_OK_AND_ASSIGN(store_, OpenKeyStore(folder_.path(), {}));
  }

  absl::StatusOr<std::unique_ptr<DocumentIngest>> Begin(absl::string_view document, bool append = false,
                                                        const IngestOptions& options = {}) {
    return DocumentIngest::Begin(*store_, Engine().model(), "c", document, append, options);
  }
  // What an ingest of `text` in one piece stores.
  DocumentContent Expected(absl::string_view text, const RetrievalModel& model = Engine().model()) {
    const std::string name = absl::StrCat("expected-", ++num_expected_);
    const absl::StatusOr<DocumentRow> row = IngestWhole(*store_, model, "c", name, text);
    ILRE_EXPECT_OK(row);
    return Content(name);
  }
  DocumentContent Content(absl::string_view document) {
    absl::StatusOr<DocumentContent> content = ReadContent(*store_, "c", document);
    ILRE_EXPECT_OK(content);
    return content.ok() ? *std::move(content) : DocumentContent();
  }

  TempFolder folder_;
  std::unique_ptr<KeyStore> store_;
  int num_expected_ = 0;
};

void ExpectSame(const DocumentContent& actual, const DocumentContent& expected) {
  EXPECT_EQ(actual.text, expected.text);
  ASSERT_EQ(actual.blocks.size(), expected.blocks.size());
  for (size_t i = 0; i < actual.blocks.size(); ++i) {
    EXPECT_TRUE(actual.blocks[i] == expected.blocks[i]) << "block " << i;
    EXPECT_TRUE(actual.postings[i] == expected.postings[i]) << "postings of block " << i;
  }
  EXPECT_EQ(actual.row, expected.row) << actual.row.num_tokens << " tokens, " << expected.row.num_tokens << " expected";
}

// [bytes of a piece, commit_blocks]
class CutTest : public IngestTest, public ::testing::WithParamInterface<std::tuple<size_t, int>> {};

TEST_P(CutTest, DoesNotMatter) {
  const auto [piece_bytes, commit_blocks] = GetParam();
  Random random(11);
  const std::string text = MadeUpText(&random, 30'000);
  ILRE_ASSERT_OK_AND_ASSIGN(const auto ingest, Begin("d", false, {.commit_blocks = commit_blocks}));
  for (size_t at = 0; at < text.size(); at += piece_bytes) {
    ILRE_ASSERT_OK(ingest->Write(absl::string_view(text).substr(at, piece_bytes)));
    ASSERT_LE(ingest->progress().committed_bytes, ingest->progress().received_bytes);
  }
  EXPECT_EQ(ingest->progress().received_bytes, text.size());
  ILRE_ASSERT_OK(ingest->Finish());
  EXPECT_EQ(ingest->progress().committed_bytes, text.size());
  const DocumentContent expected = Expected(text);
  EXPECT_EQ(expected.text, text);
  EXPECT_GT(expected.blocks.size(), 60);
  ExpectSame(Content("d"), expected);
}

INSTANTIATE_TEST_SUITE_P(Pieces, CutTest,
                         ::testing::Combine(::testing::Values(1, 7, 1024, 1 << 20), ::testing::Values(1, 3, 64)));

// The number of bytes at the start of `text`, at most `most`, that are whole characters.
size_t WholeCharacters(absl::string_view text, size_t most) { return Utf8ValidPrefix(text.substr(0, most)); }

// Writes a document with everything that may happen to it on the way: pieces of any size, flushes, crashes of this
// process (the object is dropped), reopened stores, and ends after which more is appended.
class RoughIngest {
 public:
  using BeginFunction = std::function<absl::StatusOr<std::unique_ptr<DocumentIngest>>(bool append, int commit_blocks)>;

  RoughIngest(std::string text, uint64_t seed, BeginFunction begin, std::function<void()> reopen)
      : text_(std::move(text)), random_(seed), begin_(std::move(begin)), reopen_(std::move(reopen)) {}

  void Run() {
    Restart();
    while (!::testing::Test::HasFatalFailure() && ingest_->progress().received_bytes < text_.size()) Step();
    if (::testing::Test::HasFatalFailure()) return;
    ILRE_ASSERT_OK(ingest_->Finish());
    EXPECT_EQ(ingest_->progress().committed_bytes, text_.size());
    ingest_.reset();
  }
  int num_restarts() const { return num_restarts_; }
  int num_appends() const { return num_appends_; }

 private:
  void Step() {
    const uint64_t received = ingest_->progress().received_bytes;
    const uint64_t action = random_.Below(12);
    if (action < 7) {
      const size_t size = 1 + random_.Below(random_.Below(4) == 0 ? 9000 : 700);
      ILRE_ASSERT_OK(ingest_->Write(absl::string_view(text_).substr(received, size)));
      acknowledged_ = std::max(acknowledged_, ingest_->progress().committed_bytes);
    } else if (action < 9) {
      ILRE_ASSERT_OK(ingest_->Flush());
      ASSERT_EQ(ingest_->progress().committed_bytes, received);
      acknowledged_ = received;
    } else if (action < 11) {
      ingest_.reset();
      if (action == 10) reopen_();
      Restart();
    } else if (received > 0 && WholeCharacters(text_, received) == received) {
      ILRE_ASSERT_OK(ingest_->Finish());
      acknowledged_ = received;
      is_finished_ = true;
      ingest_.reset();
      ++num_appends_;
      Restart();
    }
  }
  void Restart() {
    auto begun = begin_(is_finished_, static_cast<int>(1 + random_.Below(5)));
    ILRE_ASSERT_OK(begun);
    ingest_ = *std::move(begun);
    ++num_restarts_;
    const IngestProgress& progress = ingest_->progress();
    ASSERT_EQ(progress.received_bytes, progress.committed_bytes);
    // A commit under way when the process ended may have become durable without its acknowledgement.
    ASSERT_GE(progress.committed_bytes, acknowledged_) << "an acknowledged offset is lost";
    acknowledged_ = progress.committed_bytes;
  }

  const std::string text_;
  Random random_;
  BeginFunction begin_;
  std::function<void()> reopen_;
  std::unique_ptr<DocumentIngest> ingest_;
  uint64_t acknowledged_ = 0;
  bool is_finished_ = false;
  int num_restarts_ = 0, num_appends_ = 0;
};

TEST_F(IngestTest, InterruptionsAndAppendsDoNotMatter) {
  int restarts = 0, appends = 0;
  const auto other = Engine().With([](RetrievalProfile* profile) {
    profile->arithmetic = StreamArithmetic::kInt8;
    profile->max_indented = 24;
  });
  for (uint64_t seed = 0; seed < 16; ++seed) {
    const bool is_other = seed % 4 == 3;
    const RetrievalModel& model = is_other ? *other : Engine().model();
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Random random(seed);
    std::string text = MadeUpText(&random, 2000 + random.Below(14'000));
    if (is_other) absl::StrReplaceAll({{" ", "\n "}, {"e ", "e\n   "}, {"d ", "d\n\t"}, {", ", "\n"}}, &text);
    const std::string name = absl::StrCat("d", seed);
    RoughIngest rough(
        text, seed,
        [&](bool append, int commit_blocks) {
          return DocumentIngest::Begin(*store_, model, "c", name, append, {.commit_blocks = commit_blocks});
        },
        [&] { OpenStore(); });
    rough.Run();
    if (HasFatalFailure()) return;
    ExpectSame(Content(name), Expected(text, model));
    restarts += rough.num_restarts();
    appends += rough.num_appends();
  }
  EXPECT_GT(restarts, 60);
  EXPECT_GT(appends, 10);
}

TEST_F(IngestTest, NothingOfRefusedBytesCounts) {
  Random random(3);
  const std::string text = MadeUpText(&random, 100'000);
  ILRE_ASSERT_OK_AND_ASSIGN(const auto ingest, Begin("d"));
  const size_t half = WholeCharacters(text, 10'000);
  ILRE_ASSERT_OK(ingest->Write(text.substr(0, half)));
  const struct {
    std::string bytes, reason;
    size_t at;
  } kRefused[] = {{std::string("ab\0c", 4), "BINARY_TEXT", 2},
                  {"caf\xE9 au lait", "NOT_UTF8", 3},              // Latin-1
                  {std::string("\xFF\xFEU\0", 4), "NOT_UTF8", 0},  // UTF-16
                  {"\xED\xA0\x80", "NOT_UTF8", 0},                 // half of a surrogate pair
                  {std::string(70'000, 'x') + '\0', "BINARY_TEXT", 70'000},
                  {std::string(150'000, 'x') + "\xFF", "NOT_UTF8", 150'000}};
  for (const auto& refused : kRefused) {
    const absl::Status status = ingest->Write(refused.bytes);
    EXPECT_THAT(status, HasReason(refused.reason));
    EXPECT_THAT(status,
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(absl::StrCat("byte ", half + refused.at))));
    EXPECT_EQ(ingest->progress().received_bytes, half);
  }
  ILRE_ASSERT_OK(ingest->Write(text.substr(half)));
  ILRE_ASSERT_OK(ingest->Finish());
  ExpectSame(Content("d"), Expected(text));
}

TEST_F(IngestTest, ACharacterMayArriveInPiecesButNotWithoutItsEnd) {
  const std::string text = "Two signs: 漢字";
  for (const size_t cut : {1, 2}) {
    const std::string name = absl::StrCat("d", cut);
    ILRE_ASSERT_OK_AND_ASSIGN(auto ingest, Begin(name));
    ILRE_ASSERT_OK(ingest->Write(text.substr(0, text.size() - 3 + cut)));
    EXPECT_THAT(ingest->Finish(),
                AllOf(HasReason("NOT_UTF8"),
                      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(absl::StrCat("byte ", text.size() - 3)))));
    ILRE_ASSERT_OK(ingest->Flush());
    ILRE_ASSERT_OK_AND_ASSIGN(ingest, Begin(name));  // the half character is part of what was acknowledged
    EXPECT_THAT(ingest->Write("x"), HasReason("NOT_UTF8"));
    EXPECT_THAT(ingest->Finish(), HasReason("NOT_UTF8"));
    ILRE_ASSERT_OK(ingest->Write(text.substr(text.size() - 3 + cut)));
    ILRE_ASSERT_OK(ingest->Finish());
    ExpectSame(Content(name), Expected(text));
  }
}

TEST_F(IngestTest, AnEmptyDocumentIsRefused) {
  ILRE_ASSERT_OK_AND_ASSIGN(const auto ingest, Begin("d"));
  ILRE_ASSERT_OK(ingest->Write(""));
  ILRE_ASSERT_OK(ingest->Flush());
  EXPECT_THAT(ingest->Finish(), AllOf(StatusIs(absl::StatusCode::kInvalidArgument), HasReason("EMPTY_DOCUMENT")));
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow row, store_->GetDocument("c", "d"));
  EXPECT_EQ(row.state, DocumentState::kIngesting);
}

TEST_F(IngestTest, AFinishedDocumentIsOnlyAppendedTo) {
  ILRE_ASSERT_OK(IngestWhole(*store_, Engine().model(), "c", "d", "One line.\n"));
  EXPECT_THAT(Begin("d"), AllOf(StatusIs(absl::StatusCode::kAlreadyExists), HasReason("DOCUMENT_EXISTS")));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto ingest, Begin("d", /*append=*/true));
  EXPECT_EQ(ingest->progress().received_bytes, 10);
  ILRE_ASSERT_OK(ingest->Finish());  // of nothing more
  ExpectSame(Content("d"), Expected("One line.\n"));
}

TEST_F(IngestTest, AnotherModelIsRefused) {
  ILRE_ASSERT_OK_AND_ASSIGN(const auto ingest, Begin("d"));
  ILRE_ASSERT_OK(ingest->Write("Some text."));
  ILRE_ASSERT_OK(ingest->Flush());
  const TinyEngine other("tiny-mistral");
  EXPECT_THAT(
      DocumentIngest::Begin(*store_, other.model(), "c", "d", false, {}),
      AllOf(HasReason("MODEL_MISMATCH"), StatusIs(absl::StatusCode::kFailedPrecondition,
                                                  AllOf(HasSubstr("c/d"), HasSubstr(other.model().model_fingerprint()),
                                                        HasSubstr(Engine().model().model_fingerprint())))));
  const auto wider = Engine().With([](RetrievalProfile* profile) { ++profile->window; });
  EXPECT_THAT(DocumentIngest::Begin(*store_, *wider, "c", "d", false, {}),
              AllOf(HasReason("MODEL_MISMATCH"), StatusIs(absl::StatusCode::kFailedPrecondition,
                                                          AllOf(HasSubstr(wider->encoding_fingerprint()),
                                                                HasSubstr(Engine().model().encoding_fingerprint())))));
  // How scores are computed is not part of what is stored.
  const auto scored = Engine().With([](RetrievalProfile* profile) { profile->heads[0].weight = 3; });
  ILRE_EXPECT_OK(DocumentIngest::Begin(*store_, *scored, "c", "d", false, {}));
}

TEST_F(IngestTest, AFailedDocumentIsRefused) {
  ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow row, IngestWhole(*store_, Engine().model(), "c", "d", "Some text."));
  row.state = DocumentState::kFailed;
  row.failure = "the roof leaks";
  ILRE_ASSERT_OK(store_->UpdateRow(row));
  for (const bool append : {false, true}) {
    EXPECT_THAT(Begin("d", append), AllOf(HasReason("DOCUMENT_FAILED"), StatusIs(absl::StatusCode::kFailedPrecondition,
                                                                                 HasSubstr("the roof leaks"))));
  }
}

TEST_F(IngestTest, ACancelledIngestStopsBeforeItsNextBlock) {
  Random random(5);
  const std::string text = MadeUpText(&random, 20'000);
  for (const int stop_at : {0, 1, 2, 9, 30}) {
    const std::string name = absl::StrCat("d", stop_at);
    int asked = 0;
    IngestOptions options;
    options.commit_blocks = 2;
    options.should_stop = [&] { return asked++ == stop_at; };
    ILRE_ASSERT_OK_AND_ASSIGN(auto ingest, Begin(name, false, options));
    EXPECT_THAT(ingest->Write(text), StatusIs(absl::StatusCode::kCancelled));
    EXPECT_EQ(asked, stop_at + 1) << "it went on";
    EXPECT_EQ(ingest->progress().num_tokens, uint64_t{256} * stop_at);
    const bool keeps = stop_at % 2 != 0;  // half of a commit's blocks are computed
    if (keeps) {
      ILRE_ASSERT_OK(ingest->CommitComputed());
    }
    EXPECT_EQ(asked, stop_at + 1) << "it computed on";
    const uint64_t committed = ingest->progress().committed_bytes;
    EXPECT_TRUE(!keeps || committed == text.size()) << committed;
    ILRE_ASSERT_OK_AND_ASSIGN(ingest, Begin(name));
    ASSERT_EQ(ingest->progress().committed_bytes, committed);
    EXPECT_GE(ingest->progress().num_tokens, uint64_t{256} * (keeps ? stop_at : stop_at / 2 * 2));
    ILRE_ASSERT_OK(ingest->Write(text.substr(committed)));
    ILRE_ASSERT_OK(ingest->Finish());
    ExpectSame(Content(name), Expected(text));
  }
}

TEST_F(IngestTest, AnEndThatIsCancelledIsAsIfItHadNotBeenAskedFor) {
  Random random(8);
  // A word without an end: none of it can be tokenized before the text's end is known.
  const std::string text = MadeUpText(&random, 3'000), word(3'000, 'q'), more = " and " + MadeUpText(&random, 2'000);
  const DocumentContent expected = Expected(text + word + more);
  for (int stop_at = 0, cancelled = 1; cancelled > 0; ++stop_at) {
    const std::string name = absl::StrCat("d", stop_at);
    bool ending = false;
    int asked = 0;
    IngestOptions options;
    options.should_stop = [&] { return ending && asked++ == stop_at; };
    ILRE_ASSERT_OK_AND_ASSIGN(auto ingest, Begin(name, false, options));
    ILRE_ASSERT_OK(ingest->Write(text + word));
    ending = true;
    const absl::Status status = ingest->Finish();
    cancelled = absl::IsCancelled(status);
    if (!cancelled) {
      EXPECT_GT(stop_at, 2) << "the end was of no length";
      break;
    }
    ILRE_ASSERT_OK(ingest->CommitComputed());
    EXPECT_EQ(ingest->progress().committed_bytes, text.size() + word.size());
    ILRE_ASSERT_OK_AND_ASSIGN(ingest, Begin(name));
    ILRE_ASSERT_OK(ingest->Write(more));
    ILRE_ASSERT_OK(ingest->Finish());
    ExpectSame(Content(name), expected);
  }
}

TEST_F(IngestTest, AFailedCommitIsToldAndNothingGoesOnAfterIt) {
  Random random(6);
  const std::string text = MadeUpText(&random, 20'000);
  for (const bool flush : {false, true}) {
    ILRE_ASSERT_OK_AND_ASSIGN(const auto ingest, Begin("d", false, {.commit_blocks = 3}));
    ILRE_ASSERT_OK(ingest->Write(text));
    ILRE_ASSERT_OK(ingest->Flush());
    const uint64_t committed = ingest->progress().committed_bytes;
    ASSERT_EQ(committed, text.size());
    ILRE_ASSERT_OK(store_->DeleteDocument("c", "d"));
    // Blocks for several commits: the first fails on its way, the next cannot begin.
    absl::Status status = ingest->Write(text);
    if (status.ok()) status = flush ? ingest->Flush() : ingest->Finish();
    EXPECT_THAT(status, HasReason("DOCUMENT_CHANGED"));
    EXPECT_EQ(ingest->Write("more"), status);
    EXPECT_EQ(ingest->Flush(), status);
    EXPECT_EQ(ingest->Finish(), status);
    EXPECT_EQ(ingest->progress().committed_bytes, committed);
  }
}

TEST_F(IngestTest, OptionsOutOfRangeAreRefused) {
  for (const int commit_blocks : {-1, 0, 4097}) {
    EXPECT_THAT(Begin("d", false, {.commit_blocks = commit_blocks}), StatusIs(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_THAT(store_->GetDocument("c", "d"), StatusIs(absl::StatusCode::kNotFound));
}

class DamagedStateTest : public IngestTest {
 protected:
  void SetUp() override {
    IngestTest::SetUp();
    Prepare();
  }
  // An unfinished document and its state.
  void Prepare() {
    Random random(2);
    ILRE_ASSERT_OK_AND_ASSIGN(const auto ingest, Begin("d"));
    ILRE_ASSERT_OK(ingest->Write(MadeUpText(&random, 3000)));
    ILRE_ASSERT_OK(ingest->Flush());
    row_ = ingest->row();
    ILRE_ASSERT_OK_AND_ASSIGN(state_, store_->ReadState(row_));
  }
  // Stores `state` as a writer would that has gone mad: sound for the store, not for an ingest.
  void Store(const std::string& state) {
    ILRE_ASSERT_OK_AND_ASSIGN(row_, store_->Apply({.row = row_, .state = state}));
  }

  DocumentRow row_;
  std::string state_;
};

TEST_F(DamagedStateTest, CutShortOrLengthenedItIsRefused) {
  for (size_t size = 0; size < state_.size(); size += 1 + size / 50) {
    Store(state_.substr(0, size));
    ASSERT_THAT(Begin("d"), AllOf(StatusIs(absl::StatusCode::kDataLoss, HasSubstr("c/d")), HasReason("STATE_DAMAGED")))
        << size << " bytes of " << state_.size();
  }
  Store(state_ + "x");
  EXPECT_THAT(Begin("d"), HasReason("STATE_DAMAGED"));
  Store(state_);
  ILRE_EXPECT_OK(Begin("d"));
}

TEST_F(DamagedStateTest, FlippedBitsNeverBreakTheProgram) {
  Random random(8);
  int refused = 0;
  for (int round = 0; round < 120; ++round) {
    std::string damaged = state_;
    // Mostly in the numbers before the stream's vectors, which decide about sizes.
    damaged[random.Below(round % 4 == 0 ? damaged.size() : 200)] ^= static_cast<char>(1 << random.Below(8));
    Store(damaged);
    auto ingest = Begin("d");
    if (!ingest.ok()) {
      ASSERT_THAT(ingest, StatusIs(absl::StatusCode::kDataLoss));
      ++refused;
      continue;
    }
    // Whatever it is now, going on gives a document or an error.
    (*ingest)->Write(" More text. More text.").IgnoreError();
    (*ingest)->Flush().IgnoreError();
    ILRE_ASSERT_OK_AND_ASSIGN(row_, store_->GetDocument("c", "d"));
    if (row_.num_blocks != 0) {  // begin anew
      ingest->reset();
      ILRE_ASSERT_OK(store_->DeleteDocument("c", "d"));
      Prepare();
    }
  }
  EXPECT_GT(refused, 8);
}

TEST_F(IngestTest, StoredTextIsComparedWhereverItLies) {
  Random random(4);
  const std::string text = MadeUpText(&random, 30'000);
  const size_t half = WholeCharacters(text, 20'001);
  ILRE_ASSERT_OK_AND_ASSIGN(const auto open, Begin("open", false, {.commit_blocks = 3}));
  ILRE_ASSERT_OK(open->Write(text.substr(0, half)));
  ILRE_ASSERT_OK(open->Flush());
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow ready, IngestWhole(*store_, Engine().model(), "c", "ready", text));
  ILRE_ASSERT_OK(IngestWhole(*store_, Engine().model(), "c", "appended", text.substr(0, half)));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto appended, Begin("appended", /*append=*/true));
  ILRE_ASSERT_OK(appended->Write(text.substr(half, 9)));
  ILRE_ASSERT_OK(appended->Flush());  // no block is full
  for (const DocumentRow& row : {open->row(), ready, appended->row()}) {
    const size_t size = row.committed_bytes;
    for (int round = 0; round < 20; ++round) {
      std::string offered = text;
      const size_t changed_at = random.Below(size + 1);  // size: nothing is changed
      if (changed_at < size) offered[changed_at] ^= 1;
      StoredText stored(*store_, Engine().model(), row);
      bool same = true;
      while (same && !stored.at_end()) {
        size_t matched = 0;
        const std::string bytes = offered.substr(stored.position(), 1 + random.Below(5000));
        const uint64_t before = stored.position();
        ILRE_ASSERT_OK_AND_ASSIGN(same, stored.GoesOnWith(bytes, &matched));
        ASSERT_EQ(stored.position(), before + matched);
      }
      EXPECT_EQ(same, changed_at == size);
      if (same) {
        EXPECT_EQ(stored.position(), size);
      } else {
        EXPECT_LE(stored.position(), changed_at);
      }
    }
  }
}

}  // namespace
}  // namespace ilre
