#include "common/model/gguf_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/model/quoted.h"

namespace ilre {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is read by copying little-endian numbers");

constexpr absl::string_view kMagic = "GGUF";
constexpr uint64_t kMaxKeyBytes = 65535;          // the format's own limit
constexpr uint64_t kMaxTensorNameBytes = 256;     // the format's limit is 64, which writers have exceeded
constexpr uint32_t kMaxDimensions = 4;            // the format's own limit
constexpr uint64_t kMaxArrayElements = 1u << 24;  // of all arrays together; vocabulary and merges need some 10^6
constexpr int64_t kDefaultAlignment = 32;         // where general.alignment is absent
constexpr int64_t kMaxAlignment = 1 << 20;        // far above any page size in use
constexpr uint64_t kMinTensorEntryBytes = 8 + 4 + 8 + 4 + 8;  // an empty name, one dimension
constexpr uint64_t kMinValueEntryBytes = 8 + 4 + 1;           // an empty key, one byte of value

// Types of metadata values as they stand in the file.
enum class ValueType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// Bytes of a number; 0 for what is none.
uint64_t NumberBytes(ValueType type) {
  switch (type) {
    case ValueType::kUint8:
    case ValueType::kInt8:
    case ValueType::kBool:
      return 1;
    case ValueType::kUint16:
    case ValueType::kInt16:
      return 2;
    case ValueType::kUint32:
    case ValueType::kInt32:
    case ValueType::kFloat32:
      return 4;
    case ValueType::kUint64:
    case ValueType::kInt64:
    case ValueType::kFloat64:
      return 8;
    default:
      return 0;
  }
}

bool IsFloat(ValueType type) { return type == ValueType::kFloat32 || type == ValueType::kFloat64; }

template <typename T>
T Load(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

double LoadFloat(ValueType type, const char* from) {
  return type == ValueType::kFloat32 ? Load<float>(from) : Load<double>(from);
}

// False where the number does not fit, or a truth value is neither 0 nor 1.
bool LoadInteger(ValueType type, const char* from, int64_t* value) {
  switch (type) {
    case ValueType::kUint8:
      *value = Load<uint8_t>(from);
      return true;
    case ValueType::kInt8:
      *value = Load<int8_t>(from);
      return true;
    case ValueType::kUint16:
      *value = Load<uint16_t>(from);
      return true;
    case ValueType::kInt16:
      *value = Load<int16_t>(from);
      return true;
    case ValueType::kUint32:
      *value = Load<uint32_t>(from);
      return true;
    case ValueType::kInt32:
      *value = Load<int32_t>(from);
      return true;
    case ValueType::kBool:
      *value = Load<uint8_t>(from);
      return *value <= 1;
    default:  // kInt64, kUint64
      *value = Load<int64_t>(from);
      return type == ValueType::kInt64 || *value >= 0;
  }
}

}  // namespace

// Reads the file once from front to back: header, metadata, directory of tensors; then places the tensors' bytes.
class GgufParser {
 public:
  // Fills `file`, whose path is set, from `bytes`. Both must outlive this.
  GgufParser(GgufFile* file, absl::string_view bytes) : file_(file), bytes_(bytes) {}

  absl::Status Run() {
    ILRE_RETURN_IF_ERROR(ReadHeader());
    for (uint64_t i = 0; i < num_values_; ++i) ILRE_RETURN_IF_ERROR(ReadMetadataEntry());
    ILRE_RETURN_IF_ERROR(ReadAlignment());
    file_->tensors_.reserve(num_tensors_);
    offsets_.reserve(num_tensors_);
    for (uint64_t i = 0; i < num_tensors_; ++i) ILRE_RETURN_IF_ERROR(ReadTensorEntry());
    ILRE_RETURN_IF_ERROR(PlaceTensors());
    return CheckNoOverlap();
  }

 private:
  absl::Status Bad(absl::string_view why) const { return errors::BadModelFile(file_->path_, why); }
  absl::Status CutOff() const { return Bad(absl::StrCat("ends at byte ", bytes_.size(), ", inside ", where_)); }
  uint64_t remaining() const { return bytes_.size() - position_; }

  // The next `size` bytes.
  absl::StatusOr<absl::string_view> Take(uint64_t size) {
    if (size > remaining()) return CutOff();
    absl::string_view taken = bytes_.substr(position_, size);
    position_ += size;
    return taken;
  }

  template <typename T>
  absl::StatusOr<T> TakeNumber() {
    ILRE_ASSIGN_OR_RETURN(absl::string_view bytes, Take(sizeof(T)));
    return Load<T>(bytes.data());
  }

  absl::StatusOr<absl::string_view> TakeString() {
    ILRE_ASSIGN_OR_RETURN(uint64_t size, TakeNumber<uint64_t>());
    return Take(size);
  }

  absl::Status ReadHeader();
  absl::Status ReadMetadataEntry();
  absl::Status ReadAlignment();
  absl::Status ReadTensorEntry();
  absl::Status PlaceTensors();
  absl::Status CheckNoOverlap() const;

  absl::StatusOr<GgufValue> ReadValue(ValueType type);
  absl::StatusOr<GgufValue> ReadArray();
  absl::Status ReadStrings(uint64_t count, GgufValue* value);
  absl::Status ReadNumbers(ValueType type, uint64_t count, GgufValue* value);
  absl::StatusOr<int64_t> ReadShape(uint32_t num_dimensions, std::vector<int64_t>* shape);

  GgufFile* const file_;
  const absl::string_view bytes_;
  uint64_t position_ = 0;             // of the next unread byte
  std::string where_ = "its header";  // what is being read, for messages
  uint64_t num_values_ = 0;
  uint64_t num_tensors_ = 0;
  uint64_t num_array_elements_ = 0;  // so far, in all arrays
  int64_t alignment_ = kDefaultAlignment;
  std::vector<uint64_t> offsets_;  // of each tensor, from the start of the data
};

absl::Status GgufParser::ReadHeader() {
  if (bytes_.substr(0, kMagic.size()) != kMagic) return errors::NotAModel(file_->path_, "it does not begin with GGUF");
  position_ = kMagic.size();
  ILRE_ASSIGN_OR_RETURN(uint32_t version, TakeNumber<uint32_t>());
  if (version == 0x02000000 || version == 0x03000000) return Bad("is big-endian, which is not supported");
  if (version != 2 && version != 3) return Bad(absl::StrCat("has GGUF version ", version, "; 2 and 3 are supported"));
  ILRE_ASSIGN_OR_RETURN(num_tensors_, TakeNumber<uint64_t>());
  ILRE_ASSIGN_OR_RETURN(num_values_, TakeNumber<uint64_t>());
  // What cannot fit is refused before anything is reserved for it.
  if (num_values_ > remaining() / kMinValueEntryBytes || num_tensors_ > remaining() / kMinTensorEntryBytes) {
    return Bad(absl::StrCat("is too short for the ", num_values_, " values and ", num_tensors_,
                            " tensors that its header announces"));
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ReadMetadataEntry() {
  where_ = "its metadata";
  ILRE_ASSIGN_OR_RETURN(absl::string_view key, TakeString());
  where_ = absl::StrCat("metadata value ", Quoted(key));
  if (key.empty() || key.size() > kMaxKeyBytes) return Bad(absl::StrCat("a key of ", key.size(), " bytes"));
  ILRE_ASSIGN_OR_RETURN(uint32_t type, TakeNumber<uint32_t>());
  ILRE_ASSIGN_OR_RETURN(GgufValue value, ReadValue(static_cast<ValueType>(type)));
  if (!file_->values_.emplace(key, std::move(value)).second) return Bad(absl::StrCat(where_, " occurs twice"));
  return absl::OkStatus();
}

absl::StatusOr<GgufValue> GgufParser::ReadValue(ValueType type) {
  GgufValue value;
  if (type == ValueType::kArray) return ReadArray();
  if (type == ValueType::kString) {
    value.kind = GgufValue::Kind::kString;
    ILRE_ASSIGN_OR_RETURN(value.string, TakeString());
    return value;
  }
  const uint64_t size = NumberBytes(type);
  if (size == 0) return Bad(absl::StrCat(where_, " has unknown type ", static_cast<uint32_t>(type)));
  ILRE_ASSIGN_OR_RETURN(absl::string_view bytes, Take(size));
  if (IsFloat(type)) {
    value.kind = GgufValue::Kind::kFloat;
    value.real = LoadFloat(type, bytes.data());
    return value;
  }
  value.kind = type == ValueType::kBool ? GgufValue::Kind::kBool : GgufValue::Kind::kInteger;
  if (!LoadInteger(type, bytes.data(), &value.integer)) return Bad(absl::StrCat(where_, " is out of range"));
  return value;
}

absl::StatusOr<GgufValue> GgufParser::ReadArray() {
  ILRE_ASSIGN_OR_RETURN(uint32_t element_type, TakeNumber<uint32_t>());
  ILRE_ASSIGN_OR_RETURN(uint64_t count, TakeNumber<uint64_t>());
  const ValueType type = static_cast<ValueType>(element_type);
  const uint64_t min_bytes = type == ValueType::kString ? sizeof(uint64_t) : NumberBytes(type);
  if (min_bytes == 0) return Bad(absl::StrCat(where_, " is an array of unsupported type ", element_type));
  if (count > remaining() / min_bytes) return CutOff();
  if (count > kMaxArrayElements - num_array_elements_) {
    return Bad(absl::StrCat("its metadata arrays have more than ", kMaxArrayElements, " elements, by ", where_));
  }
  num_array_elements_ += count;
  GgufValue value;
  ILRE_RETURN_IF_ERROR(type == ValueType::kString ? ReadStrings(count, &value) : ReadNumbers(type, count, &value));
  return value;
}

absl::Status GgufParser::ReadStrings(uint64_t count, GgufValue* value) {
  value->kind = GgufValue::Kind::kStringArray;
  value->strings.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    ILRE_ASSIGN_OR_RETURN(absl::string_view element, TakeString());
    value->strings.push_back(element);
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ReadNumbers(ValueType type, uint64_t count, GgufValue* value) {
  const uint64_t size = NumberBytes(type);
  ILRE_ASSIGN_OR_RETURN(absl::string_view bytes, Take(count * size));
  if (IsFloat(type)) {
    value->kind = GgufValue::Kind::kFloatArray;
    value->reals.reserve(count);
    for (uint64_t i = 0; i < count; ++i) value->reals.push_back(LoadFloat(type, bytes.data() + i * size));
    return absl::OkStatus();
  }
  value->kind = type == ValueType::kBool ? GgufValue::Kind::kBoolArray : GgufValue::Kind::kIntegerArray;
  value->integers.resize(count);
  for (uint64_t i = 0; i < count; ++i) {
    if (!LoadInteger(type, bytes.data() + i * size, &value->integers[i])) {
      return Bad(absl::StrCat(where_, " is out of range at element ", i));
    }
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ReadAlignment() {
  const GgufValue* value = file_->FindValue("general.alignment");
  if (value == nullptr) return absl::OkStatus();
  const int64_t alignment = value->integer;
  if (value->kind != GgufValue::Kind::kInteger || alignment < 1 || alignment > kMaxAlignment ||
      !std::has_single_bit(static_cast<uint64_t>(alignment))) {
    return Bad(absl::StrCat("general.alignment is not a power of two of at most ", kMaxAlignment));
  }
  alignment_ = alignment;
  return absl::OkStatus();
}

absl::Status GgufParser::ReadTensorEntry() {
  where_ = "its directory of tensors";
  ILRE_ASSIGN_OR_RETURN(absl::string_view name, TakeString());
  where_ = absl::StrCat("the directory entry of tensor ", Quoted(name));
  if (name.empty() || name.size() > kMaxTensorNameBytes) {
    return Bad(absl::StrCat("a tensor has a name of ", name.size(), " bytes"));
  }
  GgufTensor tensor;
  tensor.name = std::string(name);
  ILRE_ASSIGN_OR_RETURN(uint32_t num_dimensions, TakeNumber<uint32_t>());
  ILRE_ASSIGN_OR_RETURN(int64_t num_elements, ReadShape(num_dimensions, &tensor.shape));
  ILRE_ASSIGN_OR_RETURN(uint32_t type, TakeNumber<uint32_t>());
  ILRE_ASSIGN_OR_RETURN(uint64_t offset, TakeNumber<uint64_t>());
  const GgmlTypeInfo* info = FindGgmlType(type);
  if (info == nullptr) {
    return Bad(absl::StrCat("tensor ", Quoted(name), " is of ", GgmlTypeName(type), ", which is not supported"));
  }
  tensor.type = static_cast<GgmlType>(type);
  if (tensor.shape.back() % info->block_elements != 0) {
    return Bad(absl::StrCat("tensor ", Quoted(name), " has rows of ", tensor.shape.back(), " elements, no multiple of ",
                            info->block_elements, " as ", info->name, " needs"));
  }
  const int64_t num_blocks = num_elements / info->block_elements;
  if (num_blocks > static_cast<int64_t>(bytes_.size()) / info->block_bytes) {
    return Bad(absl::StrCat("tensor ", Quoted(name), " is larger than the file"));
  }
  // The length is kept in the view until the start of the data is known.
  tensor.bytes = bytes_.substr(0, num_blocks * info->block_bytes);
  if (!file_->tensor_index_.emplace(name, file_->tensors_.size()).second) {
    return Bad(absl::StrCat("tensor ", Quoted(name), " occurs twice"));
  }
  file_->tensors_.push_back(std::move(tensor));
  offsets_.push_back(offset);
  return absl::OkStatus();
}

// Reads the dimensions, innermost first as the file has them, into `shape` outermost first. Returns their product.
absl::StatusOr<int64_t> GgufParser::ReadShape(uint32_t num_dimensions, std::vector<int64_t>* shape) {
  if (num_dimensions < 1 || num_dimensions > kMaxDimensions) {
    return Bad(absl::StrCat(where_, " has ", num_dimensions, " dimensions"));
  }
  int64_t num_elements = 1;
  for (uint32_t i = 0; i < num_dimensions; ++i) {
    ILRE_ASSIGN_OR_RETURN(int64_t size, TakeNumber<int64_t>());
    if (size < 1 || __builtin_mul_overflow(num_elements, size, &num_elements)) {
      return Bad(absl::StrCat(where_, " has an impossible size ", size, " in dimension ", i));
    }
    shape->push_back(size);
  }
  std::reverse(shape->begin(), shape->end());
  return num_elements;
}

// Gives each tensor its bytes, now that the start of the data (the end of the directory, aligned) is known.
absl::Status GgufParser::PlaceTensors() {
  if (num_tensors_ == 0) return absl::OkStatus();
  const uint64_t alignment = static_cast<uint64_t>(alignment_);
  const uint64_t data_begin = (position_ + alignment - 1) / alignment * alignment;
  const absl::string_view data = data_begin <= bytes_.size() ? bytes_.substr(data_begin) : absl::string_view();
  for (size_t i = 0; i < offsets_.size(); ++i) {
    GgufTensor& tensor = file_->tensors_[i];
    if (offsets_[i] % alignment != 0) {
      return Bad(absl::StrCat("tensor ", Quoted(tensor.name), " begins at offset ", offsets_[i],
                              ", which is not aligned to ", alignment));
    }
    if (offsets_[i] > data.size() || tensor.bytes.size() > data.size() - offsets_[i]) {
      return Bad(absl::StrCat("tensor ", Quoted(tensor.name), " of ", tensor.bytes.size(), " bytes at data offset ",
                              offsets_[i], " reaches beyond the file's end; the file is cut off"));
    }
    tensor.bytes = data.substr(offsets_[i], tensor.bytes.size());
  }
  return absl::OkStatus();
}

absl::Status GgufParser::CheckNoOverlap() const {
  std::vector<const GgufTensor*> by_place;
  by_place.reserve(file_->tensors_.size());
  for (const GgufTensor& tensor : file_->tensors_) by_place.push_back(&tensor);
  std::sort(by_place.begin(), by_place.end(),
            [](const GgufTensor* a, const GgufTensor* b) { return a->bytes.data() < b->bytes.data(); });
  for (size_t i = 1; i < by_place.size(); ++i) {
    const GgufTensor& before = *by_place[i - 1];
    if (before.bytes.data() + before.bytes.size() > by_place[i]->bytes.data()) {
      return Bad(absl::StrCat("tensors ", Quoted(before.name), " and ", Quoted(by_place[i]->name), " overlap"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const GgufFile>> GgufFile::Open(const std::string& path) {
  ILRE_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> mapped, MappedFile::Open(path));
  auto file = std::make_shared<GgufFile>();
  file->path_ = path;
  file->file_ = mapped;
  ILRE_RETURN_IF_ERROR(GgufParser(file.get(), mapped->bytes()).Run());
  return file;
}

absl::StatusOr<std::shared_ptr<const GgufFile>> GgufFile::Parse(std::string path, absl::string_view bytes) {
  auto file = std::make_shared<GgufFile>();
  file->path_ = std::move(path);
  ILRE_RETURN_IF_ERROR(GgufParser(file.get(), bytes).Run());
  return file;
}

const GgufValue* GgufFile::FindValue(absl::string_view key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

const GgufTensor* GgufFile::FindTensor(absl::string_view name) const {
  const auto it = tensor_index_.find(name);
  return it == tensor_index_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace ilre
