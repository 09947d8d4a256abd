#include "tests/store/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "common/base/check.h"

namespace ilre {

std::string ProgramFolder() { return std::filesystem::read_symlink("/proc/self/exe").parent_path().string(); }

ChildProcess::ChildProcess(const std::vector<std::string>& arguments) {
  int to_child[2], from_child[2];
  ILRE_CHECK(::pipe2(to_child, O_CLOEXEC) == 0 && ::pipe2(from_child, O_CLOEXEC) == 0);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_ = ::fork();
  ILRE_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    ::dup2(to_child[0], STDIN_FILENO);
    ::dup2(from_child[1], STDOUT_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(to_child[0]);
  ::close(from_child[1]);
  input_ = to_child[1];
  output_ = from_child[0];
}

ChildProcess::~ChildProcess() {
  Kill();
  ::close(input_);
  ::close(output_);
}

bool ChildProcess::ReadLine(std::string* line) {
  size_t end;
  while ((end = buffer_.find('\n')) == std::string::npos) {
    char piece[4096];
    const ssize_t n = ::read(output_, piece, sizeof(piece));
    if (n <= 0) return false;
    buffer_.append(piece, static_cast<size_t>(n));
  }
  *line = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  return true;
}

void ChildProcess::WriteLine(const std::string& line) {
  const std::string bytes = line + "\n";
  ILRE_CHECK(::write(input_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}

void ChildProcess::Kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

}  // namespace ilre
