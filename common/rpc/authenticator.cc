#include "common/rpc/authenticator.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/rpc/rpc_errors.h"

namespace ilre {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{4} << 20;
constexpr size_t kMaxTokenBytes = 512;
constexpr size_t kMaxTenantBytes = 63;

using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

Digest DigestOf(absl::string_view token) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest.data());
  return digest;
}

// As a collection's name: it becomes a part of one.
bool IsTenantName(absl::string_view name) {
  if (name.empty() || name.size() > kMaxTenantBytes || name.front() == '-' || name.back() == '-') return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-'; });
}

bool IsToken(absl::string_view token) {
  return !token.empty() && token.size() <= kMaxTokenBytes &&
         std::all_of(token.begin(), token.end(), [](char c) { return absl::ascii_isgraph(c); });
}

absl::Status BadTokensFile(absl::string_view path, absl::string_view why) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_TOKENS_FILE",
                   absl::StrCat("tokens file ", path, ": ", why));
}

}  // namespace

struct Authenticator::Tokens {
  struct Entry {
    Digest digest;
    std::string tenant;
  };
  std::vector<Entry> entries;

  // Errors name the line, never what stands in it.
  static absl::StatusOr<Tokens> Parse(const std::string& path, absl::string_view content) {
    Tokens tokens;
    int line_number = 0;
    for (absl::string_view line : absl::StrSplit(content, '\n')) {
      ++line_number;
      line = absl::StripAsciiWhitespace(line);
      if (line.empty() || line.front() == '#') continue;
      const std::vector<absl::string_view> words = absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
      if (words.size() != 2 || !IsTenantName(words[0]) || !IsToken(words[1])) {
        return BadTokensFile(path, absl::StrCat("line ", line_number, " is not 'TENANT TOKEN'"));
      }
      const Entry entry{DigestOf(words[1]), std::string(words[0])};
      for (const Entry& other : tokens.entries) {
        if (other.digest == entry.digest && other.tenant != entry.tenant) {
          return BadTokensFile(path, absl::StrCat("line ", line_number, " gives a token of another tenant"));
        }
      }
      tokens.entries.push_back(entry);
    }
    if (tokens.entries.empty()) return BadTokensFile(path, "it has no token");
    return tokens;
  }

  const std::string* Find(absl::string_view token) const {
    const Digest digest = DigestOf(token);
    const std::string* tenant = nullptr;
    for (const Entry& entry : entries) {  // all of them, so that the time says nothing
      if (CRYPTO_memcmp(entry.digest.data(), digest.data(), digest.size()) == 0) tenant = &entry.tenant;
    }
    return tenant;
  }
};

// Enough of a file's identity to see that it was replaced or written.
struct Authenticator::FileState {
  int error = 0;
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = 0;
  timespec modified{}, changed{};

  static FileState Of(const std::string& path) {
    FileState state;
    struct stat found;
    if (stat(path.c_str(), &found) != 0) {
      state.error = errno;
      return state;
    }
    state.device = found.st_dev;
    state.inode = found.st_ino;
    state.size = found.st_size;
    state.modified = found.st_mtim;
    state.changed = found.st_ctim;
    return state;
  }

  bool operator==(const FileState& other) const {
    const auto same = [](const timespec& a, const timespec& b) {
      return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
    };
    return error == other.error && device == other.device && inode == other.inode && size == other.size &&
           same(modified, other.modified) && same(changed, other.changed);
  }
};

Authenticator::Authenticator() = default;
Authenticator::~Authenticator() = default;

Authenticator::Authenticator(std::string tokens_file, Logger& log, absl::Duration recheck)
    : tokens_file_(std::move(tokens_file)), log_(&log), recheck_(recheck) {}

absl::StatusOr<std::unique_ptr<Authenticator>> Authenticator::Open(const std::string& tokens_file, Logger& log,
                                                                   absl::Duration recheck) {
  std::unique_ptr<Authenticator> authenticator(new Authenticator(tokens_file, log, recheck));
  std::lock_guard lock(authenticator->mutex_);
  authenticator->file_state_ = std::make_unique<FileState>(FileState::Of(tokens_file));
  ILRE_RETURN_IF_ERROR(authenticator->Load());
  return authenticator;
}

// Holds mutex_. The file's state is taken before it is read: a change in between is seen at the next look.
absl::Status Authenticator::Load() {
  ILRE_ASSIGN_OR_RETURN(const std::string content, ReadFile(tokens_file_, kMaxFileBytes));
  ILRE_ASSIGN_OR_RETURN(Tokens tokens, Tokens::Parse(tokens_file_, content));
  tokens_ = std::make_shared<const Tokens>(std::move(tokens));
  next_check_ = absl::Now() + recheck_;
  return absl::OkStatus();
}

std::shared_ptr<const Authenticator::Tokens> Authenticator::CurrentTokens() {
  std::lock_guard lock(mutex_);
  const absl::Time now = absl::Now();
  if (now < next_check_) return tokens_;
  next_check_ = now + recheck_;
  FileState state = FileState::Of(tokens_file_);
  if (state == *file_state_) return tokens_;
  *file_state_ = state;
  if (absl::Status status = Load(); !status.ok()) {
    log_->Log(LogLevel::kError, "tokens were not reloaded; the old ones stay in force",
              {{"reason", ErrorReason(status)}, {"error", std::string(status.message())}});
  } else {
    log_->Log(LogLevel::kInfo, "tokens reloaded", {{"tokens", static_cast<int64_t>(tokens_->entries.size())}});
  }
  return tokens_;
}

absl::StatusOr<std::string> Authenticator::Authenticate(absl::string_view authorization) {
  if (!HasTokens()) return std::string();
  constexpr size_t kSchemeBytes = 7;
  if (!absl::EqualsIgnoreCase(authorization.substr(0, kSchemeBytes), "Bearer ")) {
    return errors::Unauthenticated("this server wants 'authorization: Bearer TOKEN'");
  }
  const absl::string_view token = absl::StripAsciiWhitespace(authorization.substr(kSchemeBytes));
  const std::string* tenant = nullptr;
  const std::shared_ptr<const Tokens> tokens = CurrentTokens();
  if (token.size() <= kMaxTokenBytes) tenant = tokens->Find(token);
  if (tenant == nullptr) return errors::Unauthenticated("the bearer token is not known");
  return *tenant;
}

}  // namespace ilre
