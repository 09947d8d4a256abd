// A process that writes to a store, for tests that kill it or follow it: store_writer FOLDER [SEED].
//
// Without SEED it obeys lines of its input: "append NAME BLOCKS" (creates the document if need be), "delete NAME",
// "compact"; each is answered by "ok" or by the error. With SEED it writes at random until it is killed. Whatever it
// has committed it prints: "NAME UID REVISION BLOCKS" of a row, "NAME gone" of a deletion.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/store/key_store.h"
#include "tests/store/known_documents.h"

namespace ilre {
namespace {

void Print(const std::string& line) {
  std::fputs((line + "\n").c_str(), stdout);
  std::fflush(stdout);
}

absl::StatusOr<DocumentRow> GetOrCreate(KeyStore* store, const std::string& name) {
  absl::StatusOr<DocumentRow> row = store->GetDocument(kKnownCollection, name);
  if (!absl::IsNotFound(row.status())) return row;
  return store->CreateDocument(NewRow(kKnownCollection, name));
}

absl::Status Append(KeyStore* store, const std::string& name, uint32_t num_blocks) {
  ILRE_ASSIGN_OR_RETURN(DocumentRow row, GetOrCreate(store, name));
  ILRE_ASSIGN_OR_RETURN(row, AppendKnownBlocks(store, row, num_blocks));
  Print(absl::StrCat(name, " ", row.uid, " ", row.revision, " ", row.num_blocks));
  return absl::OkStatus();
}

absl::Status Delete(KeyStore* store, const std::string& name) {
  ILRE_RETURN_IF_ERROR(store->DeleteDocument(kKnownCollection, name));
  Print(name + " gone");
  return absl::OkStatus();
}

absl::Status Obey(KeyStore* store, const std::string& line) {
  std::istringstream words(line);
  std::string command, name;
  uint32_t num_blocks = 0;
  words >> command >> name >> num_blocks;
  if (command == "append") return Append(store, name, num_blocks);
  if (command == "delete") return Delete(store, name);
  if (command == "compact") return store->CompactDeleted();
  return absl::InvalidArgumentError("what?");
}

absl::Status WriteAtRandom(KeyStore* store, uint64_t seed) {
  Random random(seed);
  while (true) {
    const std::string name = absl::StrCat("d", random.Below(4));
    const absl::StatusOr<DocumentRow> row = store->GetDocument(kKnownCollection, name);
    if (row.ok() && random.Below(8) == 0) {
      ILRE_RETURN_IF_ERROR(Delete(store, name));
    } else {
      ILRE_RETURN_IF_ERROR(Append(store, name, static_cast<uint32_t>(random.Below(4))));
    }
    if (random.Below(100) == 0) ILRE_RETURN_IF_ERROR(store->CompactDeleted());
  }
}

int Main(int argc, char** argv) {
  const auto store = OpenKeyStore(argv[1], {.write_buffer_bytes = 64 << 10});
  if (!store.ok()) {
    Print(store.status().ToString());
    return 1;
  }
  Print("ready");
  if (argc == 3) {
    Print(WriteAtRandom(store->get(), std::strtoull(argv[2], nullptr, 10)).ToString());
    return 1;
  }
  for (std::string line; std::getline(std::cin, line);) {
    const absl::Status status = Obey(store->get(), line);
    Print(status.ok() ? "ok" : status.ToString());
  }
  return 0;
}

}  // namespace
}  // namespace ilre

int main(int argc, char** argv) { return argc == 2 || argc == 3 ? ilre::Main(argc, argv) : 2; }
