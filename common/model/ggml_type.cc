#include "common/model/ggml_type.h"

#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"

namespace ilre {
namespace {

constexpr int64_t kBlock = 32;        // of the older quantisations
constexpr int64_t kSuperBlock = 256;  // of the K quantisations

// Names by value up to BF16, for messages about types that are not read; empty: retired numbers.
constexpr const char* kNames[] = {"F32",     "F16",    "Q4_0",    "Q4_1",  "",       "",      "Q5_0",  "Q5_1",
                                  "Q8_0",    "Q8_1",   "Q2_K",    "Q3_K",  "Q4_K",   "Q5_K",  "Q6_K",  "Q8_K",
                                  "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS",
                                  "I8",      "I16",    "I32",     "I64",   "F64",    "IQ1_M", "BF16"};

struct Entry {
  GgmlType type;
  GgmlTypeInfo info;
};

// Bytes of a block are written as the sum of its parts in file order: scales, then packed high and low bits.
constexpr Entry kTypes[] = {
    {GgmlType::kF32, {"F32", 1, 4}},
    {GgmlType::kF16, {"F16", 1, 2}},
    {GgmlType::kBF16, {"BF16", 1, 2}},
    {GgmlType::kQ4_0, {"Q4_0", kBlock, 2 + 16}},
    {GgmlType::kQ4_1, {"Q4_1", kBlock, 2 + 2 + 16}},
    {GgmlType::kQ5_0, {"Q5_0", kBlock, 2 + 4 + 16}},
    {GgmlType::kQ5_1, {"Q5_1", kBlock, 2 + 2 + 4 + 16}},
    {GgmlType::kQ8_0, {"Q8_0", kBlock, 2 + 32}},
    {GgmlType::kQ4_K, {"Q4_K", kSuperBlock, 2 + 2 + 12 + 128}},
    {GgmlType::kQ5_K, {"Q5_K", kSuperBlock, 2 + 2 + 12 + 32 + 128}},
    {GgmlType::kQ6_K, {"Q6_K", kSuperBlock, 128 + 64 + 16 + 2}},
};

}  // namespace

const GgmlTypeInfo* FindGgmlType(uint32_t type) {
  for (const Entry& entry : kTypes) {
    if (static_cast<uint32_t>(entry.type) == type) return &entry.info;
  }
  return nullptr;
}

const GgmlTypeInfo& GgmlTypeInfoOf(GgmlType type) {
  const GgmlTypeInfo* info = FindGgmlType(static_cast<uint32_t>(type));
  ILRE_CHECK(info != nullptr);
  return *info;
}

std::string GgmlTypeName(uint32_t type) {
  if (type < std::size(kNames) && *kNames[type] != '\0') return kNames[type];
  return absl::StrCat("type ", type);
}

}  // namespace ilre
