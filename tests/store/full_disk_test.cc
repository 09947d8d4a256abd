// A real disk that is really full: a small file system in memory. Skipped where this process may not mount one.
#include <sys/mount.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/test_matchers.h"
#include "common/store/key_store.h"
#include "gtest/gtest.h"
#include "tests/store/known_documents.h"

namespace ilre {
namespace {

constexpr int kBlocksPerCommit = 20;
constexpr int kMostDocuments = 10'000;
constexpr absl::Duration kPatience = absl::Seconds(120);

class FullDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, "size=24m") != 0) {
      GTEST_SKIP() << "no file system can be mounted here: " << std::strerror(errno);
    }
    mounted_ = true;
  }
  void TearDown() override {
    store_ = nullptr;
    if (!mounted_) return;
    EXPECT_EQ(::umount(folder_.path().c_str()), 0) << std::strerror(errno);
  }
  void Open(uint64_t reserve_bytes) {
    ILRE_ASSERT_OK_AND_ASSIGN(store_, OpenKeyStore(folder_.path() + "/store",
                                                   {.write_buffer_bytes = 128 << 10, .reserve_bytes = reserve_bytes}));
  }
  absl::Status Ingest(const std::string& name) {
    ILRE_ASSIGN_OR_RETURN(const DocumentRow row, store_->CreateDocument(NewRow(kKnownCollection, name)));
    return AppendKnownBlocks(store_.get(), row, kBlocksPerCommit).status();
  }
  // Documents until there is no room for another.
  void FillDisk() {
    absl::Status status;
    for (; num_documents_ < kMostDocuments && status.ok(); ++num_documents_) {
      status = Ingest(absl::StrCat("d", num_documents_));
    }
    ASSERT_EQ(ErrorReason(status), "DISK_FULL") << status;
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
  }
  // Every document is whole, or, the one that was refused, as it was created.
  void ExpectWhole(const KeyStoreReader& store) {
    ILRE_ASSERT_OK_AND_ASSIGN(const KeyStoreReader::Page page,
                              store.ListDocuments(kKnownCollection, kMostDocuments, ""));
    EXPECT_GT(page.rows.size(), 20);
    for (const DocumentRow& row : page.rows) EXPECT_EQ(KnownDifference(store, row), "") << row.document;
  }
  // Ingests again as soon as that is possible.
  void ExpectResumes() {
    const absl::Time deadline = absl::Now() + kPatience;
    absl::Status status = Ingest("after");
    for (int i = 0; !status.ok() && absl::Now() < deadline; ++i) {
      ASSERT_EQ(ErrorReason(status), "DISK_FULL") << status;
      absl::SleepFor(absl::Milliseconds(20));
      status = Ingest(absl::StrCat("after-", i));
    }
    ILRE_EXPECT_OK(status);
  }

  TempFolder folder_;
  bool mounted_ = false;
  int num_documents_ = 0;
  std::unique_ptr<KeyStore> store_;
};

TEST_F(FullDiskTest, ReadingGoesOnAndIngestResumesOnceOthersMadeRoom) {
  const std::string ballast = folder_.path() + "/ballast";
  std::ofstream(ballast) << std::string(10 << 20, 'b');
  Open(/*reserve_bytes=*/0);
  FillDisk();
  ExpectWhole(*store_);
  ILRE_ASSERT_OK_AND_ASSIGN(const auto follower, OpenKeyStoreFollower(folder_.path() + "/store", {}));
  ExpectWhole(*follower);
  for (int attempt = 0; attempt < 3; ++attempt) EXPECT_EQ(ErrorReason(Ingest("refused")), "DISK_FULL");
  std::filesystem::remove(ballast);
  ExpectResumes();
  ILRE_ASSERT_OK(follower->Refresh());
  ExpectWhole(*follower);
}

TEST_F(FullDiskTest, DeletingMakesRoomWithTheHelpOfTheReserve) {
  Open(/*reserve_bytes=*/3 << 20);
  FillDisk();
  ExpectWhole(*store_);
  for (int d = 0; d < num_documents_ / 2; ++d) {
    ILRE_ASSERT_OK(store_->DeleteDocument(kKnownCollection, absl::StrCat("d", d)));
  }
  ExpectResumes();
  ExpectWhole(*store_);
  EXPECT_TRUE(std::filesystem::exists(folder_.path() + "/store/RESERVE"));
  store_ = nullptr;
  Open(/*reserve_bytes=*/3 << 20);
  ExpectWhole(*store_);
}

}  // namespace
}  // namespace ilre
