// Options that all commands share, and where things are if they are not given.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ilre::cli {

struct Settings {
  std::string data_dir;  // empty: $ILRE_DATA_DIR, or ~/.local/share/ilre
  std::string model;     // empty: $ILRE_MODEL, or the model that scripts/setup put beside the program
  std::string profile;   // empty: $ILRE_PROFILE, or the shipped one that was made for the model
  std::string device = "cpu";
  std::string arithmetic = "auto";  // of answers: auto, float32 or quantized (decoder.h)
  std::string server;               // HOST:PORT of a running server; empty: this process does the work
  std::string server_ca;   // certificate authority of a server with TLS; "system": the machine's; empty: no TLS
  std::string token_file;  // bearer token for the server; empty: $ILRE_TOKEN
  int threads = 0;         // 0: one for each processor
};

absl::StatusOr<std::string> DataDirectory(const Settings& settings);
absl::StatusOr<std::string> ModelPath(const Settings& settings);
// `model_fingerprint` chooses among shipped profiles.
absl::StatusOr<std::string> ProfilePath(const Settings& settings, const std::string& model_fingerprint);

}  // namespace ilre::cli
