// Generated facts: training data of which there is no end.
#include <array>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "cli/calibrate/training_text.h"
#include "common/base/random.h"

namespace ilre::cli {
namespace {

constexpr const char* kAdjectives[] = {
    "able",   "amber",  "ancient", "angry",  "bitter", "blue",    "brave",  "bright", "broad",  "bronze", "calm",
    "cheap",  "clean",  "clever",  "cold",   "cosy",   "crimson", "curly",  "damp",   "dark",   "deep",   "dry",
    "dusty",  "early",  "fancy",   "fierce", "flat",   "fresh",   "gentle", "giant",  "gifted", "golden", "grand",
    "green",  "happy",  "heavy",   "hidden", "honest", "icy",     "iron",   "jolly",  "keen",   "lazy",   "little",
    "lonely", "lucky",  "mellow",  "misty",  "narrow", "noble",   "odd",    "old",    "pale",   "plain",  "proud",
    "quick",  "quiet",  "rapid",   "rough",  "royal",  "rusty",   "salty",  "silent", "silver", "slow",   "smooth",
    "solid",  "stormy", "sunny",   "tame",   "tiny",   "vivid",   "warm",   "wild",   "wise",   "young"};
constexpr const char* kNouns[] = {
    "acorn",  "anchor", "apple",  "arrow",  "balloon", "banjo",  "barrel", "basket", "bear",    "bell",    "bench",
    "bird",   "boat",   "branch", "bridge", "brush",   "bucket", "button", "cactus", "camel",   "candle",  "canoe",
    "carpet", "castle", "cave",   "chess",  "circle",  "cloud",  "coat",   "comet",  "copper",  "cotton",  "crane",
    "desk",   "doctor", "donkey", "door",   "dragon",  "drum",   "eagle",  "engine", "falcon",  "feather", "ferry",
    "fiddle", "field",  "flag",   "forest", "fox",     "garden", "gate",   "ghost",  "glacier", "goose",   "guitar",
    "harbor", "hat",    "hill",   "honey",  "horse",   "island", "jacket", "jungle", "kettle",  "kite",    "ladder",
    "lake",   "lamp",   "lemon",  "letter", "lion",    "magnet", "maple",  "market", "melon",   "mirror",  "moon",
    "mouse",  "needle", "ocean",  "olive",  "otter",   "owl",    "palace", "panda",  "paper",   "parrot",  "pencil",
    "piano",  "pilot",  "planet", "pond",   "potato",  "puzzle", "rabbit", "raven",  "river",   "robin",   "rocket",
    "rose",   "sailor", "scarf",  "shadow", "sheep",   "shelf",  "ship",   "snow",   "spider",  "spoon",   "statue",
    "stone",  "storm",  "swan",   "table",  "teapot",  "temple", "tiger",  "tower",  "train",   "tulip",   "valley",
    "velvet", "violin", "wagon",  "walnut", "water",   "whale",  "wheel",  "window", "wolf",    "yacht",   "zebra"};
constexpr const char* kKinds[] = {"secret code",     "password",    "phone number", "serial number",
                                  "favourite thing", "hidden word", "account id",   "price",
                                  "locker",          "identifier",  "pass phrase",  "token",
                                  "weight",          "ticket",      "lucky number", "address"};

// A way to state a fact, and ways to ask for it. $k is the key, $v the value, $w the kind of thing.
struct Wording {
  const char* statement;
  std::array<const char*, 3> questions;
};
constexpr Wording kWordings[] = {
    {"The $w of $k is $v.", {"What is the $w of $k?", "Tell me the $w of $k.", "$k's $w?"}},
    {"$k has the $w $v.", {"Which $w does $k have?", "What $w belongs to $k?", "What $w has $k?"}},
    {"Remember: for $k, the $w is $v.",
     {"What should be remembered as the $w for $k?", "What is the $w for $k?", "Give the $w for $k."}},
    {"$k: $w $v", {"What $w is listed for $k?", "Find the $w of $k in the text.", "$k: which $w?"}},
    {"SET $k = $v", {"What is $k set to?", "Which value was given to $k?", "What does $k equal?"}},
    {"The $w $v was given to $k.", {"Which $w was given to $k?", "Who was given the $w $v?", "What was given to $k?"}},
    {"let $k := $v;", {"What is the value of $k?", "Which name has the value $v?", "What was assigned to $k?"}},
    {"A curious $w for $k was noted: $v.",
     {"What $w was noted for $k?", "What is the $w for $k in the document?", "Which curious $w was noted for $k?"}},
};

template <size_t n>
std::string PickFrom(Random& random, const char* const (&words)[n]) {
  return words[random.Below(n)];
}

std::string Uuid(Random& random) {
  std::string out;
  for (int i = 0; i < 32; ++i) {
    if (i == 8 || i == 12 || i == 16 || i == 20) out += '-';
    out += "0123456789abcdef"[random.Below(16)];
  }
  return out;
}

std::string Letters(Random& random, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += static_cast<char>('A' + random.Below(26));
  return out;
}

std::string Key(Random& random) {
  switch (random.Below(7)) {
    case 0:
      return PickFrom(random, kAdjectives) + "-" + PickFrom(random, kNouns);
    case 1:
      return PickFrom(random, kAdjectives) + " " + PickFrom(random, kNouns);
    case 2:
      return Uuid(random);
    case 3:
      return absl::StrCat(Letters(random, 1), 100 + random.Below(99900));
    case 4:
      return absl::StrCat(1000 + random.Below(999000));
    case 5:
      return Letters(random, 5);
    default:
      return PickFrom(random, kNouns) + "_" + PickFrom(random, kNouns);
  }
}

std::string Value(Random& random) {
  switch (random.Below(4)) {
    case 0: {
      uint64_t bound = 100;
      for (uint64_t digits = random.Below(6); digits > 0; --digits) bound *= 10;
      return absl::StrCat(10 + random.Below(bound));
    }
    case 1:
      return Uuid(random);
    case 2:
      return PickFrom(random, kAdjectives) + " " + PickFrom(random, kNouns);
    default:
      return PickFrom(random, kNouns);
  }
}

}  // namespace

TrainingText MakeNeedles(uint64_t seed, int count, const std::vector<std::string>& prose) {
  Random random(seed);
  // Each line a fact; facts among prose; or all facts alike, so that only the key tells them apart.
  const uint64_t style = random.Below(3);
  const Wording& only_wording = kWordings[random.Below(std::size(kWordings))];
  const std::string only_kind = PickFrom(random, kKinds);
  TrainingText made;
  for (int i = 0; i < count; ++i) {
    const Wording& wording = style == 2 ? only_wording : kWordings[random.Below(std::size(kWordings))];
    const std::string kind = style == 2 ? only_kind : PickFrom(random, kKinds), key = Key(random),
                      value = Value(random);
    const auto fill = [&](const char* pattern) {
      return absl::StrReplaceAll(pattern, {{"$w", kind}, {"$k", key}, {"$v", value}});
    };
    const std::string fact = fill(wording.statement);
    std::string question = fill(wording.questions[random.Below(wording.questions.size())]);
    if (question[0] >= 'a' && question[0] <= 'z') question[0] = static_cast<char>(question[0] - 'a' + 'A');
    made.questions.push_back({question, made.text.size(), made.text.size() + fact.size()});
    absl::StrAppend(&made.text, fact, "\n");
    if (style != 1 || prose.empty()) continue;
    for (uint64_t fillers = random.Below(5); fillers > 0; --fillers) {
      absl::StrAppend(&made.text, random.Pick(prose), "\n");
    }
  }
  return made;
}

}  // namespace ilre::cli
