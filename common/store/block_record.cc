// The bytes of a block. Layout in docs/formats.md: fixed header, head formats, ids, offsets, segment bits, scales,
// vectors.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/store/coding.h"
#include "common/store/record_keys.h"
#include "common/store/record_seal.h"
#include "common/store/records.h"

namespace ilre {
namespace {

constexpr uint8_t kBlockVersion = 1;
constexpr uint8_t kBlockVersionWithPooled = 2;  // of blocks that have a pooled head
constexpr uint16_t kPooledBit = 0x100;          // of a head's type, in that version
constexpr char kDamaged[] = "BLOCK_DAMAGED";
constexpr uint32_t kMaxShortOffset = 0xFFFF;  // blocks with this much text or less store offsets in two bytes

absl::Status Invalid(absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_BLOCK", what);
}

absl::Status Damaged(absl::string_view what) { return DamagedRecord(kDamaged, what); }

size_t BitmapBytes(int num_tokens) { return (static_cast<size_t>(num_tokens) + 7) / 8; }

size_t ElementBytes(VectorType type) { return type == VectorType::kBf16 ? 2 : 1; }

size_t VectorBytes(const HeadFormat& head, int num_vectors) {
  return static_cast<size_t>(head.dim) * ElementBytes(head.type) * static_cast<size_t>(num_vectors);
}

size_t ScaleBytes(const HeadFormat& head, int num_vectors) {
  return head.type == VectorType::kInt8 ? sizeof(float) * static_cast<size_t>(num_vectors) : 0;
}

bool AnyPooled(const std::vector<HeadFormat>& heads) {
  return std::any_of(heads.begin(), heads.end(), [](const HeadFormat& head) { return head.pooled; });
}

int NumVectors(const BlockData& block, const HeadFormat& head) {
  return head.pooled ? CountParts(block.segment_starts, block.ids.size()) : static_cast<int>(block.ids.size());
}

bool IsKnownHead(const HeadFormat& head) {
  return head.dim >= 1 && head.dim <= kMaxHeadDim && (head.type == VectorType::kBf16 || head.type == VectorType::kInt8);
}

// The narrowest width that holds every id, so that one block has one encoding.
int IdBytes(uint32_t max_id) { return max_id <= 0xFFFF ? 2 : max_id <= 0xFFFFFF ? 3 : 4; }

int EndBytes(uint32_t text_bytes) { return text_bytes <= kMaxShortOffset ? 2 : 4; }

absl::Status ValidateTokens(const BlockData& block) {
  const size_t n = block.ids.size();
  if (n < 1 || n > kBlockTokens) return Invalid(absl::StrCat("a block of ", n, " tokens"));
  if (block.ends.size() != n) return Invalid(absl::StrCat(block.ends.size(), " offsets for ", n, " tokens"));
  if (block.segment_starts == nullptr) return Invalid("no segment starts");
  if (*std::min_element(block.ids.begin(), block.ids.end()) < 0) return Invalid("a negative token id");
  if (!std::is_sorted(block.ends.begin(), block.ends.end())) return Invalid("offsets that do not ascend");
  if (block.ends.back() > kMaxTextPerBlock) return Invalid(absl::StrCat("text of ", block.ends.back(), " bytes"));
  return absl::OkStatus();
}

absl::Status ValidateHeads(const BlockData& block) {
  const size_t heads = block.heads.size();
  if (heads > kMaxHeads) return Invalid(absl::StrCat(heads, " heads"));
  if (block.vectors.size() != heads) return Invalid(absl::StrCat("vectors of ", block.vectors.size(), " heads"));
  if (block.scales.size() != heads) return Invalid(absl::StrCat("scales of ", block.scales.size(), " heads"));
  for (size_t h = 0; h < heads; ++h) {
    const HeadFormat& head = block.heads[h];
    if (!IsKnownHead(head)) {
      return Invalid(absl::StrCat("head ", h, " of dimension ", head.dim, " and type ", static_cast<int>(head.type)));
    }
    const int n = NumVectors(block, head);
    if (block.vectors[h].size() != VectorBytes(head, n)) {
      return Invalid(absl::StrCat("head ", h, " has ", block.vectors[h].size(), " bytes of vectors"));
    }
    if (block.scales[h].size() * sizeof(float) != ScaleBytes(head, n)) {
      return Invalid(absl::StrCat("head ", h, " has ", block.scales[h].size(), " scales"));
    }
    for (float scale : block.scales[h]) {
      if (!std::isfinite(scale)) return Invalid(absl::StrCat("head ", h, " has a scale that is not finite"));
    }
  }
  return absl::OkStatus();
}

size_t EncodedSize(const BlockData& block) {
  const int n = static_cast<int>(block.ids.size());
  size_t size = 64 + block.heads.size() * 4 + static_cast<size_t>(n) * 8 + BitmapBytes(n);
  for (const HeadFormat& head : block.heads) {
    size += VectorBytes(head, NumVectors(block, head)) + ScaleBytes(head, NumVectors(block, head));
  }
  return size;
}

void AppendTokens(const BlockData& block, int id_bytes, int end_bytes, std::string* value) {
  for (int32_t id : block.ids) value->append(reinterpret_cast<const char*>(&id), static_cast<size_t>(id_bytes));
  for (uint32_t end : block.ends) value->append(reinterpret_cast<const char*>(&end), static_cast<size_t>(end_bytes));
  std::string bitmap(BitmapBytes(static_cast<int>(block.ids.size())), '\0');
  for (size_t t = 0; t < block.ids.size(); ++t) {
    if (block.segment_starts[t]) bitmap[t / 8] = static_cast<char>(bitmap[t / 8] | 1 << (t % 8));
  }
  value->append(bitmap);
}

}  // namespace

int CountParts(const bool* segment_starts, size_t n) {
  const auto starts = std::count(segment_starts, segment_starts + n, true);
  return static_cast<int>(starts) + (n > 0 && !segment_starts[0] ? 1 : 0);
}

absl::StatusOr<std::string> EncodeBlock(const BlockData& block) {
  ILRE_RETURN_IF_ERROR(ValidateTokens(block));
  ILRE_RETURN_IF_ERROR(ValidateHeads(block));
  const int id_bytes = IdBytes(static_cast<uint32_t>(*std::max_element(block.ids.begin(), block.ids.end())));
  const int end_bytes = EndBytes(block.ends.back());
  std::string value;
  value.reserve(EncodedSize(block));
  AppendLittle<uint8_t>(&value, AnyPooled(block.heads) ? kBlockVersionWithPooled : kBlockVersion);
  AppendLittle<uint8_t>(&value, static_cast<uint8_t>(id_bytes));
  AppendLittle<uint8_t>(&value, static_cast<uint8_t>(end_bytes));
  AppendLittle<uint8_t>(&value, static_cast<uint8_t>(block.heads.size()));
  AppendLittle<uint32_t>(&value, static_cast<uint32_t>(block.ids.size()));
  AppendLittle<uint64_t>(&value, block.fingerprint);
  AppendLittle<uint64_t>(&value, block.text_begin);
  for (const HeadFormat& head : block.heads) {
    AppendLittle<uint16_t>(&value, head.dim);
    AppendLittle<uint16_t>(&value, static_cast<uint16_t>(static_cast<int>(head.type) | (head.pooled ? kPooledBit : 0)));
  }
  AppendTokens(block, id_bytes, end_bytes, &value);
  for (absl::Span<const float> scales : block.scales) {
    value.append(reinterpret_cast<const char*>(scales.data()), scales.size() * sizeof(float));
  }
  for (absl::string_view vectors : block.vectors) value.append(vectors.data(), vectors.size());
  SealRecord(BlockKey(block.document_uid, block.block), &value);
  return value;
}

// Reads one block, part by part, each checked against what is left of the value.
class BlockParser {
 public:
  BlockParser(absl::string_view key, absl::string_view body, bool may_pool)
      : key_(key), reader_(body), may_pool_(may_pool) {}

  absl::StatusOr<BlockView> Parse() {
    ILRE_RETURN_IF_ERROR(ParseHeader());
    ILRE_RETURN_IF_ERROR(ParseHeads());
    ILRE_RETURN_IF_ERROR(ParseTokens());
    ILRE_RETURN_IF_ERROR(CheckBitmap());  // before parts are counted
    ILRE_RETURN_IF_ERROR(ParseVectors());
    if (!reader_.AtEnd()) return Damaged("bytes after its end");
    ILRE_RETURN_IF_ERROR(CheckIds());
    ILRE_RETURN_IF_ERROR(CheckOffsets());
    return std::move(view_);
  }

 private:
  absl::Status ParseHeader() {
    if (!ParseBlockwiseKey(key_, RecordClass::kBlock, &view_.document_uid_, &view_.block_)) {
      return Damaged("its key is not that of a block");
    }
    uint8_t id_bytes = 0, end_bytes = 0;
    uint32_t num_tokens = 0;
    if (!reader_.Read(&id_bytes) || !reader_.Read(&end_bytes) || !reader_.Read(&num_heads_) ||
        !reader_.Read(&num_tokens) || !reader_.Read(&view_.fingerprint_) || !reader_.Read(&view_.text_begin_)) {
      return Damaged("it ends within its header");
    }
    if (id_bytes < 2 || id_bytes > 4) return Damaged("an unknown width of ids");
    if (end_bytes != 2 && end_bytes != 4) return Damaged("an unknown width of offsets");
    if (num_tokens < 1 || num_tokens > kBlockTokens) return Damaged("an impossible number of tokens");
    if (num_heads_ > kMaxHeads) return Damaged("an impossible number of heads");
    view_.id_bytes_ = id_bytes;
    view_.end_bytes_ = end_bytes;
    view_.num_tokens_ = static_cast<int>(num_tokens);
    return absl::OkStatus();
  }

  absl::Status ParseHeads() {
    view_.heads_.resize(num_heads_);
    for (HeadFormat& head : view_.heads_) {
      uint16_t type = 0;
      if (!reader_.Read(&head.dim) || !reader_.Read(&type)) return Damaged("it ends within its head formats");
      head.pooled = may_pool_ && (type & kPooledBit) != 0;
      if (head.pooled) type &= static_cast<uint16_t>(~kPooledBit);
      head.type = static_cast<VectorType>(type);
      if (type > 0xFF || !IsKnownHead(head)) return Damaged("an unknown head format");
    }
    if (may_pool_ && !AnyPooled(view_.heads_)) return Damaged("of a version that it does not need");
    return absl::OkStatus();
  }

  absl::Status ParseTokens() {
    const auto n = static_cast<size_t>(view_.num_tokens_);
    if (!reader_.ReadBytes(n * static_cast<size_t>(view_.id_bytes_), &view_.ids_) ||
        !reader_.ReadBytes(n * static_cast<size_t>(view_.end_bytes_), &view_.ends_) ||
        !reader_.ReadBytes(BitmapBytes(view_.num_tokens_), &view_.segment_bitmap_)) {
      return Damaged("it ends within its tokens");
    }
    return absl::OkStatus();
  }

  absl::Status ParseVectors() {
    view_.scales_.resize(num_heads_);
    view_.vectors_.resize(num_heads_);
    for (size_t h = 0; h < num_heads_; ++h) {
      if (!reader_.ReadBytes(ScaleBytes(view_.heads_[h], view_.num_vectors(static_cast<int>(h))), &view_.scales_[h])) {
        return Damaged("it ends within its scales");
      }
    }
    for (size_t h = 0; h < num_heads_; ++h) {
      if (!reader_.ReadBytes(VectorBytes(view_.heads_[h], view_.num_vectors(static_cast<int>(h))),
                             &view_.vectors_[h])) {
        return Damaged("it ends within its vectors");
      }
    }
    return CheckScales();
  }

  absl::Status CheckScales() const {
    for (const absl::string_view scales : view_.scales_) {
      for (size_t at = 0; at < scales.size(); at += sizeof(float)) {
        if (!std::isfinite(LoadLittle<float>(scales.data() + at))) return Damaged("a scale that is not finite");
      }
    }
    return absl::OkStatus();
  }

  // Ids of two bytes are right whatever they are; of wider ones, one must need the width.
  absl::Status CheckIds() const {
    if (view_.id_bytes_ == 2) return absl::OkStatus();
    uint32_t all_bits = 0;  // has the highest bit of the greatest id, which is what decides the width
    for (int t = 0; t < view_.num_tokens_; ++t) all_bits |= static_cast<uint32_t>(view_.id(t));
    if (all_bits > INT32_MAX) return Damaged("a negative token id");
    if (IdBytes(all_bits) != view_.id_bytes_) return Damaged("ids wider than they need");
    return absl::OkStatus();
  }

  absl::Status CheckOffsets() const {
    const bool ascend = view_.end_bytes_ == 2 ? Ascend<uint16_t>(view_.ends_) : Ascend<uint32_t>(view_.ends_);
    if (!ascend) return Damaged("offsets that do not ascend");
    if (view_.text_bytes() > kMaxTextPerBlock) return Damaged("too much text");
    if (EndBytes(view_.text_bytes()) != view_.end_bytes_) return Damaged("offsets wider than they need");
    return absl::OkStatus();
  }

  // Without a branch or an unaligned load in the loop, so that the compiler makes SIMD of it: every read pays for this.
  template <typename T>
  static bool Ascend(absl::string_view bytes) {
    T ends[kBlockTokens];
    std::memcpy(ends, bytes.data(), bytes.size());
    unsigned descents = 0;
    for (size_t t = 1; t < bytes.size() / sizeof(T); ++t) descents += ends[t] < ends[t - 1];
    return descents == 0;
  }

  absl::Status CheckBitmap() const {
    const int spare_bits = view_.num_tokens_ % 8;
    if (spare_bits == 0) return absl::OkStatus();
    const auto last = static_cast<unsigned char>(view_.segment_bitmap_.back());
    return last >> spare_bits == 0 ? absl::OkStatus() : Damaged("segment starts after the last token");
  }

  absl::string_view key_;
  ByteReader reader_;
  BlockView view_;
  uint8_t num_heads_ = 0;
  bool may_pool_ = false;
};

absl::StatusOr<BlockView> BlockView::Parse(absl::string_view key, absl::string_view value) {
  const bool may_pool = value.empty() || static_cast<uint8_t>(value[0]) != kBlockVersion;
  ILRE_ASSIGN_OR_RETURN(absl::string_view body,
                        OpenSealedRecord(key, value, may_pool ? kBlockVersionWithPooled : kBlockVersion, kDamaged));
  ILRE_ASSIGN_OR_RETURN(BlockView view, BlockParser(key, body, may_pool).Parse());
  view.value_ = value;
  return view;
}

BlockView BlockView::OnCopy(absl::string_view copy) const {
  BlockView view = *this;
  const auto move = [&](absl::string_view* part) {
    if (part->empty()) return;
    *part = copy.substr(static_cast<size_t>(part->data() - value_.data()), part->size());
  };
  for (absl::string_view* part : {&view.ids_, &view.ends_, &view.segment_bitmap_}) move(part);
  for (absl::string_view& part : view.vectors_) move(&part);
  for (absl::string_view& part : view.scales_) move(&part);
  view.value_ = copy;
  return view;
}

int32_t BlockView::id(int token) const {
  const char* bytes = ids_.data() + static_cast<size_t>(token) * static_cast<size_t>(id_bytes_);
  if (id_bytes_ == 2) return LoadLittle<uint16_t>(bytes);
  if (id_bytes_ == 3) return LoadLittle<uint16_t>(bytes) | LoadLittle<uint8_t>(bytes + 2) << 16;
  return LoadLittle<int32_t>(bytes);
}

uint32_t BlockView::token_end(int token) const {
  const char* bytes = ends_.data() + static_cast<size_t>(token) * static_cast<size_t>(end_bytes_);
  return end_bytes_ == 2 ? LoadLittle<uint16_t>(bytes) : LoadLittle<uint32_t>(bytes);
}

bool BlockView::starts_segment(int token) const {
  return (static_cast<unsigned char>(segment_bitmap_[static_cast<size_t>(token) / 8]) >> (token % 8) & 1) != 0;
}

int BlockView::num_parts() const {
  int parts = starts_segment(0) ? 0 : 1;
  for (const char bits : segment_bitmap_) parts += std::popcount(static_cast<unsigned char>(bits));
  return parts;
}

float BlockView::scale(int head, int vector) const {
  return LoadLittle<float>(scales_[static_cast<size_t>(head)].data() + static_cast<size_t>(vector) * sizeof(float));
}

}  // namespace ilre
