#include "common/model/safetensors_writer.h"

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/base/test_matchers.h"
#include "common/model/safetensors_file.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

std::string Path(const std::string& name) {
  return absl::StrCat(::testing::TempDir(), "/safetensors_writer_test_", name, ".safetensors");
}

std::vector<float> Floats(const SafetensorsTensor& tensor) {
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

TEST(SafetensorsWriterTest, WhatIsWrittenIsRead) {
  Random random(1);
  const std::vector<std::vector<int64_t>> shapes = {{3, 5}, {7}, {}, {0, 4}, {2, 1, 3, 2}, {1}};
  std::vector<std::vector<float>> data;
  std::vector<TensorToWrite> tensors;
  for (size_t i = 0; i < shapes.size(); ++i) {
    size_t size = 1;
    for (const int64_t dim : shapes[i]) size *= static_cast<size_t>(dim);
    data.emplace_back();
    for (size_t j = 0; j < size; ++j) data.back().push_back(static_cast<float>(random.Uniform()) - 0.5f);
  }
  // Names in no order, and with all that JSON needs to escape.
  const std::vector<std::string> names = {"z", "a.weight", "quote\" back\\slash", "empty", "käse\n", "last"};
  for (size_t i = 0; i < shapes.size(); ++i) tensors.push_back({names[i], shapes[i], data[i]});
  ILRE_ASSERT_OK(WriteSafetensors(Path("all"), tensors));

  ILRE_ASSERT_OK_AND_ASSIGN(const auto file, SafetensorsFile::Open(Path("all")));
  EXPECT_EQ(file->tensors().size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const SafetensorsTensor* tensor = file->FindTensor(names[i]);
    ASSERT_NE(tensor, nullptr) << names[i];
    EXPECT_EQ(tensor->dtype, "F32");
    EXPECT_EQ(tensor->shape, shapes[i]);
    EXPECT_EQ(Floats(*tensor), data[i]);
  }
}

TEST(SafetensorsWriterTest, DataIsAlignedAndReplacedWhole) {
  const std::vector<float> one = {1}, two = {2, 3};
  for (const auto& [name, values] : {std::pair("a", one), {"longer name", two}, {"b", one}}) {
    ILRE_ASSERT_OK(WriteSafetensors(Path("again"), {{name, {static_cast<int64_t>(values.size())}, values}}));
    ILRE_ASSERT_OK_AND_ASSIGN(const auto file, SafetensorsFile::Open(Path("again")));
    ASSERT_EQ(file->tensors().size(), 1u);
    EXPECT_EQ(Floats(file->tensors()[0]), values);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(file->tensors()[0].bytes.data()) % 8, 0u);
  }
}

TEST(SafetensorsWriterTest, AFileThatCannotBeWrittenIsNamed) {
  const std::vector<float> one = {1};
  const absl::Status status = WriteSafetensors("/no/such/folder/x.safetensors", {{"a", {1}, one}});
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("/no/such/folder/x.safetensors"));
}

}  // namespace
}  // namespace ilre
