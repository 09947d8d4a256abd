// RULER's eight needle tasks and variable tracking.
#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "cli/eval/ruler.h"
#include "cli/eval/words.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "generator_service/prompt.h"

namespace ilre::cli {
namespace {

constexpr char kNoise[] = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";
constexpr uint64_t kDepths = 40;  // needles in prose lie at 0, 2.5, ... 100% of it
constexpr size_t kChainNames = 5;

enum class Haystack { kNoise, kEssay, kNeedles };
enum class Kind { kWord, kNumber, kUuid };

struct NeedleTask {
  Haystack haystack;
  Kind key, value;
  size_t keys = 1, values = 1, queries = 1;
};

const std::map<std::string, NeedleTask>& NeedleTasks() {
  static const auto* const tasks = new std::map<std::string, NeedleTask>{
      {"niah_single_1", {Haystack::kNoise, Kind::kWord, Kind::kNumber}},
      {"niah_single_2", {Haystack::kEssay, Kind::kWord, Kind::kNumber}},
      {"niah_single_3", {Haystack::kEssay, Kind::kWord, Kind::kUuid}},
      {"niah_multikey_1", {Haystack::kEssay, Kind::kWord, Kind::kNumber, 4}},
      {"niah_multikey_2", {Haystack::kNeedles, Kind::kWord, Kind::kNumber}},
      {"niah_multikey_3", {Haystack::kNeedles, Kind::kUuid, Kind::kUuid}},
      {"niah_multivalue", {Haystack::kEssay, Kind::kWord, Kind::kNumber, 1, 4}},
      {"niah_multiquery", {Haystack::kEssay, Kind::kWord, Kind::kNumber, 4, 1, 4}}};
  return *tasks;
}

std::string RandomItem(Random* random, Kind kind) {
  if (kind == Kind::kNumber) return absl::StrCat(1'000'000 + random->Below(9'000'000));
  if (kind == Kind::kWord) {
    return absl::StrCat(kEvalAdjectives[random->Below(std::size(kEvalAdjectives))], "-",
                        kEvalNouns[random->Below(std::size(kEvalNouns))]);
  }
  std::string uuid;  // of version 4
  for (int i = 0; i < 36; ++i) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      uuid += '-';
    } else {
      uuid += i == 14 ? '4' : i == 19 ? "89ab"[random->Below(4)] : "0123456789abcdef"[random->Below(16)];
    }
  }
  return uuid;
}

const char* TypeName(Kind kind) { return kind == Kind::kUuid ? "uuids" : "numbers"; }

std::string NeedleText(Kind kind, const std::string& key, const std::string& value) {
  return absl::StrCat("One of the special magic ", TypeName(kind), " for ", key, " is: ", value, ".");
}

struct Needle {
  std::string key, value, text;
};

// Sentences from a random place on, with the needles at distinct depths.
std::string HideInProse(const Prose& prose, Random* random, const std::vector<Needle>& needles, int room) {
  const size_t count = prose.sentences.size(), first = random->Below(count);
  std::vector<std::string> body;
  for (int used = 0;;) {
    const size_t at = (first + body.size()) % count;
    used += prose.tokens[at];
    if (used > room) break;
    body.push_back(prose.sentences[at]);
  }
  std::set<uint64_t> depths;
  while (depths.size() < needles.size()) depths.insert(random->Below(kDepths + 1));
  const size_t length = body.size();
  auto needle = needles.rbegin();
  for (auto depth = depths.rbegin(); depth != depths.rend(); ++depth, ++needle) {
    body.insert(body.begin() + static_cast<std::ptrdiff_t>(length * *depth / kDepths), needle->text);
  }
  return absl::StrJoin(body, " ");
}

// Lines that `line` makes, with those of `hidden` among them, in their order.
template <typename Line>
std::string HideInLines(const Tokenizer& tokenizer, Random* random, const std::vector<std::string>& hidden, int room,
                        const Line& line) {
  std::vector<std::string> body;
  for (int used = 0;;) {
    std::string next = line();
    used += CountTokens(tokenizer, absl::StrCat(next, "\n"));
    if (used > room) break;
    body.push_back(std::move(next));
  }
  std::vector<size_t> places;
  for (size_t i = 0; i < hidden.size(); ++i) places.push_back(random->Below(body.size() + 1));
  std::sort(places.rbegin(), places.rend());
  for (size_t i = 0; i < hidden.size(); ++i) {
    body.insert(body.begin() + static_cast<std::ptrdiff_t>(places[i]), hidden[hidden.size() - 1 - i]);
  }
  return absl::StrJoin(body, "\n");
}

absl::Status TooShort(const Sample& sample) {
  return errors::InvalidArgument(
      absl::StrCat("a length of ", sample.length, " tokens is too short for the task ", sample.task));
}

void WordQuestion(const NeedleTask& task, const std::vector<std::string>& asked, Sample* sample) {
  std::string type = TypeName(task.value), query = asked[0];
  if (asked.size() > 1) {
    query = absl::StrCat(absl::StrJoin(asked.begin(), asked.end() - 1, ", "), ", and ", asked.back());
  }
  const bool one = task.values * task.queries == 1;
  if (one) type.pop_back();
  sample->question = absl::StrCat("What ", one ? "is the" : "are all the", " special magic ", type, " for ", query,
                                  " mentioned in the provided text?");
  sample->answer_prefix =
      absl::StrCat(" The special magic ", type, " for ", query, " mentioned in the provided text ", one ? "is" : "are");
  sample->instruction = kDefaultInstruction;
  sample->max_answer_tokens = 128;
}

}  // namespace

absl::Status MakeNeedles(const TaskSources& sources, Random* random, Sample* sample) {
  const NeedleTask& task = NeedleTasks().at(sample->task);
  std::vector<std::string> keys;
  while (keys.size() < task.keys) {
    std::string key = RandomItem(random, task.key);
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(std::move(key));
  }
  std::vector<Needle> needles;
  for (size_t k = 0; k < keys.size(); ++k) {
    for (size_t v = 0; v < task.values; ++v) {
      std::string value = RandomItem(random, task.value);
      if (k < task.queries) sample->answers.push_back(value);
      needles.push_back({keys[k], value, NeedleText(task.value, keys[k], value)});
    }
  }
  WordQuestion(task, std::vector<std::string>(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(task.queries)),
               sample);
  int room = RoomForDocument(*sources.tokenizer, *sample);
  std::vector<Needle> shuffled = needles;
  random->Shuffle(shuffled);
  std::vector<std::string> hidden;
  for (const Needle& needle : shuffled) {
    room -= CountTokens(*sources.tokenizer, absl::StrCat(" ", needle.text)) + 1;
    hidden.push_back(needle.text);
  }
  if (room < 64) return TooShort(*sample);
  if (task.haystack == Haystack::kEssay) {
    sample->document = HideInProse(*sources.prose, random, shuffled, room);
  } else {
    sample->document = HideInLines(*sources.tokenizer, random, hidden, room, [&]() -> std::string {
      if (task.haystack == Haystack::kNoise) return kNoise;
      std::string key;
      do key = RandomItem(random, task.key);
      while (std::find(keys.begin(), keys.end(), key) != keys.end());
      return NeedleText(task.value, key, RandomItem(random, task.value));
    });
  }
  for (size_t i = 0; i < task.queries * task.values; ++i) {
    const ByteRange at = Find(sample->document, needles[i].text);
    sample->gold.push_back({at.begin + needles[i].text.find(needles[i].key), at.end - 1});
  }
  return absl::OkStatus();
}

namespace {

struct Chain {
  std::vector<std::string> names, links;
  std::string value;
};

Chain RandomChain(Random* random) {
  Chain chain;
  chain.value = absl::StrCat(10'000 + random->Below(90'000));
  while (chain.names.size() < kChainNames) {
    std::string name;
    for (int i = 0; i < 5; ++i) name += static_cast<char>('A' + random->Below(26));
    if (std::find(chain.names.begin(), chain.names.end(), name) != chain.names.end()) continue;
    chain.links.push_back(chain.names.empty() ? absl::StrCat("VAR ", name, " = ", chain.value)
                                              : absl::StrCat("VAR ", name, " = VAR ", chain.names.back()));
    chain.names.push_back(std::move(name));
  }
  return chain;
}

std::string ChainQuestion(const Chain& chain) {
  return absl::StrCat("Find all variables that are assigned the value ", chain.value, " in the text above.");
}

std::string ChainAnswer(const Chain& chain) {
  return absl::StrCat(" Answer: According to the chain(s) of variable assignment in the text above, ", kChainNames,
                      " variables are assigned the value ", chain.value, ", they are: ");
}

}  // namespace

absl::Status MakeChain(const TaskSources& sources, Random* random, Sample* sample) {
  const Chain chain = RandomChain(random), example = RandomChain(random);
  sample->preamble = absl::StrCat(kNoise, "\n", absl::StrJoin(example.links, "\n"), "\n", kNoise,
                                  "\nQuestion: ", ChainQuestion(example), ChainAnswer(example),
                                  absl::StrJoin(example.names, " "), "\n\n");
  sample->question = ChainQuestion(chain);
  sample->instruction = "Memorize and track the chain(s) of variable assignment hidden in the text.";
  sample->answer_prefix = ChainAnswer(chain);
  sample->answers = chain.names;
  sample->max_answer_tokens = 30;
  int room = RoomForDocument(*sources.tokenizer, *sample);
  for (const std::string& link : chain.links) room -= CountTokens(*sources.tokenizer, absl::StrCat(link, " \n"));
  if (room < 64) return TooShort(*sample);
  std::vector<std::string> lines;
  for (const std::string& link : chain.links) lines.push_back(absl::StrCat(link, " "));
  sample->document = HideInLines(*sources.tokenizer, random, lines, room, [] { return std::string(kNoise); });
  for (const std::string& link : chain.links) sample->gold.push_back(Find(sample->document, link));
  return absl::OkStatus();
}

}  // namespace ilre::cli
