// Who asks: bearer tokens of a file, each belonging to a tenant.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/rpc/log.h"

namespace ilre {

// Thread-safe.
//
// The file has a line `TENANT TOKEN` for each token; a tenant may have several. Empty lines and lines that begin with #
// are skipped. Tenants are named like collections (1-63 lower-case letters, digits, hyphens); tokens have 1-512 visible
// ASCII characters. The file is read again when it changes, looked at by a call once a second at most. A file that is
// missing, broken or without any token then leaves the old tokens in force, and is logged.
class Authenticator {
 public:
  // Everybody is the one user, "".
  Authenticator();
  ~Authenticator();
  Authenticator(const Authenticator&) = delete;
  Authenticator& operator=(const Authenticator&) = delete;

  // Errors: NOT_FOUND and the like of the file; INVALID_ARGUMENT BAD_TOKENS_FILE naming the line, never a token.
  // `log` must outlive it. `recheck` is how long the file is trusted before it is looked at again.
  static absl::StatusOr<std::unique_ptr<Authenticator>> Open(const std::string& tokens_file, Logger& log,
                                                             absl::Duration recheck = absl::Seconds(1));

  bool HasTokens() const { return log_ != nullptr; }

  // The tenant whose token `authorization` ("Bearer TOKEN") carries, or UNAUTHENTICATED. Takes the same time whether a
  // token is nearly right, wrong, or another's: digests of equal length are compared, all of them.
  absl::StatusOr<std::string> Authenticate(absl::string_view authorization);

 private:
  struct Tokens;
  struct FileState;

  Authenticator(std::string tokens_file, Logger& log, absl::Duration recheck);
  absl::Status Load();
  std::shared_ptr<const Tokens> CurrentTokens();

  const std::string tokens_file_;
  Logger* const log_ = nullptr;
  const absl::Duration recheck_;
  std::mutex mutex_;
  std::shared_ptr<const Tokens> tokens_;   // guarded by mutex_
  std::unique_ptr<FileState> file_state_;  // guarded by mutex_; as of the last look
  absl::Time next_check_;                  // guarded by mutex_
};

}  // namespace ilre
