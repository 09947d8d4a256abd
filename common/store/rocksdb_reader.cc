#include "common/store/rocksdb_reader.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/store/plain_records.h"
#include "common/store/rocksdb_status.h"

namespace ilre {
namespace {

constexpr int kMaxPageSize = 100'000;  // rows

absl::string_view DamagedReason(RecordClass record_class) {
  switch (record_class) {
    case RecordClass::kDocumentRow:
      return "ROW_DAMAGED";
    case RecordClass::kText:
      return "TEXT_DAMAGED";
    case RecordClass::kLexical:
      return "LEXICAL_DAMAGED";
    case RecordClass::kState:
      return "STATE_DAMAGED";
    default:
      return "BLOCK_DAMAGED";
  }
}

absl::Status DocumentChanged(const DocumentRow& row) {
  return MakeError(absl::StatusCode::kAborted, "DOCUMENT_CHANGED",
                   absl::StrCat("document ", DocumentName(row), " was changed while it was read"));
}

// What is listed of a document whose row cannot be read: it can still be seen, and deleted.
DocumentRow DamagedRow(std::string collection, std::string document, const absl::Status& damage) {
  DocumentRow row;
  row.collection = std::move(collection);
  row.document = std::move(document);
  row.state = DocumentState::kFailed;
  row.failure = absl::StrCat("its stored row is damaged: ", damage.message()).substr(0, kMaxFailureBytes);
  return row;
}

// Of a tenant, "TENANT."; of all, "".
bool IsListable(absl::string_view collection) {
  if (collection.empty() || IsValidCollection(collection)) return true;
  return absl::ConsumeSuffix(&collection, ".") && IsValidName(collection);
}

// The key after which a page begins; `after` is a document's name as in Page::next. It comes from outside.
absl::StatusOr<std::string> PageStart(absl::string_view collection, absl::string_view after) {
  if (after.empty()) return DocumentRowPrefix(collection);
  const size_t slash = after.find('/');
  if (slash != absl::string_view::npos) {
    const absl::string_view after_collection = after.substr(0, slash), after_document = after.substr(slash + 1);
    const bool listed = collection.empty() || collection == after_collection ||
                        (collection.back() == '.' && absl::StartsWith(after_collection, collection));
    if (listed && IsValidCollection(after_collection) && IsValidName(after_document)) {
      return DocumentRowKey(after_collection, after_document) + '\0';  // the very next key
    }
  }
  return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_PAGE_TOKEN", "not a page token of this list");
}

// DATA_LOSS of a damaged record becomes the document's; other errors keep their reasons.
absl::Status RecordError(const rocksdb::Status& status, RecordClass record_class, absl::string_view what) {
  if (!status.IsCorruption()) return FromRocksdb(status, what);
  return MakeError(absl::StatusCode::kDataLoss, DamagedReason(record_class),
                   absl::StrCat(what, ": ", status.ToString()));
}

}  // namespace

bool IsExpired(const DocumentRow& row, absl::Time now) {
  return row.expire_time_ms != 0 && absl::FromUnixMillis(row.expire_time_ms) <= now;
}

absl::Status DocumentNotFound(absl::string_view collection, absl::string_view document) {
  return MakeError(absl::StatusCode::kNotFound, "DOCUMENT_NOT_FOUND",
                   absl::StrCat("there is no document ", collection, "/", document));
}

std::string DocumentName(const DocumentRow& row) { return absl::StrCat(row.collection, "/", row.document); }

absl::StatusOr<DocumentRow> RocksdbReader::GetAnyDocument(absl::string_view collection,
                                                          absl::string_view document) const {
  if (!IsValidCollection(collection) || !IsValidName(document)) return DocumentNotFound(collection, document);
  ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_->Acquire());
  const std::string key = DocumentRowKey(collection, document);
  std::string value;
  const rocksdb::Status status =
      database->db()->Get(MakeReadOptions(Family::kMeta), database->family(Family::kMeta), key, &value);
  if (status.IsNotFound()) return DocumentNotFound(collection, document);
  const std::string what = absl::StrCat("the row of document ", collection, "/", document);
  if (!status.ok()) return RecordError(status, RecordClass::kDocumentRow, what);
  absl::StatusOr<DocumentRow> row = ParseDocumentRow(key, value);
  if (!row.ok()) return Annotate(row.status(), what);
  return row;
}

bool RocksdbReader::IsGone(const DocumentRow& row) const {
  if (row.state == DocumentState::kDeleting) return true;
  return row.expire_time_ms != 0 && IsExpired(row, clock_ ? clock_() : absl::Now());
}

absl::StatusOr<DocumentRow> RocksdbReader::GetDocument(absl::string_view collection, absl::string_view document) const {
  ILRE_ASSIGN_OR_RETURN(DocumentRow row, GetAnyDocument(collection, document));
  if (IsGone(row)) return DocumentNotFound(collection, document);
  return row;
}

absl::StatusOr<KeyStoreReader::Page> RocksdbReader::ListDocuments(absl::string_view collection, int page_size,
                                                                  absl::string_view after) const {
  KeyStoreReader::Page page;
  if (page_size < 1) return errors::InvalidArgument("page_size must be at least 1");
  if (!IsListable(collection)) return page;
  ILRE_ASSIGN_OR_RETURN(const std::string start, PageStart(collection, after));
  ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_->Acquire());
  const std::string prefix = DocumentRowPrefix(collection);
  const auto most = static_cast<size_t>(std::min(page_size, kMaxPageSize));
  std::unique_ptr<rocksdb::Iterator> records(
      database->db()->NewIterator(MakeReadOptions(Family::kMeta), database->family(Family::kMeta)));
  for (records->Seek(start); records->Valid(); records->Next()) {
    const absl::string_view key = FromSlice(records->key());
    if (!absl::StartsWith(key, prefix)) break;
    std::string its_collection, its_document;
    if (!ParseDocumentRowKey(key, &its_collection, &its_document)) continue;
    absl::StatusOr<DocumentRow> row = ParseDocumentRow(key, FromSlice(records->value()));
    if (!row.ok()) row = DamagedRow(std::move(its_collection), std::move(its_document), row.status());
    if (IsGone(*row)) continue;
    if (page.rows.size() == most) {
      page.next = DocumentName(page.rows.back());
      break;
    }
    page.rows.push_back(*std::move(row));
  }
  ILRE_RETURN_IF_ERROR(FromRocksdb(records->status(), "cannot list documents"));
  return page;
}

absl::Status RocksdbReader::Explain(const DocumentRow& row, const absl::Status& damage) const {
  const absl::StatusOr<DocumentRow> now = GetDocument(row.collection, row.document);
  if (absl::IsNotFound(now.status())) return now.status();
  if (!now.ok()) return damage;
  if (now->uid != row.uid) return DocumentNotFound(row.collection, row.document);
  return now->revision == row.revision ? damage : DocumentChanged(row);
}

absl::Status RocksdbReader::VisitRecords(const DocumentRow& row, Family family, RecordClass record_class,
                                         uint32_t begin, uint32_t end, const RecordVisitor& visit) const {
  end = std::min(end, row.num_blocks);
  if (begin >= end) return absl::OkStatus();
  ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_->Acquire());
  const std::string bound = BlockwiseKey(record_class, row.uid, end);
  const rocksdb::Slice upper_bound(bound);
  rocksdb::ReadOptions read = MakeReadOptions(family);
  read.iterate_upper_bound = &upper_bound;
  std::unique_ptr<rocksdb::Iterator> records(database->db()->NewIterator(read, database->family(family)));
  records->Seek(BlockwiseKey(record_class, row.uid, begin));
  for (uint32_t block = begin; block < end; ++block, records->Next()) {
    const std::string key = BlockwiseKey(record_class, row.uid, block);
    if (!records->Valid() || FromSlice(records->key()) != key) {
      const std::string what = absl::StrCat("document ", DocumentName(row), ", block ", block);
      if (!records->status().ok()) return RecordError(records->status(), record_class, what);
      return Explain(row, MakeError(absl::StatusCode::kDataLoss, DamagedReason(record_class),
                                    absl::StrCat(what, ": it is missing")));
    }
    // Only a partial last block is ever replaced, and only a block itself says how many tokens it has.
    const bool may_be_replaced = block + 1 == row.num_blocks && row.num_tokens % kBlockTokens != 0;
    if (may_be_replaced && record_class != RecordClass::kBlock) ILRE_RETURN_IF_ERROR(CheckNotReplaced(row));
    ILRE_RETURN_IF_ERROR(visit(block, key, FromSlice(records->value())));
  }
  return absl::OkStatus();
}

absl::Status RocksdbReader::CheckNotReplaced(const DocumentRow& row) const {
  ILRE_ASSIGN_OR_RETURN(const DocumentRow now, GetDocument(row.collection, row.document));
  if (now.uid != row.uid) return DocumentNotFound(row.collection, row.document);
  const bool same = now.num_tokens == row.num_tokens && now.committed_bytes == row.committed_bytes &&
                    now.text_checksum == row.text_checksum;
  return same ? absl::OkStatus() : DocumentChanged(row);
}

absl::Status RocksdbReader::CheckBlock(const DocumentRow& row, uint64_t fingerprint, const BlockView& block) const {
  const bool is_last = block.block() + 1 == row.num_blocks;
  const uint64_t tokens = is_last ? row.num_tokens - uint64_t{block.block()} * kBlockTokens : kBlockTokens;
  if (static_cast<uint64_t>(block.num_tokens()) != tokens) {
    return Explain(row, MakeError(absl::StatusCode::kDataLoss, "BLOCK_DAMAGED",
                                  absl::StrCat(block.num_tokens(), " tokens where there should be ", tokens)));
  }
  if (block.fingerprint() != fingerprint) {
    return MakeError(absl::StatusCode::kDataLoss, "BLOCK_DAMAGED",
                     "it was made by another model, tokenizer or profile");
  }
  return absl::OkStatus();
}

absl::Status RocksdbReader::VisitBlocks(const DocumentRow& row, uint32_t begin, uint32_t end,
                                        const std::function<absl::Status(const BlockView&)>& visit) const {
  const uint64_t fingerprint = CombinedFingerprint(row.model, row.tokenizer, row.profile);
  return VisitRecords(row, Family::kBlocks, RecordClass::kBlock, begin, end,
                      [&](uint32_t number, absl::string_view key, absl::string_view value) {
                        absl::StatusOr<BlockView> block = BlockView::Parse(key, value);
                        const absl::Status sound = block.ok() ? CheckBlock(row, fingerprint, *block) : block.status();
                        if (sound.ok()) return visit(*block);
                        return Annotate(sound, absl::StrCat("document ", DocumentName(row), ", block ", number));
                      });
}

absl::Status RocksdbReader::VisitLexical(const DocumentRow& row, uint32_t begin, uint32_t end,
                                         const std::function<absl::Status(uint32_t, const LexicalData&)>& visit) const {
  if (begin >= std::min(end, row.num_blocks)) return absl::OkStatus();
  if (!row.has_postings) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "NO_LEXICAL",
                     absl::StrCat("document ", DocumentName(row), " was stored without postings"));
  }
  return VisitRecords(row, Family::kLexical, RecordClass::kLexical, begin, end,
                      [&](uint32_t number, absl::string_view key, absl::string_view value) {
                        absl::StatusOr<LexicalData> data = ParseLexical(key, value);
                        if (data.ok()) return visit(number, *data);
                        return Annotate(data.status(),
                                        absl::StrCat("document ", DocumentName(row), ", postings of block ", number));
                      });
}

absl::StatusOr<std::string> RocksdbReader::ReadText(const DocumentRow& row, uint32_t begin, uint32_t end) const {
  std::string all;
  ILRE_RETURN_IF_ERROR(VisitRecords(row, Family::kText, RecordClass::kText, begin, end,
                                    [&](uint32_t number, absl::string_view key, absl::string_view value) {
                                      absl::StatusOr<absl::string_view> text = ParseText(key, value);
                                      if (!text.ok()) {
                                        return Annotate(text.status(), absl::StrCat("document ", DocumentName(row),
                                                                                    ", text of block ", number));
                                      }
                                      all.append(text->data(), text->size());
                                      return absl::OkStatus();
                                    }));
  return all;
}

absl::StatusOr<std::string> RocksdbReader::ReadState(const DocumentRow& row) const {
  ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_->Acquire());
  const std::string key = StateKey(row.uid);
  const std::string what = absl::StrCat("document ", DocumentName(row), ", ingest state");
  rocksdb::PinnableSlice value;
  const rocksdb::Status status =
      database->db()->Get(MakeReadOptions(Family::kState), database->family(Family::kState), key, &value);
  if (status.IsNotFound()) {
    return Explain(row, MakeError(absl::StatusCode::kDataLoss, "STATE_DAMAGED", absl::StrCat(what, ": it is missing")));
  }
  if (!status.ok()) return RecordError(status, RecordClass::kState, what);
  absl::StatusOr<absl::string_view> state = ParseState(key, FromSlice(value));
  if (!state.ok()) return Annotate(state.status(), what);
  return std::string(*state);
}

absl::StatusOr<KeyStoreReader::Stats> RocksdbReader::GetStats() const {
  KeyStoreReader::Stats stats = {};
  {
    ILRE_ASSIGN_OR_RETURN(const DatabaseSlot::Lease database, slot_->Acquire());
    const std::string prefix = DocumentRowPrefix("");
    std::unique_ptr<rocksdb::Iterator> records(
        database->db()->NewIterator(MakeReadOptions(Family::kMeta), database->family(Family::kMeta)));
    for (records->Seek(prefix); records->Valid() && records->key().starts_with(prefix); records->Next()) {
      ++stats.num_documents;
    }
    ILRE_RETURN_IF_ERROR(FromRocksdb(records->status(), "cannot count documents"));
  }
  // Files come and go meanwhile, so what cannot be asked for its size is gone and counts as nothing.
  std::error_code error;
  for (std::filesystem::directory_iterator file(path_, error), end; !error && file != end; file.increment(error)) {
    std::error_code gone;
    const uint64_t bytes = file->is_regular_file(gone) ? file->file_size(gone) : 0;
    if (!gone) stats.disk_bytes += bytes;
  }
  if (error) return ErrnoError(error.value(), absl::StrCat("cannot list ", path_));
  return stats;
}

}  // namespace ilre
