// One or more records of each kind, always the same, whose bytes are kept in tests/format/golden.
#pragma once

#include <string>
#include <vector>

#include "common/store/test_reencode.h"

namespace ilre {

struct GoldenRecord {
  std::string name;  // of its file
  RecordKind kind;
  std::string key, value;
};

// As this program encodes them.
std::vector<GoldenRecord> MakeGoldenRecords();

// A file: one byte with the key's size, the key, the value.
std::string GoldenFileContent(const GoldenRecord& record);

}  // namespace ilre
