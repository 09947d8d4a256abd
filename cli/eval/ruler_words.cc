// RULER's counting tasks: the most common words of a list (cwe) and the most frequent words of a coded text (fwe).
#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/eval/ruler.h"
#include "common/base/errors.h"

namespace ilre::cli {
namespace {

constexpr size_t kCommon = 10;
constexpr char kCommonQuestion[] = "What are the 10 most common words in the above list?";
constexpr char kCommonAnswer[] = " Answer: The top 10 words that appear most often in the list are:";

// [count] distinct words of the vocabulary, in random order.
std::vector<std::string> DrawWords(const Prose& prose, Random* random, size_t count) {
  std::vector<std::string> words = prose.vocabulary;
  random->Shuffle(words);
  words.resize(std::min(words.size(), count));
  return words;
}

// "1. word 2. other ...": the first kCommon words `common` times, the others `rare` times.
std::string WordList(const std::vector<std::string>& words, size_t common, size_t rare, Random* random) {
  std::vector<std::string> list;
  for (size_t i = 0; i < words.size(); ++i) list.insert(list.end(), i < kCommon ? common : rare, words[i]);
  random->Shuffle(list);
  for (size_t i = 0; i < list.size(); ++i) list[i] = absl::StrCat(i + 1, ". ", list[i]);
  return absl::StrJoin(list, " ");
}

// The text of the greatest size in [low, high] that `make` makes of at most `room` tokens; its tokens must grow with
// the size, more or less.
template <typename Make>
std::string LargestThatFits(const Tokenizer& tokenizer, int room, size_t low, size_t high, const Make& make) {
  std::string best;
  while (low <= high) {
    const size_t middle = low + (high - low) / 2;
    std::string text = make(middle);
    if (CountTokens(tokenizer, text) <= room) {
      best = std::move(text);
      low = middle + 1;
    } else {
      high = middle - 1;
    }
  }
  return best;
}

absl::Status TooShort(const Sample& sample) {
  return errors::InvalidArgument(
      absl::StrCat("a length of ", sample.length, " tokens is too short for the task ", sample.task));
}

}  // namespace

absl::Status MakeCommonWords(const TaskSources& sources, Random* random, Sample* sample) {
  const bool is_short = sample->length < 4096;
  const size_t common = is_short ? 6 : 30, rare = is_short ? 1 : 3;
  const std::vector<std::string> words = DrawWords(*sources.prose, random, sources.prose->vocabulary.size());
  if (words.size() < 2 * kCommon) return errors::InvalidArgument("the prose has too few words for the task cwe");
  const std::vector<std::string> example(words.end() - static_cast<std::ptrdiff_t>(2 * kCommon), words.end());
  sample->preamble = absl::StrCat("Below is a numbered list of words. In these words, some appear more often than ",
                                  "others. Memorize the ones that appear most often.\n",
                                  WordList(example, 3, 1, random), "\nQuestion: ", kCommonQuestion, kCommonAnswer, " ",
                                  absl::StrJoin(example.begin(), example.begin() + kCommon, " "), "\n\n");
  sample->question = kCommonQuestion;
  sample->instruction =
      "In the list, some words appear more often than others. Memorize the ones that appear most often.";
  sample->answer_prefix = kCommonAnswer;
  sample->answers.assign(words.begin(), words.begin() + kCommon);
  sample->max_answer_tokens = 120;
  const int room = RoomForDocument(*sources.tokenizer, *sample);
  // Each entry has three tokens at least; of long lists the vocabulary is not enough, and words appear more often.
  const uint64_t seed = random->Next();
  const auto make = [&](size_t repeats, size_t count) {
    Random list_random(seed);
    return WordList({words.begin(), words.begin() + static_cast<std::ptrdiff_t>(count)}, common * repeats,
                    rare * repeats, &list_random);
  };
  const size_t most = words.size() - 2 * kCommon;
  size_t repeats = 1;
  while (CountTokens(*sources.tokenizer, make(repeats, most)) < room) ++repeats;
  sample->document =
      LargestThatFits(*sources.tokenizer, room, kCommon + 1, most, [&](size_t count) { return make(repeats, count); });
  return sample->document.empty() ? TooShort(*sample) : absl::OkStatus();
}

absl::Status MakeFrequentWords(const TaskSources& sources, Random* random, Sample* sample) {
  constexpr double kZetaOfTwo = 1.6449340668482264;
  sample->question =
      "Do not provide any explanation. Please ignore the dots '....'. What are the three most frequently appeared "
      "words in the above coded text?";
  sample->instruction =
      "Track the frequency of each coded word of the text. Find the three most frequently appeared coded words.";
  sample->answer_prefix = " Answer: According to the coded text above, the three most frequently appeared words are:";
  sample->max_answer_tokens = 50;
  const int room = RoomForDocument(*sources.tokenizer, *sample);
  std::set<std::string> known;
  std::vector<std::string> vocabulary = {"..."};
  while (vocabulary.size() < std::max<size_t>(8, static_cast<size_t>(sample->length) / 50)) {
    std::string word;
    for (int i = 0; i < 6; ++i) word += static_cast<char>('a' + random->Below(26));
    if (known.insert(word).second) vocabulary.push_back(std::move(word));
  }
  sample->answers = {vocabulary[1], vocabulary[2], vocabulary[3]};
  const uint64_t seed = random->Next();
  sample->document =
      LargestThatFits(*sources.tokenizer, room, 40, static_cast<size_t>(sample->length), [&](size_t num_words) {
        std::vector<std::string> text;
        for (size_t k = 0; k < vocabulary.size(); ++k) {
          const auto rank = static_cast<double>(k + 1);
          const auto count = static_cast<size_t>(static_cast<double>(num_words) / (rank * rank) / kZetaOfTwo);
          text.insert(text.end(), count, vocabulary[k]);
        }
        Random text_random(seed);
        text_random.Shuffle(text);
        return absl::StrJoin(text, " ");
      });
  return sample->document.empty() ? TooShort(*sample) : absl::OkStatus();
}

}  // namespace ilre::cli
