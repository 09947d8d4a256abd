#include "common/model/bounded_json.h"

#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/model/quoted.h"

namespace ilre {
namespace {

using nlohmann::json;

// Watches a parse: once a rule is broken, everything that follows is discarded as it comes.
class Guard {
 public:
  explicit Guard(const JsonLimits& limits) : limits_(limits) {}

  // Empty while all is well.
  const std::string& problem() const { return problem_; }

  // The parser's callback; false discards the value.
  bool Accept(json::parse_event_t event, const json& parsed) {
    if (!problem_.empty()) return false;
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        Open();
        break;
      case json::parse_event_t::object_end:
      case json::parse_event_t::array_end:
        open_keys_.pop_back();
        break;
      case json::parse_event_t::key:
        AddKey(parsed.get_ref<const std::string&>());
        break;
      case json::parse_event_t::value:
        Count();
        break;
    }
    return problem_.empty();
  }

 private:
  void Open() {
    Count();
    open_keys_.emplace_back();
    if (open_keys_.size() > static_cast<size_t>(limits_.max_depth)) {
      problem_ = absl::StrCat("is nested deeper than ", limits_.max_depth, " levels");
    }
  }
  void AddKey(const std::string& key) {
    if (open_keys_.back().insert(key).second) return;
    problem_ = absl::StrCat("has the key ", Quoted(key), " twice");
  }
  void Count() {
    if (++num_values_ > limits_.max_values) problem_ = absl::StrCat("has more than ", limits_.max_values, " values");
  }

  const JsonLimits limits_;
  int64_t num_values_ = 0;
  std::vector<absl::flat_hash_set<std::string>> open_keys_;  // of each object (empty: array) around what comes next
  std::string problem_;
};

}  // namespace

absl::StatusOr<json> ParseJsonObject(absl::string_view path, absl::string_view text, const JsonLimits& limits) {
  Guard guard(limits);
  json parsed;
  try {
    parsed = json::parse(text.begin(), text.end(),
                         [&](int, json::parse_event_t event, json& value) { return guard.Accept(event, value); });
  } catch (const json::parse_error& error) {
    return errors::BadModelFile(path, absl::StrCat("is not valid JSON at byte ", error.byte));
  } catch (const json::exception& error) {  // a number out of range
    return errors::BadModelFile(path, absl::StrCat("is not valid JSON: ", absl::CHexEscape(error.what())));
  }
  if (!guard.problem().empty()) return errors::BadModelFile(path, guard.problem());
  if (!parsed.is_object()) return errors::BadModelFile(path, "is not a JSON object");
  return parsed;
}

}  // namespace ilre
