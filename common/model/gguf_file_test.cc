#include "common/model/gguf_file.h"

#include <cstring>
#include <string>
#include <vector>

#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/test_matchers.h"
#include "common/model/test_gguf_writer.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename T>
std::string BytesOf(const std::vector<T>& elements) {
  return std::string(reinterpret_cast<const char*>(elements.data()), elements.size() * sizeof(T));
}

// Values of every type and two tensors.
GgufWriter SmallFile() {
  GgufWriter writer;
  writer.AddString("general.architecture", "llama");
  writer.AddNumber<uint8_t>("u8", 255);
  writer.AddNumber<int8_t>("i8", -128);
  writer.AddNumber<uint16_t>("u16", 65535);
  writer.AddNumber<int16_t>("i16", -32768);
  writer.AddNumber<uint32_t>("u32", 4294967295u);
  writer.AddNumber<int32_t>("i32", -2147483647);
  writer.AddNumber<uint64_t>("u64", uint64_t{1} << 62);
  writer.AddNumber<int64_t>("i64", -(int64_t{1} << 62));
  writer.AddNumber<float>("f32", 0.5f);
  writer.AddNumber<double>("f64", 1e100);
  writer.AddNumber<bool>("yes", true);
  writer.AddNumbers<int32_t>("types", {1, 3, -1});
  writer.AddNumbers<float>("scores", {-1.5f, 2.0f});
  writer.AddNumbers<bool>("flags", {true, false});
  writer.AddStrings("tokens", {"a", "", "\xc4\xa0t"});
  writer.AddTensor("matrix", GgmlType::kQ8_0, {2, 3, 32}, std::string(6 * 34, '\x01'));
  writer.AddTensor("vector", GgmlType::kF32, {3}, BytesOf<float>({1, 2, 3}));
  return writer;
}

absl::Status ParseStatus(const std::string& bytes) { return GgufFile::Parse("x.gguf", bytes).status(); }

// The same bytes on the heap without a byte to spare, so that a sanitizer sees every read beyond them.
absl::Status ParseExactly(absl::string_view bytes) {
  std::unique_ptr<char[]> copy(new char[bytes.size()]);
  std::memcpy(copy.get(), bytes.data(), bytes.size());
  return GgufFile::Parse("x.gguf", {copy.get(), bytes.size()}).status();
}

void ExpectBad(const GgufWriter& writer, const std::string& message) {
  const absl::Status status = ParseStatus(writer.Finish());
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  EXPECT_THAT(status.message(), HasSubstr("x.gguf"));
  EXPECT_EQ(ErrorReason(status), "BAD_MODEL_FILE");
}

TEST(GgufFileTest, ReadsValuesOfEveryType) {
  const std::string bytes = SmallFile().Finish();
  ILRE_ASSERT_OK_AND_ASSIGN(auto file, GgufFile::Parse("x.gguf", bytes));
  EXPECT_EQ(file->FindValue("general.architecture")->string, "llama");
  EXPECT_EQ(file->FindValue("u8")->integer, 255);
  EXPECT_EQ(file->FindValue("i8")->integer, -128);
  EXPECT_EQ(file->FindValue("u16")->integer, 65535);
  EXPECT_EQ(file->FindValue("i16")->integer, -32768);
  EXPECT_EQ(file->FindValue("u32")->integer, 4294967295);
  EXPECT_EQ(file->FindValue("i32")->integer, -2147483647);
  EXPECT_EQ(file->FindValue("u64")->integer, int64_t{1} << 62);
  EXPECT_EQ(file->FindValue("i64")->integer, -(int64_t{1} << 62));
  EXPECT_EQ(file->FindValue("f32")->real, 0.5);
  EXPECT_EQ(file->FindValue("f64")->real, 1e100);
  EXPECT_EQ(file->FindValue("yes")->kind, GgufValue::Kind::kBool);
  EXPECT_EQ(file->FindValue("yes")->integer, 1);
  EXPECT_THAT(file->FindValue("types")->integers, ElementsAre(1, 3, -1));
  EXPECT_THAT(file->FindValue("scores")->reals, ElementsAre(-1.5, 2.0));
  EXPECT_EQ(file->FindValue("flags")->kind, GgufValue::Kind::kBoolArray);
  EXPECT_THAT(file->FindValue("flags")->integers, ElementsAre(1, 0));
  EXPECT_THAT(file->FindValue("tokens")->strings, ElementsAre("a", "", "\xc4\xa0t"));
  EXPECT_EQ(file->FindValue("none"), nullptr);
}

TEST(GgufFileTest, ReadsTensors) {
  const std::string bytes = SmallFile().Finish();
  ILRE_ASSERT_OK_AND_ASSIGN(auto file, GgufFile::Parse("x.gguf", bytes));
  ASSERT_EQ(file->tensors().size(), 2u);
  const GgufTensor* matrix = file->FindTensor("matrix");
  ASSERT_NE(matrix, nullptr);
  EXPECT_EQ(matrix->type, GgmlType::kQ8_0);
  EXPECT_THAT(matrix->shape, ElementsAre(2, 3, 32));
  EXPECT_EQ(matrix->bytes, std::string(6 * 34, '\x01'));
  EXPECT_EQ(file->FindTensor("vector")->bytes, BytesOf<float>({1, 2, 3}));
  EXPECT_EQ(file->FindTensor("none"), nullptr);
}

TEST(GgufFileTest, OpensAFile) {
  const std::string path = ::testing::TempDir() + "/gguf_file_test.gguf";
  ILRE_ASSERT_OK(WriteFileAtomically(path, SmallFile().Finish()));
  ILRE_ASSERT_OK_AND_ASSIGN(auto file, GgufFile::Open(path));
  EXPECT_EQ(file->path(), path);
  EXPECT_EQ(file->FindTensor("vector")->bytes, BytesOf<float>({1, 2, 3}));
  EXPECT_THAT(GgufFile::Open(path + "x").status(), StatusIs(absl::StatusCode::kNotFound));
}

TEST(GgufFileTest, AcceptsVersionTwoAndOtherAlignments) {
  GgufWriter writer;
  writer.version = 2;
  writer.alignment = 64;
  writer.AddNumber<uint32_t>("general.alignment", 64);
  writer.AddTensor("a", GgmlType::kF32, {1}, BytesOf<float>({1}));
  writer.AddTensor("b", GgmlType::kF32, {1}, BytesOf<float>({2}));
  const std::string bytes = writer.Finish();
  ILRE_ASSERT_OK_AND_ASSIGN(auto file, GgufFile::Parse("x.gguf", bytes));
  EXPECT_EQ(file->FindTensor("b")->bytes, BytesOf<float>({2}));
}

TEST(GgufFileTest, OtherFilesAreNoModels) {
  for (const char* bytes : {"", "GG", "just a text\n", "ggjt"}) {
    EXPECT_EQ(ErrorReason(ParseStatus(bytes)), "NOT_A_MODEL") << bytes;
  }
}

TEST(GgufFileTest, RefusesOtherVersions) {
  GgufWriter writer;
  writer.version = 1;
  ExpectBad(writer, "GGUF version 1");
  writer.version = 0x03000000;
  ExpectBad(writer, "big-endian");
}

TEST(GgufFileTest, RefusesBadMetadata) {
  GgufWriter twice;
  twice.AddNumber<int32_t>("k", 1);
  twice.AddNumber<int32_t>("k", 1);
  ExpectBad(twice, "metadata value 'k' occurs twice");
  GgufWriter unknown;
  unknown.AddRaw("k", 13, "xxxxxxxx");
  ExpectBad(unknown, "metadata value 'k' has unknown type 13");
  GgufWriter boolean;
  boolean.AddRaw("k", 7, "\x02");
  ExpectBad(boolean, "metadata value 'k' is out of range");
  GgufWriter large;
  large.AddNumber<uint64_t>("k", uint64_t{1} << 63);
  ExpectBad(large, "metadata value 'k' is out of range");
  GgufWriter nested;
  nested.AddRaw("k", 9, std::string("\x09\0\0\0\0\0\0\0\0\0\0\0", 12));
  ExpectBad(nested, "metadata value 'k' is an array of unsupported type 9");
  GgufWriter alignment;
  alignment.AddNumber<uint32_t>("general.alignment", 24);
  ExpectBad(alignment, "general.alignment");
}

TEST(GgufFileTest, RefusesHugeCountsBeforeAllocating) {
  GgufWriter strings;  // 2^61 strings of 8 bytes at least: their product is 0 in 64 bits
  strings.AddRaw("k", 9, std::string("\x08\0\0\0\0\0\0\0\0\0\0\x20", 12));
  ExpectBad(strings, "metadata value 'k'");
  std::string header("GGUF\x03\0\0\0", 8);
  EXPECT_THAT(ParseStatus(header + std::string(16, '\x7f')),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("too short for")));
}

TEST(GgufFileTest, RefusesBadTensors) {
  const uint32_t f32 = 0;
  GgufWriter unknown;
  unknown.AddTensorAt("t", 10, {256}, 0);
  ExpectBad(unknown, "tensor 't' is of Q2_K, which is not supported");
  GgufWriter row;
  row.AddTensorAt("t", 8, {4, 33}, 0);
  ExpectBad(row, "tensor 't' has rows of 33 elements");
  GgufWriter overflow;
  overflow.AddTensorAt("t", f32, {int64_t{1} << 32, int64_t{1} << 32}, 0);
  ExpectBad(overflow, "impossible size");
  GgufWriter negative;
  negative.AddTensorAt("t", f32, {-4}, 0);
  ExpectBad(negative, "impossible size -4");
  GgufWriter zero;
  zero.AddTensorAt("t", f32, {4, 0}, 0);
  ExpectBad(zero, "impossible size 0");
  GgufWriter dimensions;
  dimensions.AddTensorAt("t", f32, {1, 1, 1, 1, 1}, 0);
  ExpectBad(dimensions, "5 dimensions");
  GgufWriter beyond;
  beyond.AddTensorAt("t", f32, {4}, 1 << 20);
  ExpectBad(beyond, "tensor 't' of 16 bytes at data offset 1048576 reaches beyond");
  GgufWriter wrapped;
  wrapped.AddTensorAt("t", f32, {4}, UINT64_MAX - 31);
  ExpectBad(wrapped, "reaches beyond");
  GgufWriter unaligned;
  unaligned.AddTensorAt("t", f32, {4}, 8);
  ExpectBad(unaligned, "not aligned");
  GgufWriter twice;
  twice.AddTensor("t", GgmlType::kF32, {1}, "0000");
  twice.AddTensor("t", GgmlType::kF32, {1}, "0000");
  ExpectBad(twice, "tensor 't' occurs twice");
  GgufWriter overlap;
  overlap.AddTensor("t", GgmlType::kF32, {16}, std::string(64, '0'));
  overlap.AddTensorAt("u", f32, {1}, 32);
  ExpectBad(overlap, "tensors 't' and 'u' overlap");
}

TEST(GgufFileTest, EveryTruncationIsAnError) {
  const std::string bytes = SmallFile().Finish();
  const size_t end = bytes.find(BytesOf<float>({1, 2, 3})) + 3 * sizeof(float);  // after it, only padding
  for (size_t size = 0; size < end; ++size) {
    EXPECT_THAT(ParseExactly(absl::string_view(bytes).substr(0, size)), StatusIs(absl::StatusCode::kInvalidArgument))
        << size;
  }
  ILRE_EXPECT_OK(ParseExactly(absl::string_view(bytes).substr(0, end)));
}

TEST(GgufFileTest, EveryChangedByteIsAnErrorOrAValidFile) {
  const std::string bytes = SmallFile().Finish();
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (int change : {0x01, 0x80, 0xff}) {
      std::string changed = bytes;
      changed[at] = static_cast<char>(changed[at] ^ change);
      const absl::Status status = ParseExactly(changed);
      EXPECT_TRUE(status.ok() || status.code() == absl::StatusCode::kInvalidArgument) << at << " " << status;
    }
  }
}

}  // namespace
}  // namespace ilre
