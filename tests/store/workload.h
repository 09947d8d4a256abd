// Random operations on a store and on a map that should always say the same.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/base/random.h"
#include "common/store/key_store.h"
#include "common/store/test_documents.h"

namespace ilre {

// What a store should hold of one document.
struct ExpectedDocument {
  DocumentRow row;
  std::vector<const OwnedBlock*> blocks;
  std::string state;
  bool has_lexical = false;
};
using ExpectedStore = std::map<std::pair<std::string, std::string>, ExpectedDocument>;  // by collection, document

// What of `document` the store holds differently; empty: nothing.
std::string Difference(const KeyStoreReader& store, const ExpectedDocument& document);
// Of the whole store.
std::string Difference(const KeyStoreReader& store, const ExpectedStore& expected);

// Whether usage is as the rows say.
std::string UsageDifference(const KeyStore& store, const ExpectedStore& expected);

class Workload {
 public:
  // Documents have one of `num_names` names.
  Workload(uint64_t seed, int num_names);

  // One random operation, reading or writing. If the store says OK, the map follows. Returns what is wrong: an
  // unexpected answer or status. Where `may_fail`, writes may also end with the errors of a failing disk; the map then
  // stays, and `num_failed` counts.
  std::string Step(KeyStore* store, bool may_fail);

  const ExpectedStore& expected() const { return expected_; }
  int num_failed() const { return num_failed_; }

 private:
  using Name = std::pair<std::string, std::string>;

  std::string Create(KeyStore* store, const Name& name);
  std::string Append(KeyStore* store, ExpectedDocument* document);
  std::string ChangeRow(KeyStore* store, ExpectedDocument* document);
  std::string Delete(KeyStore* store, const Name& name);
  std::string Read(const KeyStore& store, const ExpectedDocument& document);
  std::string List(const KeyStore& store);
  // Judges the status of a write that should have ended with `wanted`.
  std::string Judge(const std::string& what, const absl::Status& status, absl::StatusCode wanted);
  std::vector<const OwnedBlock*> NewBlocks(bool* partial);

  Random random_;
  std::vector<OwnedBlock> full_, partial_;
  std::vector<Name> names_;
  ExpectedStore expected_;
  bool may_fail_ = false;
  int num_failed_ = 0;
};

}  // namespace ilre
