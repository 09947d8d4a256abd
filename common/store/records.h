// The bytes of stored records. These formats are frozen: tests/format/golden holds records of every version.
//
// All integers are little-endian in values and big-endian in keys. Every value begins with its format version and ends
// with a checksum over its key and everything before, so that damage and records in another's place are both found.
// docs/formats.md describes every byte; keys are made by record_keys.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ilre {

inline constexpr int kBlockTokens = 256;  // tokens in every block of a document but the last
inline constexpr int kMaxHeads = 64;      // retrieval heads of one profile
inline constexpr int kMaxHeadDim = 1024;
inline constexpr int kMaxTextPerBlock = 1 << 24;  // bytes

// Element type of stored vectors. Values are frozen.
enum class VectorType : uint8_t {
  kBf16 = 1,
  kInt8 = 2,  // with one float scale a vector: value = int8 * scale
};

struct HeadFormat {
  uint16_t dim = 0;
  VectorType type = VectorType::kBf16;
  // One vector for each segment's part in the block (what runs on from the block before, if anything does, and what
  // begins at each start) in place of one for each token. The parts' vectors of one segment are added up.
  bool pooled = false;
  friend bool operator==(const HeadFormat&, const HeadFormat&) = default;
};

// One block to be written. Spans are borrowed for the duration of the call.
struct BlockData {
  uint64_t document_uid = 0;
  uint32_t block = 0;               // number of this block in its document, from 0
  uint64_t fingerprint = 0;         // of model, tokenizer and profile together: vectors of another are not comparable
  uint64_t text_begin = 0;          // byte offset in the document of the first token's first byte
  absl::Span<const int32_t> ids;    // [n], 1 <= n <= kBlockTokens
  absl::Span<const uint32_t> ends;  // [n] byte offset after each token, from text_begin; ascending
  // [n] whether a segment (a sentence, a line) starts with this token. A segment runs to the next start, across blocks.
  const bool* segment_starts = nullptr;
  std::vector<HeadFormat> heads;
  // [heads]: the vectors of one head, row-major [n, dim], bf16 bits or int8; of a pooled head [parts, dim].
  std::vector<absl::string_view> vectors;
  std::vector<absl::Span<const float>> scales;  // [heads]: one for each vector for kInt8, else empty
};

// A stored block, checked, as views into the value's bytes: valid as long as those are. Vectors are not aligned.
class BlockView {
 public:
  // Everything is checked before use: version, sizes, checksum, order of offsets. Errors: DATA_LOSS with reason
  // BLOCK_DAMAGED or FORMAT_UNKNOWN; the caller adds the document's name and the block's number.
  static absl::StatusOr<BlockView> Parse(absl::string_view key, absl::string_view value);

  uint64_t document_uid() const { return document_uid_; }
  uint32_t block() const { return block_; }
  uint64_t fingerprint() const { return fingerprint_; }
  uint64_t text_begin() const { return text_begin_; }
  int num_tokens() const { return num_tokens_; }
  int32_t id(int token) const;          // 0 <= token < num_tokens()
  uint32_t token_end(int token) const;  // byte offset after the token, from text_begin()
  uint32_t text_bytes() const { return token_end(num_tokens_ - 1); }
  bool starts_segment(int token) const;
  // [ceil(n / 8)], bit t % 8 of byte t / 8 is starts_segment(t).
  absl::string_view segment_bitmap() const { return segment_bitmap_; }
  const std::vector<HeadFormat>& heads() const { return heads_; }
  int num_parts() const;  // of segments
  // [num_vectors(head), dim] bf16 bits or int8
  absl::string_view vectors(int head) const { return vectors_[head]; }
  int num_vectors(int head) const { return heads_[head].pooled ? num_parts() : num_tokens_; }
  float scale(int head, int vector) const;                            // kInt8 only
  absl::string_view scales(int head) const { return scales_[head]; }  // kInt8 only: [num_vectors(head)] float bits

  // The stored value that this is a view of.
  absl::string_view value() const { return value_; }
  // The same view of `copy`, a copy of value(). Nothing is checked again.
  BlockView OnCopy(absl::string_view copy) const;

 private:
  friend class BlockParser;

  uint64_t document_uid_ = 0, fingerprint_ = 0, text_begin_ = 0;
  uint32_t block_ = 0;
  int num_tokens_ = 0;
  int id_bytes_ = 0, end_bytes_ = 0;  // width of each stored id (2, 3 or 4) and of each stored offset (2 or 4)
  absl::string_view value_, ids_, ends_, segment_bitmap_;
  std::vector<HeadFormat> heads_;
  std::vector<absl::string_view> vectors_, scales_;
};

// Parts of segments in a block of n tokens: one for each start, and one before them unless the first token starts one.
int CountParts(const bool* segment_starts, size_t n);

// The value to store under BlockKey(block.document_uid, block.block). The same block always gives the same bytes.
// INVALID_ARGUMENT with reason INVALID_BLOCK, naming what is wrong, for a block that BlockView would not read.
absl::StatusOr<std::string> EncodeBlock(const BlockData& block);

// Words of one block for lexical scoring: which word (by hash), in which segment, how often.
struct LexicalPosting {
  uint32_t word_hash;
  // Index within the block: 0 is what runs on from the block before, +1 at each start; words of a 256th segment count
  // for the one before it.
  uint8_t segment;
  uint8_t count;  // saturates at 255
};
struct LexicalData {
  std::vector<LexicalPosting> postings;  // sorted by (word_hash, segment)
  std::vector<uint16_t> segment_words;   // words in each segment's part within this block
};
// OK, or INVALID_ARGUMENT with reason INVALID_LEXICAL naming what is wrong: order, a segment that is not there, sizes.
absl::Status ValidateLexical(const LexicalData& data);
// `data` must be valid. The same data always gives the same bytes.
std::string EncodeLexical(absl::string_view key, const LexicalData& data);
// Errors: DATA_LOSS with reason LEXICAL_DAMAGED or FORMAT_UNKNOWN.
absl::StatusOr<LexicalData> ParseLexical(absl::string_view key, absl::string_view value);

enum class DocumentState : uint8_t {  // values are frozen
  kIngesting = 1,
  kReady = 2,
  kFailed = 3,
  kDeleting = 4,
};
absl::string_view DocumentStateName(DocumentState state);  // "INGESTING", ...

// What is known of a document without its content.
struct DocumentRow {
  std::string collection, document;  // see IsValidCollection and IsValidName; stored in the key alone
  uint64_t uid = 0;                  // never given twice in a store
  DocumentState state = DocumentState::kIngesting;
  uint64_t committed_bytes = 0;  // acknowledged: an ingest resumes here; of a READY document its size
  uint64_t num_tokens = 0;       // in stored blocks
  uint32_t num_blocks = 0;
  uint64_t text_checksum = 0;  // chained XXH3 over the texts of whole blocks and the rest; see docs/formats.md
  std::string model, tokenizer, profile;           // fingerprints, 16 hexadecimal digits each
  int64_t create_time_ms = 0, update_time_ms = 0;  // since the Unix epoch
  int64_t expire_time_ms = 0;                      // 0: never
  uint64_t revision = 0;                           // grows with every change of this row (the etag)
  std::string failure;                             // of FAILED: why, one line
  bool has_postings = false;                       // every block has a lexical record; the store sets this
  // Bytes of its stored records before compression: of blocks, texts and postings; of the ingest's state. The store
  // sets them. Both 0: not known, of a row that an older program wrote.
  uint64_t record_bytes = 0, state_bytes = 0;
  friend bool operator==(const DocumentRow&, const DocumentRow&) = default;
};
inline constexpr size_t kMaxFingerprintBytes = 64;  // of model, tokenizer and profile each
inline constexpr size_t kMaxFailureBytes = 1024;
// OK, or INVALID_ARGUMENT with reason INVALID_ROW or INVALID_NAME naming the member that cannot be stored.
absl::Status ValidateDocumentRow(const DocumentRow& row);
// `row` must be valid, and `key` DocumentRowKey of its names.
std::string EncodeDocumentRow(absl::string_view key, const DocumentRow& row);
// Errors: DATA_LOSS with reason ROW_DAMAGED or FORMAT_UNKNOWN.
absl::StatusOr<DocumentRow> ParseDocumentRow(absl::string_view key, absl::string_view value);

// The fingerprint stored in blocks, from the three of a document's row.
uint64_t CombinedFingerprint(absl::string_view model, absl::string_view tokenizer, absl::string_view profile);

// True for a valid name of a document, a tenant, or a tenant's collection: lower-case letters, digits and hyphens, 1 to
// 63, starting with a letter or digit, not ending with a hyphen.
bool IsValidName(absl::string_view name);

// True for a stored collection: a name, or "TENANT.NAME" of two names. What belongs to no tenant has no dot.
bool IsValidCollection(absl::string_view collection);
// The tenant of a stored collection; empty: none.
absl::string_view TenantOf(absl::string_view collection);

}  // namespace ilre
