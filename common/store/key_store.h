// Where documents are kept: rows, blocks of vectors, text, postings and the state to resume from.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/store/records.h"

namespace ilre {

// Reading. Thread-safe. Errors of any call: DATA_LOSS naming document and block where stored bytes are damaged;
// UNAVAILABLE or INTERNAL where the disk fails.
class KeyStoreReader {
 public:
  virtual ~KeyStoreReader() = default;

  // NOT_FOUND with reason DOCUMENT_NOT_FOUND if there is none (or it is being deleted, or has expired).
  virtual absl::StatusOr<DocumentRow> GetDocument(absl::string_view collection, absl::string_view document) const = 0;

  struct Page {
    std::vector<DocumentRow> rows;  // by collection, then document
    std::string next;               // give it as `after` for the next page; empty at the end
  };
  // Documents of `collection`; of all collections of a tenant if it is "TENANT."; of all if it is empty. page_size
  // >= 1. A document whose stored row is damaged is listed as FAILED with uid 0: it cannot be read, but deleted.
  // `after` may come from outside: INVALID_ARGUMENT with reason INVALID_PAGE_TOKEN for what is no Page::next of such a
  // list.
  virtual absl::StatusOr<Page> ListDocuments(absl::string_view collection, int page_size,
                                             absl::string_view after) const = 0;

  // Calls visit for each block in [begin, end) of a document, in order, until it returns an error, which is then
  // returned. The view is valid only during the call. A block that should be there and is not is DATA_LOSS. Blocks
  // beyond row.num_blocks are not visited. Every block visited has the tokens and the fingerprint that `row` says. If
  // the document has since been deleted, NOT_FOUND; if it has been changed so that its blocks are no longer those of
  // `row`, ABORTED with reason DOCUMENT_CHANGED: get the row again.
  virtual absl::Status VisitBlocks(const DocumentRow& row, uint32_t begin, uint32_t end,
                                   const std::function<absl::Status(const BlockView&)>& visit) const = 0;
  // The same over postings; only present where row.has_postings, else FAILED_PRECONDITION with reason NO_LEXICAL.
  virtual absl::Status VisitLexical(const DocumentRow& row, uint32_t begin, uint32_t end,
                                    const std::function<absl::Status(uint32_t, const LexicalData&)>& visit) const = 0;
  // The text of blocks [begin, end). Errors as VisitBlocks.
  virtual absl::StatusOr<std::string> ReadText(const DocumentRow& row, uint32_t begin, uint32_t end) const = 0;

  // What an ingest needs to go on; opaque to the store (encoder_service owns its format), checked for damage.
  virtual absl::StatusOr<std::string> ReadState(const DocumentRow& row) const = 0;

  struct Stats {
    uint64_t num_documents, disk_bytes;
  };
  virtual absl::StatusOr<Stats> GetStats() const = 0;

  // Catches up with the writer, where this store follows one in another process: what was acknowledged before this is
  // called is seen afterwards. Nothing to do elsewhere.
  virtual absl::Status Refresh() = 0;
};

// One step of an ingest, applied whole or not at all. Spans are borrowed for the call.
struct Commit {
  DocumentRow row;  // as it shall be; row.uid names the document
  struct Block {
    BlockData data;
    absl::string_view text;                // data.ends.back() bytes
    const LexicalData* lexical = nullptr;  // optional
  };
  // Blocks from row's former num_blocks on; or, when a finished document is appended to, from its partial last block
  // on, which is then replaced.
  std::vector<Block> blocks;
  absl::string_view state;  // replaces the stored state
};

// Reading and writing; one per data directory on this machine. Thread-safe; commits to one document must not overlap.
class KeyStore : public KeyStoreReader {
 public:
  // Creates a row with a new uid, state INGESTING, and of `row` its names, fingerprints and expiry. ALREADY_EXISTS
  // (DOCUMENT_EXISTS) if the name is taken, INVALID_ARGUMENT (INVALID_NAME) if it is none, RESOURCE_EXHAUSTED
  // (QUOTA_EXCEEDED) as Apply.
  virtual absl::StatusOr<DocumentRow> CreateDocument(const DocumentRow& row) = 0;

  // Durable when it returns OK: the log is synced. The returned row has its new revision and update time. Errors:
  // RESOURCE_EXHAUSTED (DISK_FULL; QUOTA_EXCEEDED, naming limit and use, where the document would grow beyond what its
  // tenant or the store may have), UNAVAILABLE where the disk fails, ABORTED (DOCUMENT_CHANGED) where the row was
  // deleted or changed meanwhile (its revision is not row's), INVALID_ARGUMENT (INVALID_COMMIT) for blocks that do not
  // fit the row and each other. After an error nothing of the commit is visible, then or later, and the store goes on
  // working once the cause is gone.
  virtual absl::StatusOr<DocumentRow> Apply(const Commit& commit) = 0;

  // Changes only the row (expiry, failure). As Apply.
  virtual absl::StatusOr<DocumentRow> UpdateRow(const DocumentRow& row) = 0;

  // Removes the document and everything of it; the name is free at once. NOT_FOUND if there is none. A damaged row does
  // not prevent it.
  virtual absl::Status DeleteDocument(absl::string_view collection, absl::string_view document) = 0;

  // Gives the disk space of deleted documents back. May take long. Happens in the background by itself, too.
  virtual absl::Status CompactDeleted() = 0;

  // Deletes what has expired at `now`, which readers no longer see anyway; returns how many documents that were. To be
  // called now and then.
  virtual absl::StatusOr<int> ExpireDocuments(absl::Time now) = 0;

  struct Usage {
    uint64_t num_documents = 0;
    uint64_t bytes = 0;  // of their records before compression
  };
  // Of the documents of a tenant, or of those that belong to none if it is empty. Kept in memory. What has expired
  // counts until it is deleted; what was deleted does not count, though its disk space may not be back yet.
  virtual Usage UsageOf(absl::string_view tenant) const = 0;
  virtual Usage TotalUsage() const = 0;
};

struct KeyStoreOptions {
  uint64_t write_buffer_bytes = 4 << 20;  // memory held before blocks go to a file, per column family
  uint64_t block_cache_bytes = 64 << 20;  // for text, rows, indexes; vectors are read from the mapping
  bool verify_on_open = false;            // reads every record at Open
  // What documents may have, as KeyStore::Usage counts bytes; 0: no limit. Of the whole store, of each tenant (those
  // that belong to none count as one), and of tenants that have a limit of their own.
  uint64_t max_store_bytes = 0, max_tenant_bytes = 0;
  std::map<std::string, uint64_t> max_bytes_of_tenant;
  // Disk space that the writer keeps in a file RESERVE, so that documents can be deleted and their space given back
  // when the disk is full. Then nothing else is written (DISK_FULL) until there is room for the reserve again. Enough
  // is 8 write_buffer_bytes, and somewhat more. 0: none, and only others can make room.
  uint64_t reserve_bytes = 0;
  // Gives the space of deleted documents back on a thread of its own, one compaction at a time.
  bool compact_in_background = true;
  std::function<absl::Time()> clock;  // says when documents expire; empty: the system's
  absl::Status Validate() const;
};

// Opens the store in folder `path`, creating it if need be. Errors: FAILED_PRECONDITION with reason
// DATA_DIRECTORY_IN_USE, naming the folder; FORMAT_UNKNOWN naming both versions; DATA_LOSS with reason STORE_DAMAGED
// for what RocksDB refuses.
absl::StatusOr<std::unique_ptr<KeyStore>> OpenKeyStore(const std::string& path, const KeyStoreOptions& options);

// Opens it for reading while another process may write, or be started or killed; writes nothing into that folder. What
// it shows is exactly what the store held at one moment of the last Refresh (of opening it, at first), and stays so
// until the next. That may include a commit which its writer has not yet acknowledged. A call that reads while another
// thread refreshes goes on with what it began with. NOT_FOUND with reason NO_STORE if there is no store in that folder.
//
// Refresh costs a listing of the folder where nothing changed; else it opens a new view, in about the time of reading
// the writer's log (at most 4 write_buffer_bytes of it). Its errors leave what is shown as it was: UNAVAILABLE where
// the folder cannot be read, DATA_LOSS (STORE_DAMAGED). StoreRefresher calls it regularly.
absl::StatusOr<std::unique_ptr<KeyStoreReader>> OpenKeyStoreFollower(const std::string& path,
                                                                     const KeyStoreOptions& options);

}  // namespace ilre
