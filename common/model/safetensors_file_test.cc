#include "common/model/safetensors_file.h"

#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/test_matchers.h"
#include "common/model/test_safetensors_writer.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string SmallFile() {
  const std::string header = R"({"__metadata__":{"format":"pt"},)"
                             R"("b":{"dtype":"I64","shape":[1],"data_offsets":[12,20]},)"
                             R"("a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},)"
                             R"("scalar":{"dtype":"F32","shape":[],"data_offsets":[20,24]},)"
                             R"("none":{"dtype":"F16","shape":[0,7],"data_offsets":[24,24]}}   )";
  return SafetensorsOf(header, "abcdefghijkl01234567WXYZ");
}

// The bytes on the heap without one to spare, so that a sanitizer sees every read beyond them.
absl::Status ParseExactly(absl::string_view bytes) {
  std::unique_ptr<char[]> copy(new char[bytes.size()]);
  std::memcpy(copy.get(), bytes.data(), bytes.size());
  return SafetensorsFile::Parse("x.safetensors", {copy.get(), bytes.size()}).status();
}

void ExpectBad(const std::string& header, absl::string_view data, const std::string& message) {
  const absl::Status status = ParseExactly(SafetensorsOf(header, data));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  EXPECT_THAT(status.message(), HasSubstr("x.safetensors"));
  EXPECT_EQ(ErrorReason(status), "BAD_MODEL_FILE");
}

// A header with one F32 tensor "t".
std::string Tensor(absl::string_view shape, absl::string_view offsets) {
  return absl::StrCat(R"({"t":{"dtype":"F32","shape":)", shape, R"(,"data_offsets":)", offsets, "}}");
}

TEST(SafetensorsFileTest, ReadsTensors) {
  const std::string bytes = SmallFile();
  ILRE_ASSERT_OK_AND_ASSIGN(auto file, SafetensorsFile::Parse("x.safetensors", bytes));
  ASSERT_EQ(file->tensors().size(), 4u);
  const SafetensorsTensor* a = file->FindTensor("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->dtype, "BF16");
  EXPECT_THAT(a->shape, ElementsAre(2, 3));
  EXPECT_EQ(a->bytes, "abcdefghijkl");
  EXPECT_EQ(file->FindTensor("b")->bytes, "01234567");
  EXPECT_THAT(file->FindTensor("scalar")->shape, IsEmpty());
  EXPECT_EQ(file->FindTensor("scalar")->bytes, "WXYZ");
  EXPECT_THAT(file->FindTensor("none")->shape, ElementsAre(0, 7));
  EXPECT_EQ(file->FindTensor("__metadata__"), nullptr);
}

TEST(SafetensorsFileTest, OpensAFile) {
  const std::string path = ::testing::TempDir() + "/safetensors_file_test.safetensors";
  ILRE_ASSERT_OK(WriteFileAtomically(path, SmallFile()));
  ILRE_ASSERT_OK_AND_ASSIGN(auto file, SafetensorsFile::Open(path));
  EXPECT_EQ(file->path(), path);
  EXPECT_EQ(file->FindTensor("b")->bytes, "01234567");
  EXPECT_THAT(SafetensorsFile::Open(path + "x").status(), StatusIs(absl::StatusCode::kNotFound));
}

TEST(SafetensorsFileTest, OnlyPlainTypesAreReadable) {
  EXPECT_EQ(ReadableType("F32"), GgmlType::kF32);
  EXPECT_EQ(ReadableType("F16"), GgmlType::kF16);
  EXPECT_EQ(ReadableType("BF16"), GgmlType::kBF16);
  EXPECT_EQ(ReadableType("I64"), absl::nullopt);
}

TEST(SafetensorsFileTest, OtherFilesAreNoModels) {
  for (const char* bytes : {"", "x", "a text that is longer than that", "GGUF"}) {
    EXPECT_EQ(ErrorReason(ParseExactly(bytes)), "NOT_A_MODEL") << bytes;
  }
}

TEST(SafetensorsFileTest, RefusesBadHeaders) {
  ExpectBad("{", "", "not valid JSON at byte");
  ExpectBad("{\"\xff\":1}", "", "not valid JSON");
  ExpectBad(R"({"a":1e999})", "", "not valid JSON");
  ExpectBad(R"({"__metadata__":{"a":1}})", "", "__metadata__");
  ExpectBad(R"({"t":{"a":[[1]]}})", "", "nested deeper than 3");
  ExpectBad(R"({"t":1,"t":2})", "", "the key 't' twice");
  ExpectBad(R"({"t":7})", "", "tensor 't' is not described");
  std::string long_header = SafetensorsOf("{}", "");
  long_header[6] = 1;  // 2^48 bytes more
  EXPECT_THAT(ParseExactly(long_header), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("announces")));
}

TEST(SafetensorsFileTest, RefusesBadTensors) {
  ExpectBad(R"({"t":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", "0000", "unknown dtype 'F33'");
  ExpectBad(R"({"t":{"dtype":3,"shape":[1],"data_offsets":[0,4]}})", "0000", "dtype that is no string");
  ExpectBad(Tensor("[-1]", "[0,4]"), "0000", "impossible shape");
  ExpectBad(Tensor("[1.0]", "[0,4]"), "0000", "impossible shape");
  ExpectBad(Tensor("[18446744073709551615]", "[0,4]"), "0000", "impossible shape");
  ExpectBad(Tensor("[4294967296,4294967296]", "[0,4]"), "0000", "impossible shape");
  ExpectBad(Tensor("[4611686018427387904]", "[0,0]"), "", "has 0 bytes where");
  ExpectBad(Tensor("1", "[0,4]"), "0000", "no usable shape");
  ExpectBad(Tensor("[1]", "[4,0]"), "0000", "impossible data_offsets");
  ExpectBad(Tensor("[1]", "[0]"), "0000", "impossible data_offsets");
  ExpectBad(Tensor("[2]", "[0,4]"), "0000", "has 4 bytes where its shape and dtype F32 need 2 times 4");
  ExpectBad(Tensor("[2]", "[0,8]"), "0000", "beyond the file's end");
  ExpectBad(Tensor("[1]", "[4,8]"), "00000000", "leaves 4 unused bytes");
  ExpectBad(Tensor("[1]", "[0,4]"), "00000", "1 bytes after its last tensor");
  ExpectBad(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"u":{"dtype":"F32","shape":[1],)"
            R"("data_offsets":[4,8]}})",
            "00000000", "tensor 'u' overlaps 't'");
}

TEST(SafetensorsFileTest, EveryTruncationIsAnError) {
  const std::string bytes = SmallFile();
  ILRE_ASSERT_OK(ParseExactly(bytes));
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THAT(ParseExactly(absl::string_view(bytes).substr(0, size)), StatusIs(absl::StatusCode::kInvalidArgument))
        << size;
  }
}

TEST(SafetensorsFileTest, EveryChangedByteIsAnErrorOrAValidFile) {
  const std::string bytes = SmallFile();
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (int change : {0x01, 0x10, 0x80, 0xff}) {
      std::string changed = bytes;
      changed[at] = static_cast<char>(changed[at] ^ change);
      const absl::Status status = ParseExactly(changed);
      EXPECT_TRUE(status.ok() || status.code() == absl::StatusCode::kInvalidArgument) << at << " " << status;
    }
  }
}

}  // namespace
}  // namespace ilre
