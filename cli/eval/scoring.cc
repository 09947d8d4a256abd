#include "cli/eval/scoring.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"
#include "common/base/random.h"

namespace ilre::cli {
namespace {

constexpr int kBootstrapRounds = 2000;

std::string Cleaned(absl::string_view answer) {
  std::string text(absl::StripAsciiWhitespace(answer));
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = '\n';
  }
  return absl::AsciiStrToLower(text);
}

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace

double ScoreAnswer(absl::string_view answer, const std::vector<std::string>& references, Matching matching) {
  if (references.empty()) return 0;
  const std::string text = Cleaned(answer);
  const auto found = std::count_if(references.begin(), references.end(), [&](const std::string& reference) {
    return text.find(absl::AsciiStrToLower(reference)) != std::string::npos;
  });
  if (matching == Matching::kAny) return found > 0 ? 1 : 0;
  return static_cast<double>(found) / static_cast<double>(references.size());
}

bool Covers(std::vector<ByteRange> ranges, const ByteRange& wanted) {
  std::sort(ranges.begin(), ranges.end(), [](const ByteRange& a, const ByteRange& b) { return a.begin < b.begin; });
  uint64_t at = wanted.begin;
  for (const ByteRange& range : ranges) {
    if (range.begin <= at && at < range.end) at = range.end;
  }
  return at >= wanted.end;
}

double ShareCovered(const std::vector<ByteRange>& ranges, absl::Span<const ByteRange> wanted) {
  if (wanted.empty()) return 0;
  const auto covered =
      std::count_if(wanted.begin(), wanted.end(), [&](const ByteRange& range) { return Covers(ranges, range); });
  return static_cast<double>(covered) / static_cast<double>(wanted.size());
}

Interval MeanOfGroups(const std::vector<std::vector<double>>& groups) {
  std::vector<const std::vector<double>*> counted;
  for (const std::vector<double>& group : groups) {
    if (!group.empty()) counted.push_back(&group);
  }
  if (counted.empty()) return {};
  Interval interval;
  for (const auto* group : counted) interval.mean += Mean(*group) / static_cast<double>(counted.size());
  Random random(1);
  std::vector<double> means(kBootstrapRounds, 0);
  for (double& mean : means) {
    for (const auto* group : counted) {
      double sum = 0;
      for (size_t i = 0; i < group->size(); ++i) sum += random.Pick(*group);
      mean += sum / static_cast<double>(group->size() * counted.size());
    }
  }
  std::sort(means.begin(), means.end());
  interval.low = means[kBootstrapRounds * 25 / 1000];
  interval.high = means[kBootstrapRounds * 975 / 1000 - 1];
  return interval;
}

}  // namespace ilre::cli
