// Progress of a long command on stderr: a bar on a terminal, a line now and then elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace ilre::cli {

class Progress {
 public:
  // total_bytes 0: unknown (standard input). unit: what is counted beside bytes.
  Progress(std::string title, uint64_t total_bytes, uint64_t bytes_before, std::string unit = "tokens");
  ~Progress();

  void Update(uint64_t bytes, uint64_t count);
  // Clears the bar.
  void Finish();

 private:
  void Draw(uint64_t bytes, uint64_t count, double seconds);

  std::string title_, unit_;
  uint64_t total_bytes_, bytes_before_, count_before_ = 0;
  bool has_count_before_ = false;
  bool is_terminal_, drawn_ = false;
  std::chrono::steady_clock::time_point start_, last_;
};

// "1,234,567"
std::string WithCommas(uint64_t number);

}  // namespace ilre::cli
