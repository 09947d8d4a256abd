#include "common/model/bpe_merger.h"

#include <map>
#include <utility>
#include <vector>

#include "common/base/random.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

struct Rule {
  uint32_t rank;
  int32_t merged;
};
using Rules = std::map<std::pair<int32_t, int32_t>, Rule>;

// The definition, word for word: quadratic.
std::vector<BpeSymbol> MergeByDefinition(const Rules& rules, std::vector<BpeSymbol> symbols) {
  for (;;) {
    size_t best = symbols.size();
    Rule best_rule{~0u, 0};
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto rule = rules.find({symbols[i].id, symbols[i + 1].id});
      if (rule != rules.end() && rule->second.rank < best_rule.rank) {
        best = i;
        best_rule = rule->second;
      }
    }
    if (best == symbols.size()) return symbols;
    symbols[best] = {best_rule.merged, symbols[best + 1].end};
    symbols.erase(symbols.begin() + best + 1);
  }
}

// Few symbols and many rules, some of equal rank, so that merges meet and overlap all the time.
Rules RandomRules(Random* random, int32_t num_base, int num_rules) {
  Rules rules;
  for (int i = 0; i < num_rules; ++i) {
    const int32_t known = num_base + i;
    rules[{static_cast<int32_t>(random->Below(known)), static_cast<int32_t>(random->Below(known))}] = {
        static_cast<uint32_t>(random->Below(num_rules)), known};
  }
  return rules;
}

TEST(BpeMergerTest, EqualsTheDefinitionForShortAndLongWords) {
  Random random(1);
  size_t merged = 0;
  for (int round = 0; round < 600; ++round) {
    const int32_t num_base = 1 + static_cast<int32_t>(random.Below(4));
    const Rules rules = RandomRules(&random, num_base, 1 + static_cast<int>(random.Below(60)));
    BpeMerger merger(rules.size());
    for (const auto& [pair, rule] : rules) merger.AddPair(pair.first, pair.second, rule.rank, rule.merged);
    BpeMerger::Scratch scratch;
    for (size_t size : {0, 1, 2, 7, 48, 49, 200}) {
      std::vector<BpeSymbol> symbols;
      for (size_t i = 0; i < size; ++i) {
        symbols.push_back({static_cast<int32_t>(random.Below(num_base)), static_cast<uint32_t>(i + 1)});
      }
      const std::vector<BpeSymbol> expected = MergeByDefinition(rules, symbols);
      merger.Merge(&symbols, &scratch);
      ASSERT_EQ(symbols.size(), expected.size());
      for (size_t i = 0; i < symbols.size(); ++i) {
        ASSERT_EQ(symbols[i].id, expected[i].id);
        ASSERT_EQ(symbols[i].end, expected[i].end);
      }
      merged += size - symbols.size();
    }
  }
  EXPECT_GT(merged, 10000u);
}

TEST(BpeMergerTest, ALaterPairReplacesAnEarlierOne) {
  BpeMerger merger(2);
  merger.AddPair(0, 1, 0, 2);
  merger.AddPair(0, 1, 0, 3);
  std::vector<BpeSymbol> symbols = {{0, 1}, {1, 2}};
  BpeMerger::Scratch scratch;
  merger.Merge(&symbols, &scratch);
  ASSERT_EQ(symbols.size(), 1u);
  EXPECT_EQ(symbols[0].id, 3);
}

}  // namespace
}  // namespace ilre
