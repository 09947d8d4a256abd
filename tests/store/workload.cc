#include "tests/store/workload.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"

namespace ilre {
namespace {

constexpr HeadFormat kSmallHead = {.dim = 1, .type = VectorType::kBf16};

std::string Name(const DocumentRow& row) { return absl::StrCat(row.collection, "/", row.document, ": "); }

constexpr int64_t kFarFutureMs = int64_t{1} << 50;

// Rows but for the time of change and the sizes, which the store sets.
bool SameRow(DocumentRow a, const DocumentRow& b) {
  a.update_time_ms = b.update_time_ms;
  a.record_bytes = b.record_bytes;
  a.state_bytes = b.state_bytes;
  return a == b;
}

std::string BlocksDifference(const KeyStoreReader& store, const ExpectedDocument& document, uint32_t begin,
                             uint32_t end) {
  const DocumentRow& row = document.row;
  uint64_t text_begin = 0;
  for (uint32_t b = 0; b < begin; ++b) text_begin += document.blocks[b]->text.size();
  const uint64_t fingerprint = CombinedFingerprint(row.model, row.tokenizer, row.profile);
  uint32_t next = begin;
  bool same = true;
  const absl::Status status = store.VisitBlocks(row, begin, end, [&](const BlockView& view) {
    const OwnedBlock& block = *document.blocks[next];
    same = same && view.block() == next && SameBlock(view, block.View(row.uid, next, fingerprint, text_begin));
    text_begin += block.text.size();
    ++next;
    return absl::OkStatus();
  });
  if (!status.ok()) return Name(row) + status.ToString();
  return same && next == end ? "" : Name(row) + "other blocks";
}

std::string LexicalDifference(const KeyStoreReader& store, const ExpectedDocument& document, uint32_t begin,
                              uint32_t end) {
  bool same = true;
  const absl::Status status =
      store.VisitLexical(document.row, begin, end, [&](uint32_t block, const LexicalData& data) {
        same = same && data == document.blocks[block]->lexical;
        return absl::OkStatus();
      });
  if (!document.has_lexical && begin < end) {
    return ErrorReason(status) == "NO_LEXICAL" ? "" : Name(document.row) + "postings from nowhere";
  }
  if (!status.ok()) return Name(document.row) + status.ToString();
  return same ? "" : Name(document.row) + "other postings";
}

std::string TextDifference(const KeyStoreReader& store, const ExpectedDocument& document, uint32_t begin,
                           uint32_t end) {
  std::string text;
  for (uint32_t b = begin; b < end; ++b) text += document.blocks[b]->text;
  const absl::StatusOr<std::string> stored = store.ReadText(document.row, begin, end);
  if (!stored.ok()) return Name(document.row) + stored.status().ToString();
  return *stored == text ? "" : Name(document.row) + "another text";
}

std::string RangeDifference(const KeyStoreReader& store, const ExpectedDocument& document, uint32_t begin,
                            uint32_t end) {
  const absl::StatusOr<DocumentRow> row = store.GetDocument(document.row.collection, document.row.document);
  if (!row.ok()) return Name(document.row) + row.status().ToString();
  if (!SameRow(*row, document.row)) {
    return absl::StrCat(Name(document.row), "another row: revision ", row->revision, " and not ",
                        document.row.revision);
  }
  std::string difference = BlocksDifference(store, document, begin, end);
  if (difference.empty()) difference = LexicalDifference(store, document, begin, end);
  if (difference.empty()) difference = TextDifference(store, document, begin, end);
  if (!difference.empty()) return difference;
  const absl::StatusOr<std::string> state = store.ReadState(document.row);
  if (!state.ok()) return Name(document.row) + state.status().ToString();
  return *state == document.state ? "" : Name(document.row) + "another state";
}

std::string ListDifference(const KeyStoreReader& store, const ExpectedStore& expected, int page_size) {
  auto document = expected.begin();
  std::string next;
  do {
    const absl::StatusOr<KeyStoreReader::Page> page = store.ListDocuments("", page_size, next);
    if (!page.ok()) return page.status().ToString();
    for (const DocumentRow& row : page->rows) {
      if (document == expected.end() || !SameRow(row, document->second.row)) return Name(row) + "listed wrongly";
      ++document;
    }
    next = page->next;
  } while (!next.empty());
  return document == expected.end() ? "" : Name(document->second.row) + "not listed";
}

}  // namespace

std::string Difference(const KeyStoreReader& store, const ExpectedDocument& document) {
  return RangeDifference(store, document, 0, document.row.num_blocks);
}

std::string Difference(const KeyStoreReader& store, const ExpectedStore& expected) {
  std::string difference = ListDifference(store, expected, 1000);
  for (auto document = expected.begin(); difference.empty() && document != expected.end(); ++document) {
    difference = Difference(store, document->second);
  }
  return difference;
}

std::string UsageDifference(const KeyStore& store, const ExpectedStore& expected) {
  std::map<std::string, KeyStore::Usage> tenants;
  KeyStore::Usage total;
  for (const auto& [name, document] : expected) {
    const absl::StatusOr<DocumentRow> row = store.GetDocument(name.first, name.second);
    if (!row.ok()) return row.status().ToString();
    KeyStore::Usage& tenant = tenants[std::string(TenantOf(name.first))];
    for (KeyStore::Usage* usage : {&tenant, &total}) {
      ++usage->num_documents;
      usage->bytes += row->record_bytes + row->state_bytes;
    }
  }
  const auto difference = [](const std::string& whose, const KeyStore::Usage& has, const KeyStore::Usage& wanted) {
    if (has.num_documents == wanted.num_documents && has.bytes == wanted.bytes) return std::string();
    return absl::StrCat(whose, ": ", has.bytes, " bytes in ", has.num_documents, " documents and not ", wanted.bytes,
                        " in ", wanted.num_documents);
  };
  for (const auto& [tenant, usage] : tenants) {
    const std::string wrong = difference("tenant '" + tenant + "'", store.UsageOf(tenant), usage);
    if (!wrong.empty()) return wrong;
  }
  return difference("the store", store.TotalUsage(), total);
}

Workload::Workload(uint64_t seed, int num_names) : random_(seed) {
  for (int i = 0; i < 8; ++i) full_.push_back(RandomBlock(&random_, kBlockTokens, {kSmallHead}));
  for (int i = 0; i < 8; ++i) {
    partial_.push_back(RandomBlock(&random_, static_cast<int>(1 + random_.Below(kBlockTokens - 1)), {kSmallHead}));
  }
  const std::vector<std::string> collections = {"c0", "t1.c1", "t2.c2"};
  for (int i = 0; i < num_names; ++i) {
    names_.emplace_back(collections[static_cast<size_t>(i) % collections.size()], absl::StrCat("d", i));
  }
}

std::string Workload::Step(KeyStore* store, bool may_fail) {
  may_fail_ = may_fail;
  const Name name = random_.Pick(names_);
  const auto document = expected_.find(name);
  const uint64_t kind = random_.Below(1000);
  if (kind < 5) return List(*store);
  if (kind < 6) return Judge("compact", store->CompactDeleted(), absl::StatusCode::kOk);
  if (document == expected_.end()) {
    return kind < 100 ? Delete(store, name) : Create(store, name);
  }
  if (kind < 50) return Create(store, name);
  if (kind < 150) return Delete(store, name);
  if (kind < 250) return ChangeRow(store, &document->second);
  if (kind < 550) return Append(store, &document->second);
  return Read(*store, document->second);
}

std::string Workload::Judge(const std::string& what, const absl::Status& status, absl::StatusCode wanted) {
  if (status.code() == wanted) return "";
  if (may_fail_ && (absl::IsUnavailable(status) || absl::IsResourceExhausted(status))) {
    ++num_failed_;
    return "";
  }
  return absl::StrCat(what, ": ", status.ToString(), " where it should be ", absl::StatusCodeToString(wanted));
}

std::string Workload::Create(KeyStore* store, const Name& name) {
  const bool taken = expected_.count(name) != 0;
  DocumentRow row = NewRow(name.first, name.second);
  row.expire_time_ms = random_.Below(2) == 0 ? 0 : kFarFutureMs + static_cast<int64_t>(random_.Below(100));
  const absl::StatusOr<DocumentRow> created = store->CreateDocument(row);
  if (created.ok() && !taken) expected_[name] = {.row = *created, .has_lexical = random_.Below(4) != 0};
  return Judge("create " + name.second, created.status(),
               taken ? absl::StatusCode::kAlreadyExists : absl::StatusCode::kOk);
}

// None to two full blocks, and sometimes a partial one at the end.
std::vector<const OwnedBlock*> Workload::NewBlocks(bool* partial) {
  std::vector<const OwnedBlock*> blocks;
  for (uint64_t n = random_.Below(3); n > 0; --n) blocks.push_back(&random_.Pick(full_));
  *partial = random_.Below(4) == 0;
  if (*partial) blocks.push_back(&random_.Pick(partial_));
  return blocks;
}

std::string Workload::Append(KeyStore* store, ExpectedDocument* document) {
  ExpectedDocument wanted = *document;
  bool partial = false;
  std::vector<const OwnedBlock*> blocks = NewBlocks(&partial);
  if (!blocks.empty() && wanted.row.num_tokens % kBlockTokens != 0) wanted.blocks.pop_back();
  const auto first = static_cast<uint32_t>(wanted.blocks.size());
  uint64_t text_begin = 0;
  for (const OwnedBlock* block : wanted.blocks) text_begin += block->text.size();
  wanted.blocks.insert(wanted.blocks.end(), blocks.begin(), blocks.end());
  wanted.state = absl::StrCat("state ", random_.Below(1'000'000'000));
  Commit commit = MakeCommit(wanted.row, blocks, first, text_begin, wanted.state, wanted.has_lexical);
  if (blocks.empty()) commit.row = wanted.row;
  commit.row.state = partial ? DocumentState::kReady : DocumentState::kIngesting;
  const bool stale = random_.Below(20) == 0;
  if (stale) --commit.row.revision;
  const absl::StatusOr<DocumentRow> applied = store->Apply(commit);
  if (!stale && applied.ok()) {
    wanted.row = commit.row;
    wanted.row.has_postings = wanted.has_lexical && !wanted.blocks.empty();
    ++wanted.row.revision;
    wanted.row.update_time_ms = applied->update_time_ms;
    *document = wanted;
  }
  return Judge("apply to " + wanted.row.document, applied.status(),
               stale ? absl::StatusCode::kAborted : absl::StatusCode::kOk);
}

std::string Workload::ChangeRow(KeyStore* store, ExpectedDocument* document) {
  DocumentRow row = document->row;
  row.expire_time_ms = kFarFutureMs + static_cast<int64_t>(random_.Next() >> 20);
  if (random_.Below(4) == 0) {
    row.state = DocumentState::kFailed;
    row.failure = "because";
  }
  const absl::StatusOr<DocumentRow> changed = store->UpdateRow(row);
  if (changed.ok()) document->row = *changed;
  return Judge("update " + row.document, changed.status(), absl::StatusCode::kOk);
}

std::string Workload::Delete(KeyStore* store, const Name& name) {
  const bool present = expected_.count(name) != 0;
  const absl::Status status = store->DeleteDocument(name.first, name.second);
  if (status.ok()) expected_.erase(name);
  return Judge("delete " + name.second, status, present ? absl::StatusCode::kOk : absl::StatusCode::kNotFound);
}

std::string Workload::Read(const KeyStore& store, const ExpectedDocument& document) {
  const uint32_t begin = static_cast<uint32_t>(random_.Below(document.row.num_blocks + 1));
  const uint32_t end = std::min(document.row.num_blocks, begin + static_cast<uint32_t>(random_.Below(4)));
  return RangeDifference(store, document, begin, end);
}

std::string Workload::List(const KeyStore& store) {
  return ListDifference(store, expected_, static_cast<int>(1 + random_.Below(20)));
}

}  // namespace ilre
