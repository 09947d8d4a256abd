#include "common/retrieval/lexical.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string>
#include <tuple>

#include "common/base/utf8.h"
#include "xxhash.h"

namespace ilre {
namespace {

bool IsWordByte(uint8_t c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
}

// Hiragana, Katakana and CJK ideographs, which are written without spaces between words.
bool IsUnspaced(uint32_t c) {
  return (c >= 0x3040 && c <= 0x30FF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x3FFFF);
}

// General punctuation, CJK punctuation, full-width marks: they end a word though their bytes are above 127.
bool IsSeparator(uint32_t c) {
  return c == 0xA0 || (c >= 0xA1 && c <= 0xBF && c != 0xAA && c != 0xB5 && c != 0xBA) || (c >= 0x2000 && c <= 0x206F) ||
         (c >= 0x3000 && c <= 0x303F) || (c >= 0xFF00 && c <= 0xFF0F) || (c >= 0xFF1A && c <= 0xFF20);
}

// Words that say nothing of a text's subject. They are neither stored nor searched.
constexpr absl::string_view kStopWords[] = {"a",     "an",    "and",  "are",  "as",    "at",  "be",   "by",   "did",
                                            "do",    "does",  "for",  "from", "had",   "has", "have", "how",  "in",
                                            "is",    "it",    "its",  "of",   "on",    "or",  "that", "the",  "their",
                                            "there", "these", "they", "this", "to",    "was", "were", "what", "when",
                                            "where", "which", "who",  "whom", "whose", "why", "will", "with"};

// Words without digits count by their first six characters: a stemmer that needs no table.
constexpr int kStemCharacters = 6;

// The word in lower case (of ASCII), cut to its stem; nothing for a stop word.
absl::string_view Normalize(absl::string_view word, char (&buffer)[64]) {
  size_t size = 0;
  int characters = 0;
  bool has_digit = false;
  for (const char c : word) has_digit |= c >= '0' && c <= '9';
  for (const char c : word) {
    if ((static_cast<uint8_t>(c) & 0xC0) != 0x80 && characters++ == kStemCharacters && !has_digit) break;
    if (size == sizeof(buffer)) break;
    buffer[size++] = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  const absl::string_view normal(buffer, size);
  if (normal.size() == word.size() && std::binary_search(std::begin(kStopWords), std::end(kStopWords), normal))
    return {};
  return normal;
}

// Calls visit(hash) unless the word is a stop word.
template <typename Visit>
void HashWord(absl::string_view word, const Visit& visit) {
  char buffer[64];
  const absl::string_view normal = Normalize(word, buffer);
  if (!normal.empty()) visit(static_cast<uint32_t>(XXH3_64bits(normal.data(), normal.size())));
}

// Calls visit(begin, end) for each word.
template <typename Visit>
void ForEachWord(absl::string_view text, const Visit& visit) {
  size_t begin = 0, i = 0;
  const auto finish = [&](size_t end) {
    if (end > begin) visit(begin, end);
  };
  while (i < text.size()) {
    const uint8_t c = static_cast<uint8_t>(text[i]);
    if (!IsWordByte(c)) {
      finish(i);
      begin = ++i;
      continue;
    }
    uint32_t code_point = 0;
    const size_t length = c < 0x80 ? 1 : std::max<size_t>(1, Utf8CharLength(text.substr(i), &code_point));
    if (IsSeparator(code_point)) {
      finish(i);
      begin = i += length;
    } else if (IsUnspaced(code_point)) {
      finish(i);
      visit(i, i + length);
      begin = i += length;
    } else {
      i += length;
    }
  }
  finish(text.size());
}

}  // namespace

void AppendWordHashes(absl::string_view text, std::vector<uint32_t>* hashes) {
  ForEachWord(text, [&](size_t begin, size_t end) {
    HashWord(text.substr(begin, end - begin), [&](uint32_t hash) { hashes->push_back(hash); });
  });
}

absl::string_view WordWithHash(absl::string_view text, uint32_t hash) {
  absl::string_view found;
  ForEachWord(text, [&](size_t begin, size_t end) {
    const absl::string_view word = text.substr(begin, end - begin);
    HashWord(word, [&](uint32_t its_hash) {
      if (found.empty() && its_hash == hash) found = word;
    });
  });
  return found;
}

LexicalData BuildLexical(absl::string_view text, absl::Span<const uint32_t> ends, const bool* segment_starts) {
  LexicalData data;
  data.segment_words.push_back(0);
  size_t token = 0;
  // The segment of the token that holds a byte; words come in order, so the token only moves on. A segment that starts
  // with the block's first token has index 1, and index 0 stays empty. Where each of 256 tokens starts a segment, words
  // of the last count for the last but one, whose index is the greatest that a posting has room for.
  int segment = 0;
  bool entered = false;
  const auto enter = [&] {
    if (segment_starts[token]) {
      ++segment;
      data.segment_words.push_back(0);
    }
  };
  ForEachWord(text, [&](size_t begin, size_t end) {
    if (!entered) {
      enter();
      entered = true;
    }
    while (token + 1 < ends.size() && ends[token] <= begin) {
      ++token;
      enter();
    }
    HashWord(text.substr(begin, end - begin), [&](uint32_t hash) {
      const uint8_t index = static_cast<uint8_t>(std::min(segment, 255));
      data.postings.push_back({hash, index, 1});
      ++data.segment_words[index];
    });
  });
  if (!entered && !ends.empty()) enter();
  while (token + 1 < ends.size()) {
    ++token;
    enter();
  }
  const auto key = [](const LexicalPosting& p) { return std::tie(p.word_hash, p.segment); };
  std::sort(data.postings.begin(), data.postings.end(), [&](const auto& a, const auto& b) { return key(a) < key(b); });
  size_t kept = 0;
  for (const LexicalPosting& posting : data.postings) {
    if (kept > 0 && key(data.postings[kept - 1]) == key(posting)) {
      if (data.postings[kept - 1].count < 255) ++data.postings[kept - 1].count;
    } else {
      data.postings[kept++] = posting;
    }
  }
  data.postings.resize(kept);
  return data;
}

}  // namespace ilre
