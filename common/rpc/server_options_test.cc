#include "common/rpc/server_options.h"

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/test_matchers.h"
#include "common/rpc/listen_address.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

using ::testing::HasSubstr;

// A program with the flags, one of its own, and a subcommand that has them, too.
struct Program {
  CLI::App app{"test"};
  ServerOptions options;
  int cache_bytes = 1;
  bool fast = false;

  Program() {
    AddServerFlags(&app, &options);
    app.add_option("--cache-bytes", cache_bytes);
    app.add_flag("--fast", fast);
  }

  absl::Status Parse(std::vector<std::string> arguments) {
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
    try {
      app.parse(arguments);
    } catch (const CLI::Error& error) {
      return absl::InvalidArgumentError(error.what());
    }
    return FinishServerFlags(&app, options);
  }
};

std::string ConfigFile(const std::string& content) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/config.", getpid());
  EXPECT_THAT(WriteFileAtomically(path, content), IsOk());
  return path;
}

TEST(ServerOptionsTest, Flags) {
  Program program;
  ILRE_ASSERT_OK(program.Parse({"--listen", "[::1]:0", "--http-listen", "", "--max-running=3", "--drain-seconds", "0",
                                "--log-level", "warning", "--log-format", "json"}));
  EXPECT_EQ(program.options.listen, "[::1]:0");
  EXPECT_EQ(program.options.http_listen, "");
  EXPECT_EQ(program.options.max_running, 3);
  EXPECT_EQ(program.options.drain_seconds, 0);
  EXPECT_EQ(program.options.log_level, LogLevel::kWarning);
  EXPECT_EQ(program.options.log_format, LogFormat::kJson);
  EXPECT_EQ(program.options.max_waiting, 64);
}

TEST(ServerOptionsTest, HelpSaysWhatThereIs) {
  Program program;
  const std::string help = program.app.help();
  for (const char* text : {"--listen HOST:PORT", "127.0.0.1:50051", "--http-listen", "--tls-cert FILE", "--tls-key",
                           "--tls-client-ca", "--tokens-file", "--drain-seconds", "--max-running", "--max-waiting",
                           "--log-level", "debug|error|info|warning", "--log-format", "json|text", "--config FILE"}) {
    EXPECT_THAT(help, HasSubstr(text));
  }
}

TEST(ServerOptionsTest, WrongValuesAreRefused) {
  EXPECT_THAT(Program().Parse({"--listen", "nonsense"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("listen: 'nonsense' is not HOST:PORT")));
  for (const std::vector<std::string>& wrong : std::vector<std::vector<std::string>>{{"--max-running", "0"},
                                                                                     {"--max-waiting", "-1"},
                                                                                     {"--drain-seconds", "x"},
                                                                                     {"--log-level", "loud"},
                                                                                     {"--log-format", "xml"},
                                                                                     {"--tls-cert", "a"},
                                                                                     {"--tls-client-ca", "a"},
                                                                                     {"--http-listen", "1:2:3"},
                                                                                     {"--config", "/nonexistent"}}) {
    EXPECT_FALSE(Program().Parse(wrong).ok()) << wrong[0];
  }
}

TEST(ServerOptionsTest, AFileGivesWhatTheCommandLineDoesNot) {
  const std::string path = ConfigFile(
      "# a comment\nlisten = \"0.0.0.0:7000\"\nmax-waiting = 5\nlog-level = \"error\"\ncache-bytes = 99\nfast = "
      "true\n");
  Program program;
  ILRE_ASSERT_OK(program.Parse({"--config", path, "--max-waiting", "6"}));
  EXPECT_EQ(program.options.listen, "0.0.0.0:7000");
  EXPECT_EQ(program.options.max_waiting, 6);
  EXPECT_EQ(program.options.log_level, LogLevel::kError);
  EXPECT_EQ(program.cache_bytes, 99);
  EXPECT_TRUE(program.fast);
}

TEST(ServerOptionsTest, AFileForASubcommand) {
  CLI::App app{"test"};
  app.fallthrough();  // before commands, which take it over
  CLI::App* serve = app.add_subcommand("serve", "");
  ServerOptions options;
  AddServerFlags(serve, &options);
  std::string model, folder;  // of the program, for all its commands
  app.add_option("--model", model);
  app.add_option("--data-dir", folder);
  const std::string file = ConfigFile("max-running = 7\nmodel = \"m\"\ndata-dir = \"file\"\n");
  std::vector<std::string> arguments{"line", "--data-dir", file, "--config", "serve"};
  app.parse(arguments);
  ILRE_ASSERT_OK(FinishServerFlags(serve, options));
  EXPECT_EQ(options.max_running, 7);
  EXPECT_EQ(model, "m");
  EXPECT_EQ(folder, "line");
}

TEST(ServerOptionsTest, WrongFilesAreRefused) {
  for (const char* content :
       {"no-such-flag = 1\n", "max-running = 0\n", "max-running = \"x\"\n", "[section]\nlisten = 1\n",
        "config = \"x\"\n", "log-level = \"loud\"\n", "listen = \"x\"\n", "help = true\n"}) {
    EXPECT_THAT(Program().Parse({"--config", ConfigFile(content)}), StatusIs(absl::StatusCode::kInvalidArgument))
        << content;
  }
}

TEST(ServerOptionsTest, ListenAddresses) {
  EXPECT_EQ(ParseListenAddress("listen", "127.0.0.1:1")->ToString(), "127.0.0.1:1");
  EXPECT_EQ(ParseListenAddress("listen", "[::1]:65535")->ToString(), "[::1]:65535");
  EXPECT_EQ(ParseListenAddress("listen", ":0")->ToString(), "0.0.0.0:0");
  EXPECT_EQ(ParseListenAddress("listen", "localhost:80")->host, "localhost");
  for (const char* wrong : {"", "localhost", "localhost:", "localhost:x", "localhost:-1", "localhost:65536",
                            "localhost:+1", "::1:80", "[::1]", "[]:80", "a b:80", "http://a:80", "a:99999999999999"}) {
    EXPECT_THAT(ParseListenAddress("listen", wrong), StatusIs(absl::StatusCode::kInvalidArgument)) << wrong;
  }
}

}  // namespace
}  // namespace ilre
