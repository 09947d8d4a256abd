// The program store_writer, run as a child, and what it says it has committed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "tests/store/child_process.h"

namespace ilre {

// What was acknowledged last of each name; revision 0: it is gone.
struct Acknowledged {
  uint64_t uid = 0, revision = 0;
  uint32_t num_blocks = 0;
};
using AcknowledgedRows = std::map<std::string, Acknowledged>;

// Starts it on `folder`: with a seed it writes at random, without one it obeys. Null, and a failed test, if it does not
// start.
std::unique_ptr<ChildProcess> StartWriter(const std::string& folder, const std::string& seed = "");

// Notes a line that it wrote; false for what is no such line.
bool Note(const std::string& line, AcknowledgedRows* rows);

}  // namespace ilre
