#include "common/retrieval/lexical.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/base/test_matchers.h"
#include "gtest/gtest.h"
#include "xxhash.h"

namespace ilre {
namespace {

uint32_t Hash(const std::string& word) { return static_cast<uint32_t>(XXH3_64bits(word.data(), word.size())); }

std::vector<uint32_t> HashesOf(const std::vector<std::string>& words) {
  std::vector<uint32_t> hashes;
  for (const std::string& word : words) hashes.push_back(Hash(word));
  return hashes;
}

std::vector<uint32_t> Hashes(const std::string& text) {
  std::vector<uint32_t> hashes;
  AppendWordHashes(text, &hashes);
  return hashes;
}

const std::set<std::string> kStopWords = {"a",     "an",    "and",  "are",  "as",    "at",  "be",   "by",   "did",
                                          "do",    "does",  "for",  "from", "had",   "has", "have", "how",  "in",
                                          "is",    "it",    "its",  "of",   "on",    "or",  "that", "the",  "their",
                                          "there", "these", "they", "this", "to",    "was", "were", "what", "when",
                                          "where", "which", "who",  "whom", "whose", "why", "will", "with"};

// The characters of random texts, by what they are. Every one is a string of UTF-8.
const std::vector<std::string> kWordCharacters = {"a", "b", "Z", "q", "t", "h", "e", "i",
                                                  "s", "0", "7", "é", "Ж", "ß", "µ"};
const std::vector<std::string> kUnspacedCharacters = {"世", "界", "の", "カ", "𠀀"};
const std::vector<std::string> kSeparators = {" ", "\n", ".", ",", "-", "'", "_", "—", "…", "。", "，", "\u00A0", "«"};

struct Character {
  std::string text;
  enum { kWord, kUnspaced, kSeparator } kind;
};

std::vector<Character> RandomCharacters(Random* random, int count) {
  std::vector<Character> characters;
  for (int i = 0; i < count; ++i) {
    const uint64_t kind = random->Below(10);
    if (kind < 7) {
      characters.push_back({random->Pick(kWordCharacters), Character::kWord});
    } else if (kind < 8) {
      characters.push_back({random->Pick(kUnspacedCharacters), Character::kUnspaced});
    } else {
      characters.push_back({random->Pick(kSeparators), Character::kSeparator});
    }
  }
  return characters;
}

// What counts for a word (a list of characters), or nothing.
std::string Normal(const std::vector<std::string>& word) {
  bool has_digit = false;
  for (const std::string& c : word) has_digit |= c.size() == 1 && c[0] >= '0' && c[0] <= '9';
  std::string whole, normal;
  for (size_t i = 0; i < word.size(); ++i) {
    const bool upper = word[i].size() == 1 && word[i][0] >= 'A' && word[i][0] <= 'Z';
    const std::string lower = upper ? std::string(1, static_cast<char>(word[i][0] + 32)) : word[i];
    whole += lower;
    if (has_digit || i < 6) normal += lower;
  }
  if (kStopWords.count(whole) > 0) return "";
  return normal.substr(0, 64);
}

struct Word {
  size_t begin;  // byte offset
  std::string normal;
};

// The header's rules over characters whose kinds are known, one after the other.
std::vector<Word> PlainWords(const std::vector<Character>& characters) {
  std::vector<Word> words;
  std::vector<std::string> word;
  size_t begin = 0, offset = 0;
  const auto finish = [&] {
    if (!word.empty() && !Normal(word).empty()) words.push_back({begin, Normal(word)});
    word.clear();
  };
  for (const Character& character : characters) {
    if (character.kind != Character::kWord) finish();
    if (character.kind == Character::kUnspaced) words.push_back({offset, character.text});
    if (character.kind == Character::kWord) {
      if (word.empty()) begin = offset;
      word.push_back(character.text);
    }
    offset += character.text.size();
  }
  finish();
  return words;
}

std::string TextOf(const std::vector<Character>& characters) {
  std::string text;
  for (const Character& character : characters) text += character.text;
  return text;
}

TEST(WordHashesTest, FollowsTheRules) {
  EXPECT_EQ(Hashes("The QUICK fox, quick!"), HashesOf({"quick", "fox", "quick"}));
  EXPECT_EQ(Hashes("Retrieval retrieving"), HashesOf({"retrie", "retrie"}));
  EXPECT_EQ(Hashes("A1234567890 x86-64"), HashesOf({"a1234567890", "x86", "64"}));  // words with digits count whole
  EXPECT_EQ(Hashes("Straßenbahn"), HashesOf({"straße"}));
  EXPECT_EQ(Hashes("世界 の"), HashesOf({"世", "界", "の"}));
  EXPECT_EQ(Hashes("  \n.,"), HashesOf({}));
  for (const std::string& word : kStopWords) EXPECT_TRUE(Hashes(word).empty()) << word;
  EXPECT_EQ(Hashes("wherever"), HashesOf({"wherev"}));
}

TEST(WordHashesTest, AWordIsFoundByItsHash) {
  const auto found = [](absl::string_view text, absl::string_view word) {
    std::vector<uint32_t> hashes;
    AppendWordHashes(word, &hashes);
    return WordWithHash(text, hashes.at(0));
  };
  EXPECT_EQ(found("The lamp (Kites) kites.", "kites"), "Kites");
  EXPECT_EQ(found("communicate, communion", "communion"), "communicate") << "the same first six characters";
  EXPECT_EQ(found("月は東に", "東"), "東");
  EXPECT_EQ(found("a lamp", "kite"), "");
  EXPECT_EQ(found("", "kite"), "");
}

TEST(WordHashesTest, HashesAreStable) {
  // They are stored: these numbers may never change.
  EXPECT_EQ(Hashes("hello world 42 世"), (std::vector<uint32_t>{0x5C62DCFD, 0x083D69BE, 0xC0EF2191, 0x36508E6E}));
}

TEST(WordHashesTest, EqualsAPlainImplementationOnRandomText) {
  Random random(1);
  for (int round = 0; round < 2000; ++round) {
    const std::vector<Character> characters = RandomCharacters(&random, 120);
    std::vector<std::string> expected;
    for (const Word& word : PlainWords(characters)) expected.push_back(word.normal);
    ASSERT_EQ(Hashes(TextOf(characters)), HashesOf(expected)) << TextOf(characters);
  }
}

TEST(WordHashesTest, AnyBytesAreRead) {
  Random random(2);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(random.Below(100), '\0');
    for (char& c : bytes) c = static_cast<char>(random.Next());
    EXPECT_LE(Hashes(bytes).size(), bytes.size());
  }
  EXPECT_EQ(Hashes(std::string(1 << 16, 'x') + " y").size(), 2u);
  EXPECT_EQ(Hashes(std::string(1 << 16, '7')), HashesOf({std::string(64, '7')}));
}

// [n] starts as BuildLexical takes them.
std::unique_ptr<bool[]> AsArray(const std::vector<bool>& starts) {
  std::unique_ptr<bool[]> array(new bool[starts.size() + 1]);
  std::copy(starts.begin(), starts.end(), array.get());
  return array;
}

struct PlainLexical {
  std::map<std::pair<uint32_t, int>, int> counts;  // (hash, segment)
  std::vector<int> segment_words;
};

PlainLexical CountPlainly(const std::vector<Word>& words, const std::vector<uint32_t>& ends,
                          const std::vector<bool>& starts) {
  PlainLexical plain;
  std::vector<int> segment_of_token;
  int segment = 0;
  for (const bool start : starts) segment_of_token.push_back(segment += start);
  plain.segment_words.assign(static_cast<size_t>(segment) + 1, 0);
  for (const Word& word : words) {
    size_t token = 0;
    while (ends[token] <= word.begin) ++token;
    ++plain.counts[{Hash(word.normal), segment_of_token[token]}];
    ++plain.segment_words[static_cast<size_t>(segment_of_token[token])];
  }
  return plain;
}

TEST(BuildLexicalTest, EqualsAPlainCountOnRandomTokens) {
  Random random(6);
  for (int round = 0; round < 1000; ++round) {
    const std::vector<Character> characters = RandomCharacters(&random, 150);
    const std::string text = TextOf(characters);
    std::vector<uint32_t> ends;
    std::vector<bool> starts;
    for (uint32_t end = 0; end < text.size();) {
      end = std::min<uint32_t>(end + static_cast<uint32_t>(random.Below(6)), static_cast<uint32_t>(text.size()));
      ends.push_back(end);
      starts.push_back(random.Below(6) == 0);
    }
    if (ends.size() > kBlockTokens) continue;
    const LexicalData data = BuildLexical(text, ends, AsArray(starts).get());
    ILRE_ASSERT_OK(ValidateLexical(data));
    const PlainLexical plain = CountPlainly(PlainWords(characters), ends, starts);
    std::map<std::pair<uint32_t, int>, int> counts;
    for (const LexicalPosting& p : data.postings) counts[{p.word_hash, p.segment}] = p.count;
    ASSERT_EQ(counts, plain.counts) << text;
    ASSERT_EQ(std::vector<int>(data.segment_words.begin(), data.segment_words.end()), plain.segment_words);
  }
}

TEST(BuildLexicalTest, CountsSaturate) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "fox ";
  const std::vector<uint32_t> ends = {static_cast<uint32_t>(text.size())};
  const LexicalData data = BuildLexical(text, ends, AsArray({true}).get());
  ASSERT_EQ(data.postings.size(), 1u);
  EXPECT_EQ(data.postings[0].count, 255);
  EXPECT_EQ(data.segment_words, (std::vector<uint16_t>{0, 300}));
}

TEST(BuildLexicalTest, ABlockInWhichEveryTokenStartsASegmentCanBeStored) {
  std::string text;
  std::vector<uint32_t> ends;
  for (int i = 0; i < kBlockTokens; ++i) {
    absl::StrAppend(&text, "w", i, "! ");
    ends.push_back(static_cast<uint32_t>(text.size()));
  }
  const LexicalData data = BuildLexical(text, ends, AsArray(std::vector<bool>(kBlockTokens, true)).get());
  ILRE_ASSERT_OK(ValidateLexical(data));
  EXPECT_EQ(data.segment_words.size(), static_cast<size_t>(kBlockTokens) + 1);  // as readers count starts
  EXPECT_EQ(data.postings.size(), static_cast<size_t>(kBlockTokens));
  EXPECT_EQ(data.segment_words[254], 1);
  EXPECT_EQ(data.segment_words[255], 2);
  ILRE_ASSERT_OK_AND_ASSIGN(const LexicalData stored, ParseLexical("key", EncodeLexical("key", data)));
  EXPECT_EQ(stored.segment_words, data.segment_words);
}

TEST(BuildLexicalTest, ATextWithoutWordsHasItsSegments) {
  const LexicalData data = BuildLexical("!!!", std::vector<uint32_t>{1, 2, 3}, AsArray({true, false, true}).get());
  EXPECT_TRUE(data.postings.empty());
  EXPECT_EQ(data.segment_words, (std::vector<uint16_t>{0, 0, 0}));
}

}  // namespace
}  // namespace ilre
