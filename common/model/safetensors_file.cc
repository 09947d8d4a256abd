#include "common/model/safetensors_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/model/bounded_json.h"
#include "common/model/quoted.h"

namespace ilre {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors numbers are read as they stand");

constexpr uint64_t kSizeBytes = 8;                 // of the header's length, the first thing in the file
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr size_t kMaxNameBytes = 1024;
constexpr size_t kMaxDimensions = 8;
constexpr JsonLimits kHeaderLimits = {.max_depth = 3, .max_values = 2'000'000};  // some 10 values for a tensor

struct DtypeSize {
  absl::string_view name;
  int64_t bytes;
};
constexpr DtypeSize kDtypes[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1},
                                 {"U16", 2},  {"I16", 2}, {"F16", 2}, {"BF16", 2},    {"U32", 4},     {"I32", 4},
                                 {"F32", 4},  {"U64", 8}, {"I64", 8}, {"F64", 8},     {"C64", 8}};

// 0 for an unknown dtype.
int64_t DtypeBytes(absl::string_view dtype) {
  for (const DtypeSize& known : kDtypes) {
    if (known.name == dtype) return known.bytes;
  }
  return 0;
}

// Whether `value` is an integer from 0 to the largest int64_t.
bool ToSize(const json& value, int64_t* size) {
  if (!value.is_number_unsigned()) return false;
  const uint64_t number = value.get<uint64_t>();
  if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return false;
  *size = static_cast<int64_t>(number);
  return true;
}

}  // namespace

// Header length, header, data: checked in this order.
class SafetensorsParser {
 public:
  // Fills `file`, whose path is set, from `bytes`. Both must outlive this.
  SafetensorsParser(SafetensorsFile* file, absl::string_view bytes) : file_(file), bytes_(bytes) {}

  absl::Status Run() {
    ILRE_RETURN_IF_ERROR(SplitHeader());
    ILRE_ASSIGN_OR_RETURN(const json header, ParseJsonObject(file_->path_, header_, kHeaderLimits));
    for (const auto& [name, entry] : header.items()) {
      ILRE_RETURN_IF_ERROR(name == "__metadata__" ? CheckMetadata(entry) : AddTensor(name, entry));
    }
    return CheckCoverage();
  }

 private:
  absl::Status Bad(absl::string_view why) const { return errors::BadModelFile(file_->path_, why); }
  absl::Status BadTensor(absl::string_view name, absl::string_view why) const {
    return Bad(absl::StrCat("tensor ", Quoted(name), " ", why));
  }

  absl::Status SplitHeader();
  absl::Status CheckMetadata(const json& entry) const;
  absl::Status AddTensor(const std::string& name, const json& entry);
  absl::StatusOr<int64_t> ReadShape(const SafetensorsTensor& tensor, const json& entry,
                                    std::vector<int64_t>* shape) const;
  absl::StatusOr<absl::string_view> ReadPlace(const SafetensorsTensor& tensor, const json& entry) const;
  absl::Status CheckCoverage();

  SafetensorsFile* const file_;
  const absl::string_view bytes_;
  absl::string_view header_;  // JSON
  absl::string_view data_;    // what offsets count in
};

absl::Status SafetensorsParser::SplitHeader() {
  // The header is an object, so that the ninth byte tells this format from others.
  if (bytes_.size() <= kSizeBytes || bytes_[kSizeBytes] != '{') {
    return errors::NotAModel(file_->path_, "it does not begin as a safetensors file");
  }
  uint64_t header_bytes;
  std::memcpy(&header_bytes, bytes_.data(), kSizeBytes);
  if (header_bytes > kMaxHeaderBytes || header_bytes > bytes_.size() - kSizeBytes) {
    return Bad(absl::StrCat("announces a header of ", header_bytes, " bytes; the file has ", bytes_.size(), " in all"));
  }
  header_ = bytes_.substr(kSizeBytes, header_bytes);
  data_ = bytes_.substr(kSizeBytes + header_bytes);
  return absl::OkStatus();
}

absl::Status SafetensorsParser::CheckMetadata(const json& entry) const {
  const bool good =
      entry.is_object() && std::all_of(entry.begin(), entry.end(), [](const json& value) { return value.is_string(); });
  return good ? absl::OkStatus() : Bad("__metadata__ is not an object of strings");
}

absl::Status SafetensorsParser::AddTensor(const std::string& name, const json& entry) {
  if (name.empty() || name.size() > kMaxNameBytes) {
    return Bad(absl::StrCat("a tensor has a name of ", name.size(), " bytes"));
  }
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets")) {
    return BadTensor(name, "is not described by dtype, shape and data_offsets");
  }
  SafetensorsTensor tensor;
  tensor.name = name;
  if (!entry["dtype"].is_string()) return BadTensor(name, "has a dtype that is no string");
  tensor.dtype = entry["dtype"].get<std::string>();
  const int64_t element_bytes = DtypeBytes(tensor.dtype);
  if (element_bytes == 0) return BadTensor(name, absl::StrCat("has unknown dtype ", Quoted(tensor.dtype)));
  ILRE_ASSIGN_OR_RETURN(int64_t num_elements, ReadShape(tensor, entry["shape"], &tensor.shape));
  ILRE_ASSIGN_OR_RETURN(tensor.bytes, ReadPlace(tensor, entry["data_offsets"]));
  int64_t expected_bytes;
  if (__builtin_mul_overflow(num_elements, element_bytes, &expected_bytes) ||
      expected_bytes != static_cast<int64_t>(tensor.bytes.size())) {
    return BadTensor(name, absl::StrCat("has ", tensor.bytes.size(), " bytes where its shape and dtype ", tensor.dtype,
                                        " need ", num_elements, " times ", element_bytes));
  }
  file_->tensors_.push_back(std::move(tensor));
  return absl::OkStatus();
}

// Returns the number of elements.
absl::StatusOr<int64_t> SafetensorsParser::ReadShape(const SafetensorsTensor& tensor, const json& entry,
                                                     std::vector<int64_t>* shape) const {
  if (!entry.is_array() || entry.size() > kMaxDimensions) return BadTensor(tensor.name, "has no usable shape");
  int64_t num_elements = 1;
  for (const json& element : entry) {
    int64_t size;
    if (!ToSize(element, &size) || __builtin_mul_overflow(num_elements, size, &num_elements)) {
      return BadTensor(tensor.name, "has an impossible shape");
    }
    shape->push_back(size);
  }
  return num_elements;
}

absl::StatusOr<absl::string_view> SafetensorsParser::ReadPlace(const SafetensorsTensor& tensor,
                                                               const json& entry) const {
  int64_t begin, end;
  if (!entry.is_array() || entry.size() != 2 || !ToSize(entry[0], &begin) || !ToSize(entry[1], &end) || begin > end) {
    return BadTensor(tensor.name, "has impossible data_offsets");
  }
  if (end > static_cast<int64_t>(data_.size())) {
    return BadTensor(tensor.name, absl::StrCat("ends at data byte ", end, ", beyond the file's end at ", data_.size(),
                                               "; the file is cut off"));
  }
  return data_.substr(begin, end - begin);
}

// Sorts the tensors by place and checks that they fill the data without gap or overlap, as the format demands.
absl::Status SafetensorsParser::CheckCoverage() {
  std::vector<SafetensorsTensor>& tensors = file_->tensors_;
  std::sort(tensors.begin(), tensors.end(), [](const SafetensorsTensor& a, const SafetensorsTensor& b) {
    return std::make_pair(a.bytes.data(), a.bytes.size()) < std::make_pair(b.bytes.data(), b.bytes.size());
  });
  const char* expected = data_.data();
  for (size_t i = 0; i < tensors.size(); ++i) {
    const absl::string_view bytes = tensors[i].bytes;
    if (bytes.data() != expected) {
      return BadTensor(tensors[i].name, bytes.data() < expected
                                            ? absl::StrCat("overlaps ", Quoted(tensors[i - 1].name))
                                            : absl::StrCat("leaves ", bytes.data() - expected, " unused bytes before"));
    }
    expected += bytes.size();
    file_->tensor_index_.emplace(tensors[i].name, i);
  }
  const int64_t unused = data_.data() + data_.size() - expected;
  if (unused > 0) return Bad(absl::StrCat("has ", unused, " bytes after its last tensor"));
  return absl::OkStatus();
}

absl::optional<GgmlType> ReadableType(absl::string_view dtype) {
  if (dtype == "F32") return GgmlType::kF32;
  if (dtype == "F16") return GgmlType::kF16;
  if (dtype == "BF16") return GgmlType::kBF16;
  return absl::nullopt;
}

absl::StatusOr<std::shared_ptr<const SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  ILRE_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> mapped, MappedFile::Open(path));
  auto file = std::make_shared<SafetensorsFile>();
  file->path_ = path;
  file->file_ = mapped;
  ILRE_RETURN_IF_ERROR(SafetensorsParser(file.get(), mapped->bytes()).Run());
  return file;
}

absl::StatusOr<std::shared_ptr<const SafetensorsFile>> SafetensorsFile::Parse(std::string path,
                                                                              absl::string_view bytes) {
  auto file = std::make_shared<SafetensorsFile>();
  file->path_ = std::move(path);
  ILRE_RETURN_IF_ERROR(SafetensorsParser(file.get(), bytes).Run());
  return file;
}

const SafetensorsTensor* SafetensorsFile::FindTensor(absl::string_view name) const {
  const auto it = tensor_index_.find(name);
  return it == tensor_index_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace ilre
