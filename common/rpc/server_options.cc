#include "common/rpc/server_options.h"

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/rpc/listen_address.h"

namespace ilre {
namespace {

constexpr char kConfigFlag[] = "--config";

const std::map<std::string, LogLevel>& LogLevels() {
  static const auto& levels = *new std::map<std::string, LogLevel>{{"debug", LogLevel::kDebug},
                                                                   {"info", LogLevel::kInfo},
                                                                   {"warning", LogLevel::kWarning},
                                                                   {"error", LogLevel::kError}};
  return levels;
}

const std::map<std::string, LogFormat>& LogFormats() {
  static const auto& formats =
      *new std::map<std::string, LogFormat>{{"text", LogFormat::kText}, {"json", LogFormat::kJson}};
  return formats;
}

// An option whose values have names, shown by name in --help.
template <typename Value>
void AddNamed(CLI::App* app, const std::string& flag, Value* value, const std::map<std::string, Value>& names,
              const std::string& help) {
  std::string present, all;
  for (const auto& [name, named] : names) {
    if (named == *value) present = name;
    absl::StrAppend(&all, all.empty() ? "" : "|", name);
  }
  app->add_option_function<std::string>(
         flag, [value, &names](const std::string& name) { *value = names.at(name); }, help)
      ->check([&names, all](const std::string& name) { return names.count(name) > 0 ? "" : "must be one of " + all; })
      ->type_name(all)
      ->default_str(present)
      ->group("Server");
}

absl::Status CheckRange(absl::string_view flag, int value, int least, int most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return errors::InvalidField(flag, absl::StrCat(value, " is not in ", least, "..", most));
}

absl::Status ApplyItem(CLI::App* app, const std::string& path, const CLI::ConfigItem& item) {
  const auto wrong = [&](absl::string_view why) {
    return errors::InvalidField("config", absl::StrCat(path, ": '", item.fullname(), "' ", why));
  };
  CLI::Option* option = nullptr;
  // A command's file may also say what belongs to the program (ilre serve: --data-dir and the like).
  for (CLI::App* at = item.parents.empty() ? app : nullptr; at != nullptr && option == nullptr; at = at->get_parent()) {
    option = at->get_option_no_throw("--" + item.name);
  }
  if (option == nullptr || option->get_name() == kConfigFlag || item.name == "help") return wrong("is no flag");
  if (option->count() > 0) return absl::OkStatus();  // the command line wins
  try {
    if (option->get_expected_max() == 0) {
      option->add_result(app->get_config_formatter()->to_flag(item));
    } else {
      option->add_result(item.inputs);
    }
    option->run_callback();
  } catch (const CLI::Error& error) {
    return wrong(error.what());
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ServerOptions::Validate() const {
  ILRE_RETURN_IF_ERROR(ParseListenAddress("listen", listen).status());
  if (!http_listen.empty()) ILRE_RETURN_IF_ERROR(ParseListenAddress("http-listen", http_listen).status());
  ILRE_RETURN_IF_ERROR(tls.Validate());
  ILRE_RETURN_IF_ERROR(CheckRange("drain-seconds", drain_seconds, 0, 24 * 3600));
  ILRE_RETURN_IF_ERROR(CheckRange("max-running", max_running, 1, 1024));
  ILRE_RETURN_IF_ERROR(CheckRange("max-waiting", max_waiting, 0, 1'000'000));
  ILRE_RETURN_IF_ERROR(CheckRange("max-message-bytes", max_message_bytes, 1 << 20, 1 << 30));
  ILRE_RETURN_IF_ERROR(CheckRange("max-streams-per-connection", max_streams_per_connection, 1, 100'000));
  return CheckRange("max-connection-minutes", max_connection_minutes, 1, 60 * 24);
}

void AddServerFlags(CLI::App* app, ServerOptions* options) {
  const auto add = [&](const std::string& flag, auto* value, const std::string& type, const std::string& help) {
    return app->add_option(flag, *value, help)->type_name(type)->capture_default_str()->group("Server");
  };
  add("--listen", &options->listen, "HOST:PORT", "Address for gRPC; port 0 takes a free one");
  add("--http-listen", &options->http_listen, "HOST:PORT", "Address for /metrics, /healthz and /readyz; empty: none");
  add("--tls-cert", &options->tls.cert, "FILE", "Certificate chain of the server, PEM; gRPC then speaks TLS only");
  add("--tls-key", &options->tls.key, "FILE", "Its private key, PEM");
  add("--tls-client-ca", &options->tls.client_ca, "FILE",
      "Clients must show a certificate of one of these authorities (mutual TLS)");
  add("--tokens-file", &options->tokens_file, "FILE",
      "Lines 'TENANT TOKEN': who may call, and whose documents are seen; without it everybody is one user");
  add("--drain-seconds", &options->drain_seconds, "N", "How long calls may go on after SIGTERM or SIGINT")
      ->check(CLI::Range(0, 24 * 3600));
  add("--max-running", &options->max_running, "N", "Calls of a kind that are worked on at once")
      ->check(CLI::Range(1, 1024));
  add("--max-waiting", &options->max_waiting, "N",
      "Calls of a kind that wait; more are refused with a time to try again")
      ->check(CLI::Range(0, 1'000'000));
  AddNamed(app, "--log-level", &options->log_level, LogLevels(), "What is logged to standard error");
  AddNamed(app, "--log-format", &options->log_format, LogFormats(), "One line an event");
  app->add_option(kConfigFlag, "Take flags from this file, as 'name = value' lines (TOML); the command line wins")
      ->type_name("FILE")
      ->check(CLI::ExistingFile)
      ->group("Server");
}

absl::Status FinishServerFlags(CLI::App* app, const ServerOptions& options) {
  const CLI::Option* config = app->get_option_no_throw(kConfigFlag);
  if (config != nullptr && config->count() > 0) {
    const std::string path = config->as<std::string>();
    std::vector<CLI::ConfigItem> items;
    try {
      items = app->get_config_formatter()->from_file(path);
    } catch (const CLI::Error& error) {
      return errors::InvalidField("config", absl::StrCat(path, ": ", error.what()));
    }
    for (const CLI::ConfigItem& item : items) {
      if (item.name == "++" || item.name == "--") continue;  // how it says that a section begins or ends
      ILRE_RETURN_IF_ERROR(ApplyItem(app, path, item));
    }
  }
  return options.Validate();
}

}  // namespace ilre
