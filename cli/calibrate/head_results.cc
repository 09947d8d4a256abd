#include "cli/calibrate/head_results.h"

#include <algorithm>
#include <set>
#include <utility>

#include "cli/json_output.h"
#include "common/base/errors.h"

namespace ilre::cli {
namespace {

bool ReadNumbers(const Json& json, const char* field, size_t count, std::vector<double>* numbers) {
  if (!json.contains(field) || !json[field].is_array() || json[field].size() != count) return false;
  for (const auto& number : json[field]) {
    if (!number.is_number()) return false;
    numbers->push_back(number.get<double>());
  }
  return true;
}

bool ReadLayer(const Json& json, size_t num_heads, size_t num_kv_heads, HeadRecall::Layer* layer) {
  std::vector<double> layer_wide;
  if (!json.is_object() || !ReadNumbers(json, "query_heads", num_heads, &layer->query_heads) ||
      !ReadNumbers(json, "key_heads", num_kv_heads, &layer->key_heads) ||
      !ReadNumbers(json, "all_and_published", 2, &layer_wide)) {
    return false;
  }
  layer->all_heads = layer_wide[0];
  layer->published = layer_wide[1];
  return true;
}

bool ReadResult(const std::string& line, size_t num_layers, size_t num_heads, size_t num_kv_heads, HeadResult* result) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("kind") || !json["kind"].is_string()) return false;
  for (const char* field : {"length", "index", "questions", "tokens"}) {
    if (!json.contains(field) || !json[field].is_number_integer()) return false;
  }
  if (!json.contains("layers") || !json["layers"].is_array() || json["layers"].size() != num_layers) return false;
  json["kind"].get_to(result->kind);
  json["length"].get_to(result->length);
  json["index"].get_to(result->index);
  json["questions"].get_to(result->recall.questions);
  json["tokens"].get_to(result->recall.tokens);
  for (const Json& layer : json["layers"]) {
    if (!ReadLayer(layer, num_heads, num_kv_heads, &result->recall.layers.emplace_back())) return false;
  }
  return true;
}

void AddNumbers(const std::vector<double>& numbers, double factor, std::vector<double>* sums) {
  sums->resize(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) (*sums)[i] += numbers[i] * factor;
}

void AddLayers(const std::vector<HeadRecall::Layer>& layers, double factor, std::vector<HeadRecall::Layer>* sums) {
  sums->resize(layers.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    AddNumbers(layers[i].query_heads, factor, &(*sums)[i].query_heads);
    AddNumbers(layers[i].key_heads, factor, &(*sums)[i].key_heads);
    (*sums)[i].all_heads += layers[i].all_heads * factor;
    (*sums)[i].published += layers[i].published * factor;
  }
}

HeadChoice BestOfLayer(const HeadRecall::Layer& recall, int layer) {
  HeadChoice best{.layer = layer, .key_head = 0, .query_heads = {}, .recall = -1};
  const int num_heads = static_cast<int>(recall.query_heads.size());
  const int group = num_heads / std::max(1, static_cast<int>(recall.key_heads.size()));
  for (int head = 0; head < num_heads; ++head) {
    const double own = recall.query_heads[static_cast<size_t>(head)];
    if (own > best.recall) best = {layer, head / group, {head}, own};
  }
  for (int key_head = 0; key_head * group < num_heads; ++key_head) {
    const double own = recall.key_heads[static_cast<size_t>(key_head)];
    if (own <= best.recall) continue;
    best = {layer, key_head, {}, own};
    for (int i = 0; i < group; ++i) best.query_heads.push_back(key_head * group + i);
  }
  return best;
}

}  // namespace

std::string HeadResultLine(const HeadResult& result) {
  Json layers = Json::array();
  for (const HeadRecall::Layer& layer : result.recall.layers) {
    layers.push_back({{"query_heads", layer.query_heads},
                      {"key_heads", layer.key_heads},
                      {"all_and_published", {layer.all_heads, layer.published}}});
  }
  return DumpLine({{"kind", result.kind},
                   {"length", result.length},
                   {"index", result.index},
                   {"questions", result.recall.questions},
                   {"tokens", result.recall.tokens},
                   {"layers", std::move(layers)}});
}

absl::StatusOr<HeadResult> ParseHeadResult(const std::string& line, size_t num_layers, size_t num_heads,
                                           size_t num_kv_heads) {
  HeadResult result;
  if (!ReadResult(line, num_layers, num_heads, num_kv_heads, &result)) return errors::InvalidArgument("no result");
  return result;
}

std::vector<HeadRecall::Layer> MeanRecall(const std::vector<HeadResult>& results, const std::string& kind, int length) {
  int questions = 0;
  for (const HeadResult& result : results) {
    if (result.kind == kind && result.length == length) questions += result.recall.questions;
  }
  std::vector<HeadRecall::Layer> mean;
  for (const HeadResult& result : results) {
    if (questions > 0 && result.kind == kind && result.length == length) {
      AddLayers(result.recall.layers, 1.0 / questions, &mean);
    }
  }
  return mean;
}

std::vector<HeadRecall::Layer> OverallRecall(const std::vector<HeadResult>& results) {
  std::set<std::pair<std::string, int>> groups;
  for (const HeadResult& result : results) {
    if (result.recall.questions > 0) groups.insert({result.kind, result.length});
  }
  std::vector<HeadRecall::Layer> mean;
  for (const auto& [kind, length] : groups) {
    AddLayers(MeanRecall(results, kind, length), 1.0 / static_cast<double>(groups.size()), &mean);
  }
  return mean;
}

HeadChoice BestHead(const std::vector<HeadRecall::Layer>& layers) { return EarliestHead(layers, 0); }

HeadChoice EarliestHead(const std::vector<HeadRecall::Layer>& layers, double tolerance) {
  std::vector<HeadChoice> choices;
  double best = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    choices.push_back(BestOfLayer(layers[i], static_cast<int>(i)));
    best = std::max(best, choices.back().recall);
  }
  for (const HeadChoice& choice : choices) {
    if (choice.recall >= best - tolerance) return choice;
  }
  return {};
}

int PublishedLayer(const std::vector<HeadRecall::Layer>& layers) {
  const auto best = std::max_element(layers.begin(), layers.end(),
                                     [](const auto& a, const auto& b) { return a.published < b.published; });
  return static_cast<int>(best - layers.begin());
}

}  // namespace ilre::cli
