// Writes the golden records: write_golden --out=tests/format/golden. To be run once for each new format version, never
// to make a failing test pass: the files of a version that was released do not change.
#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/file.h"
#include "tests/format/golden_records.h"

int main(int argc, char** argv) {
  absl::string_view folder = argc == 2 ? argv[1] : "";
  if (!absl::ConsumePrefix(&folder, "--out=")) {
    std::fprintf(stderr, "usage: write_golden --out=FOLDER\n");
    return 2;
  }
  for (const ilre::GoldenRecord& record : ilre::MakeGoldenRecords()) {
    const absl::Status status =
        ilre::WriteFileAtomically(absl::StrCat(folder, "/", record.name, ".bin"), ilre::GoldenFileContent(record));
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", status.ToString().c_str());
      return 1;
    }
  }
  return 0;
}
