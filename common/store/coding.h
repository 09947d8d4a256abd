// Integers and floats as bytes: little-endian in values, big-endian in keys (so that bytes sort as numbers do).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "absl/strings/string_view.h"

namespace ilre {

static_assert(std::endian::native == std::endian::little, "big-endian machines need byte swaps in this file");

template <typename T>
requires std::is_trivially_copyable_v<T>
void AppendLittle(std::string* out, T value) { out->append(reinterpret_cast<const char*>(&value), sizeof(T)); }

// Reads sizeof(T) bytes at `bytes`, which need no alignment.
template <typename T>
requires std::is_trivially_copyable_v<T> T LoadLittle(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

template <typename T>
requires std::is_unsigned_v<T>
void AppendBig(std::string* out, T value) {
  for (size_t i = sizeof(T); i-- > 0;) out->push_back(static_cast<char>(value >> (8 * i)));
}

template <typename T>
requires std::is_unsigned_v<T> T LoadBig(const char* bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value << 8 | static_cast<unsigned char>(bytes[i]));
  return value;
}

// Takes a record apart from its front. Every Read says whether there were enough bytes; after one that fails, all fail.
class ByteReader {
 public:
  explicit ByteReader(absl::string_view bytes) : rest_(bytes) {}

  template <typename T>
  bool Read(T* value) {
    absl::string_view bytes;
    if (!ReadBytes(sizeof(T), &bytes)) return false;
    *value = LoadLittle<T>(bytes.data());
    return true;
  }

  bool ReadBytes(uint64_t size, absl::string_view* bytes) {
    if (failed_ || size > rest_.size()) {
      failed_ = true;
      return false;
    }
    *bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  bool AtEnd() const { return !failed_ && rest_.empty(); }

 private:
  absl::string_view rest_;
  bool failed_ = false;
};

}  // namespace ilre
