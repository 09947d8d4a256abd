#include "generator_service/stop_strings.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "common/base/random.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

// What is left of `text`, and whether a stop string was in it: the text grows by a byte at a time until one is
// complete.
std::pair<std::string, bool> PlainSearch(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    const absl::string_view sofar = absl::string_view(text).substr(0, end);
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (absl::EndsWith(sofar, stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) return {text.substr(0, end - longest), true};
  }
  return {text, false};
}

std::string RandomText(Random* random, size_t max_size) {
  std::string text(random->Below(max_size + 1), '\0');
  for (char& c : text) c = static_cast<char>('a' + random->Below(3));
  return text;
}

TEST(StopStringsTest, EqualsAPlainSearchInWhateverPieces) {
  Random random(11);
  int num_found = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> stops;
    for (uint64_t i = random.Below(4); i > 0; --i) stops.push_back(RandomText(&random, 4) + "a");
    const std::string text = RandomText(&random, 30);
    StopStrings finder(stops);
    std::string given;
    for (size_t begin = 0; begin < text.size();) {
      const size_t size = std::min(text.size() - begin, static_cast<size_t>(random.Below(6)));
      given += finder.Push(text.substr(begin, size));
      begin += size;
      // What is given never has to be taken back.
      ASSERT_TRUE(absl::StartsWith(PlainSearch(text, stops).first, given));
    }
    given += finder.Finish();
    ASSERT_EQ(std::pair(given, finder.found()), PlainSearch(text, stops)) << text << " " << absl::StrJoin(stops, "|");
    num_found += finder.found();
  }
  EXPECT_GT(num_found, 5000);
  EXPECT_LT(num_found, 15000);
}

TEST(StopStringsTest, HoldsBackNoMoreThanItMust) {
  StopStrings stops({"\n\nUser:", "END"});
  EXPECT_EQ(stops.Push("Yes"), "Yes");
  EXPECT_EQ(stops.Push(".\n"), ".");
  EXPECT_EQ(stops.Push("\n"), "");
  EXPECT_EQ(stops.Push("\n"), "\n");
  EXPECT_EQ(stops.Push("Us"), "");
  EXPECT_EQ(stops.Push("ed EN"), "\n\nUsed ");
  EXPECT_EQ(stops.Push("D of it"), "");
  EXPECT_TRUE(stops.found());
  EXPECT_EQ(stops.Push("more"), "");
  EXPECT_EQ(stops.Finish(), "");
}

TEST(StopStringsTest, WithoutStopsAllPassesAtOnce) {
  StopStrings stops({});
  EXPECT_EQ(stops.Push("abc"), "abc");
  EXPECT_EQ(stops.Finish(), "");
  EXPECT_FALSE(stops.found());
}

TEST(StopStringsTest, OfTwoTheOneThatIsCompleteFirstCounts) {
  for (const std::vector<std::string>& pieces : {std::vector<std::string>{"xabcd"}, {"x", "abc", "d"}}) {
    StopStrings stops({"abcd", "c", "bc"});
    std::string given;
    for (const std::string& piece : pieces) given += stops.Push(piece);
    EXPECT_EQ(given, "xa");
    EXPECT_TRUE(stops.found());
  }
}

}  // namespace
}  // namespace ilre
