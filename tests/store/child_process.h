// A child process whose lines are read and which can be killed.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace ilre {

// The folder of the running program, where its companions are.
std::string ProgramFolder();

// Not thread-safe. Ends the child with SIGKILL at the end of its life.
class ChildProcess {
 public:
  // arguments[0] is the program's path.
  explicit ChildProcess(const std::vector<std::string>& arguments);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // The next line of its output without the newline; false at the end.
  bool ReadLine(std::string* line);
  void WriteLine(const std::string& line);
  // SIGKILL; what it wrote before can still be read.
  void Kill();

 private:
  pid_t pid_ = -1;
  int input_ = -1, output_ = -1;  // of the child
  std::string buffer_;
};

}  // namespace ilre
