#include "tests/store/writer_process.h"

#include <sstream>
#include <vector>

#include "gtest/gtest.h"

namespace ilre {

std::unique_ptr<ChildProcess> StartWriter(const std::string& folder, const std::string& seed) {
  std::vector<std::string> arguments = {ProgramFolder() + "/store_writer", folder};
  if (!seed.empty()) arguments.push_back(seed);
  auto writer = std::make_unique<ChildProcess>(arguments);
  std::string line;
  EXPECT_TRUE(writer->ReadLine(&line));
  EXPECT_EQ(line, "ready");
  return line == "ready" ? std::move(writer) : nullptr;
}

bool Note(const std::string& line, AcknowledgedRows* rows) {
  std::istringstream words(line);
  std::string name, uid;
  words >> name >> uid;
  Acknowledged row;
  if (uid == "gone") {
    row.uid = (*rows)[name].uid;
  } else if (uid.empty() || uid.find_first_not_of("0123456789") != std::string::npos) {
    return false;
  } else {
    row.uid = std::stoull(uid);
    words >> row.revision >> row.num_blocks;
    if (!words) return false;
  }
  (*rows)[name] = row;
  return true;
}

}  // namespace ilre
