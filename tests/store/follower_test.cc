// Followers: what they show of a store that another process writes.
#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/errors.h"
#include "common/base/test_matchers.h"
#include "common/store/key_store.h"
#include "common/store/store_refresher.h"
#include "gtest/gtest.h"
#include "tests/store/known_documents.h"
#include "tests/store/writer_process.h"

namespace ilre {
namespace {

class FollowerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    writer_ = StartWriter(store_folder_.path());
    ILRE_ASSERT_OK_AND_ASSIGN(follower_, OpenKeyStoreFollower(store_folder_.path(), KeyStoreOptions()));
  }
  void Command(const std::string& command) {
    writer_->WriteLine(command);
    std::string line;
    do ASSERT_TRUE(writer_->ReadLine(&line));
    while (line != "ok" && line.find(':') == std::string::npos);
    ASSERT_EQ(line, "ok") << command;
  }
  absl::StatusOr<DocumentRow> Get(const std::string& name) { return follower_->GetDocument(kKnownCollection, name); }

  TempFolder store_folder_;
  std::unique_ptr<ChildProcess> writer_;
  std::unique_ptr<KeyStoreReader> follower_;
};

TEST_F(FollowerTest, SeesCommitsAfterRefresh) {
  EXPECT_THAT(Get("a"), StatusIs(absl::StatusCode::kNotFound));
  uint64_t revision = 1;
  for (const int num_blocks : {1, 3, 40, 2, 100}) {
    Command("append a " + std::to_string(num_blocks));
    ILRE_ASSERT_OK(follower_->Refresh());
    ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow row, Get("a"));
    EXPECT_EQ(row.revision, ++revision);
    EXPECT_EQ(KnownDifference(*follower_, row), "");
  }
  ILRE_ASSERT_OK_AND_ASSIGN(const KeyStoreReader::Stats stats, follower_->GetStats());
  EXPECT_EQ(stats.num_documents, 1);
}

TEST_F(FollowerTest, SurvivesDeletionAndCompaction) {
  Command("append a 60");
  Command("append b 60");
  ILRE_ASSERT_OK(follower_->Refresh());
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow a, Get("a"));
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow b, Get("b"));
  Command("delete a");
  Command("append c 60");
  Command("compact");
  // Before it catches up, it still has what it had: files that are gone for the writer are mapped.
  EXPECT_EQ(KnownDifference(*follower_, a), "");
  EXPECT_EQ(KnownDifference(*follower_, b), "");
  ILRE_ASSERT_OK(follower_->Refresh());
  EXPECT_THAT(Get("a"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(ErrorReason(follower_->VisitBlocks(a, 0, 60, [](const BlockView&) { return absl::OkStatus(); })),
            "DOCUMENT_NOT_FOUND");
  EXPECT_EQ(KnownDifference(*follower_, b), "");
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow c, Get("c"));
  EXPECT_EQ(KnownDifference(*follower_, c), "");
}

TEST_F(FollowerTest, AVisitSurvivesARefreshMeanwhile) {
  Command("append a 50");
  ILRE_ASSERT_OK(follower_->Refresh());
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow row, Get("a"));
  ILRE_EXPECT_OK(follower_->VisitBlocks(row, 0, 50, [&](const BlockView& view) {
    if (view.block() == 10) Command("delete a");
    if (view.block() == 20) Command("append b 50");
    if (view.block() == 30) Command("compact");
    return view.block() % 10 == 5 ? follower_->Refresh() : absl::OkStatus();
  }));
}

TEST_F(FollowerTest, SurvivesItsWriter) {
  Command("append a 5");
  ILRE_ASSERT_OK(follower_->Refresh());
  writer_->Kill();
  ILRE_EXPECT_OK(follower_->Refresh());
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow row, Get("a"));
  EXPECT_EQ(KnownDifference(*follower_, row), "");
  writer_ = StartWriter(store_folder_.path());
  Command("append a 5");
  ILRE_ASSERT_OK(follower_->Refresh());
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow longer, Get("a"));
  EXPECT_EQ(longer.num_blocks, 10);
  EXPECT_EQ(KnownDifference(*follower_, longer), "");
}

TEST_F(FollowerTest, ARefresherShowsWhatIsCommitted) {
  const StoreRefresher refresher(follower_.get(), absl::Milliseconds(5));
  uint32_t num_blocks = 0;
  for (int commit = 0; commit < 5; ++commit) {
    Command("append a 3");
    num_blocks += 3;
    const absl::Time deadline = absl::Now() + absl::Seconds(60);
    absl::StatusOr<DocumentRow> row = Get("a");
    while ((!row.ok() || row->num_blocks != num_blocks) && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(1));
      row = Get("a");
    }
    ILRE_ASSERT_OK(row);
    EXPECT_EQ(row->num_blocks, num_blocks);
    ILRE_EXPECT_OK(refresher.last_status());
  }
}

TEST_F(FollowerTest, GoesOnShowingAStoreThatIsAway) {
  Command("append a 5");
  ILRE_ASSERT_OK(follower_->Refresh());
  const std::string away = store_folder_.path() + "-away";
  std::filesystem::rename(store_folder_.path(), away);
  EXPECT_FALSE(follower_->Refresh().ok());
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentRow row, Get("a"));
  EXPECT_EQ(KnownDifference(*follower_, row), "");
  std::filesystem::rename(away, store_folder_.path());
  ILRE_EXPECT_OK(follower_->Refresh());
}

// A writer that never pauses, and is killed and started again, with a thread that takes down what it acknowledges.
class RestlessWriter {
 public:
  explicit RestlessWriter(std::string folder) : folder_(std::move(folder)) { Start(); }
  ~RestlessWriter() { Stop(); }

  void Restart() {
    Stop();
    Start();
  }
  AcknowledgedRows acknowledged() const {
    absl::MutexLock lock(&mutex_);
    return rows_;
  }
  int num_lines() const { return num_lines_; }

 private:
  void Start() {
    process_ = StartWriter(folder_, absl::StrCat(++seed_));
    ASSERT_NE(process_, nullptr);
    listener_ = std::thread([this] {
      for (std::string line; process_->ReadLine(&line);) {
        absl::MutexLock lock(&mutex_);
        ASSERT_TRUE(Note(line, &rows_)) << line;
        ++num_lines_;
      }
    });
  }
  void Stop() {
    if (process_ == nullptr) return;
    process_->Kill();
    listener_.join();
    process_ = nullptr;
  }

  const std::string folder_;
  int seed_ = 0;
  std::unique_ptr<ChildProcess> process_;
  std::thread listener_;
  mutable absl::Mutex mutex_;
  AcknowledgedRows rows_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int> num_lines_ = 0;
};

// By name: what a view shows, which is to be whole to the last byte.
std::map<std::string, DocumentRow> ReadWholeView(const KeyStoreReader& store) {
  std::map<std::string, DocumentRow> rows;
  const absl::StatusOr<KeyStoreReader::Page> page = store.ListDocuments(kKnownCollection, 1000, "");
  EXPECT_TRUE(page.ok()) << page.status();
  if (!page.ok()) return rows;
  for (const DocumentRow& row : page->rows) {
    EXPECT_EQ(KnownDifference(store, row), "") << row.document << " uid " << row.uid << " revision " << row.revision;
    rows[row.document] = row;
  }
  return rows;
}

// Everything that was acknowledged before a refresh is shown after it, and nothing goes back.
TEST_F(FollowerTest, ShowsExactlyOneMomentOfAWriterThatNeverPauses) {
  constexpr int kViewsEach = 40, kWriters = 4;
  writer_->Kill();
  RestlessWriter writer(store_folder_.path());
  std::map<std::string, DocumentRow> before;
  for (int view = 1; view <= kWriters * kViewsEach; ++view) {
    const AcknowledgedRows acknowledged = writer.acknowledged();
    ILRE_ASSERT_OK(follower_->Refresh());
    const std::map<std::string, DocumentRow> rows = ReadWholeView(*follower_);
    for (const auto& [name, row] : acknowledged) {
      const auto shown = rows.find(name);
      if (shown == rows.end()) continue;  // deleted since, or acknowledged as deleted
      EXPECT_TRUE(row.revision == 0 ? shown->second.uid > row.uid
                                    : shown->second.uid > row.uid || shown->second.revision >= row.revision)
          << name << ": shown uid " << shown->second.uid << " revision " << shown->second.revision << ", acknowledged "
          << row.uid << " revision " << row.revision;
    }
    for (const auto& [name, row] : before) {
      const auto shown = rows.find(name);
      if (shown == rows.end()) continue;
      EXPECT_TRUE(shown->second.uid > row.uid ||
                  (shown->second.uid == row.uid && shown->second.revision >= row.revision))
          << name;
    }
    before = rows;
    if (view % kViewsEach == 0) writer.Restart();
    if (HasFailure()) return;
  }
  EXPECT_GT(writer.num_lines(), 4 * kWriters * kViewsEach);
}

// What a reader may meet while a refresher changes the view under it: its document as it was, or is no more.
void ReadWhileItChanges(const KeyStoreReader& store, const std::atomic<bool>& stop, std::atomic<int>* num_whole) {
  for (int i = 0; !stop; ++i) {
    const absl::StatusOr<DocumentRow> row = store.GetDocument(kKnownCollection, absl::StrCat("d", i % 4));
    if (!row.ok()) {
      ASSERT_THAT(row, StatusIs(absl::StatusCode::kNotFound));
      continue;
    }
    absl::Status status = CheckKnownBlocks(store, *row);
    if (status.ok()) status = CheckKnownPostings(store, *row);
    if (status.ok()) ++*num_whole;
    ASSERT_TRUE(status.ok() || absl::IsNotFound(status) || ErrorReason(status) == "DOCUMENT_CHANGED")
        << row->document << " uid " << row->uid << " revision " << row->revision << ": " << status;
  }
}

TEST_F(FollowerTest, ReadersMeetNoDamageWhileItIsRefreshed) {
  writer_->Kill();
  RestlessWriter writer(store_folder_.path());
  std::atomic<bool> stop = false;
  std::atomic<int> num_whole = 0;
  std::vector<std::thread> readers;
  {
    const StoreRefresher refresher(follower_.get(), absl::Milliseconds(1));
    for (int r = 0; r < 2; ++r) {
      readers.emplace_back([&] { ReadWhileItChanges(*follower_, stop, &num_whole); });
    }
    const absl::Time deadline = absl::Now() + absl::Seconds(120);
    for (int kill = 1; kill <= 3; ++kill) {
      while (num_whole < 100 * kill && !HasFailure() && absl::Now() < deadline) {
        absl::SleepFor(absl::Milliseconds(5));
      }
      writer.Restart();
    }
    ILRE_EXPECT_OK(refresher.last_status());
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_GE(num_whole, 300);
}

}  // namespace
}  // namespace ilre
