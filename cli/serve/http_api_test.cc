#include "cli/serve/http_api.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "cli/serve/http_call.h"
#include "cli/serve/http_stream.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/test_matchers.h"
#include "common/rpc/bounded_http.h"
#include "generator_service/retrieval_source.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "httplib.h"
#include "nlohmann/json.hpp"
#include "tests/engine/tiny_engine.h"

namespace ilre::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

constexpr char kDocument[] = "/v1/collections/c/documents/d";
constexpr auto kPatience = absl::Seconds(120);

class LocalRetrieval : public RetrievalSource {
 public:
  explicit LocalRetrieval(RetrieverHandler& handler) : handler_(handler) {}
  absl::Status Retrieve(const CallContext& context, const v1::RetrieveRequest& request,
                        v1::RetrieveResponse* response) override {
    return handler_.Retrieve(context, request, response);
  }

 private:
  RetrieverHandler& handler_;
};

// Whether `is_true` becomes true.
bool Eventually(const std::function<bool()>& is_true) {
  for (const absl::Time end = absl::Now() + kPatience; absl::Now() < end; absl::SleepFor(absl::Milliseconds(10))) {
    if (is_true()) return true;
  }
  return false;
}

std::string TemporaryFolder() {
  std::string folder = ::testing::TempDir() + "/ilre-http-XXXXXX";
  return ::mkdtemp(folder.data());
}

// A connection to the server on which `bytes` have been sent.
int SendTo(int port, const std::string& bytes) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(static_cast<uint16_t>(port))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = ::send(socket, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    EXPECT_GT(n, 0);
    if (n <= 0) break;
    sent += static_cast<size_t>(n);
  }
  return socket;
}

// The real handlers over a tiny model, behind a real server.
class HttpApiTest : public ::testing::Test {
 protected:
  void SetUp() override { Start(""); }

  void Start(const std::string& tokens, const std::string& listen_host = "127.0.0.1") {
    folder_ = TemporaryFolder();
    store_ = *OpenKeyStore(folder_ + "/data", {});
    authenticator_ = std::make_unique<Authenticator>();
    if (!tokens.empty()) {
      ILRE_ASSERT_OK(WriteFileAtomically(folder_ + "/tokens", tokens));
      authenticator_ = *Authenticator::Open(folder_ + "/tokens", log_);
    }
    encoder_ = std::make_unique<EncoderHandler>(*store_, engine_.model(), EncoderLimits{.commit_blocks = 2});
    retriever_ = std::make_unique<RetrieverHandler>(engine_.model(), *store_);
    source_ = std::make_unique<LocalRetrieval>(*retriever_);
    generator_ = std::make_unique<BatchGenerator>(engine_.decoder(), engine_.tokenizer(), BatchOptions());
    answers_ = std::make_unique<GeneratorHandler>(*source_, *generator_, engine_.tokenizer(),
                                                  *MakeChatTemplate(engine_.tokenizer()));
    executor_ = std::make_unique<Executor>(ExecutorOptions{.num_threads = 4});
    parts_ = std::make_unique<ServerParts>(ServerParts{*authenticator_, metrics_, log_, state_});
    api_ = std::make_unique<HttpApi>(
        HttpApiParts{*encoder_, *retriever_, *answers_, *executor_, *executor_, *executor_, *executor_, *parts_},
        HttpApiOptions{.listen_host = listen_host});
    server_ = std::make_unique<BoundedHttpServer>(8);
    api_->Mount(*server_);
    port_ = server_->bind_to_any_port("127.0.0.1");
    ASSERT_GT(port_, 0);
    thread_ = std::thread([this] { server_->listen_after_bind(); });
    ASSERT_TRUE(Eventually([this] { return server_->is_running(); }));
  }

  void TearDown() override { Stop(); }

  void Stop() {
    if (!thread_.joinable()) return;
    server_->stop();
    thread_.join();
    executor_->Drain();
    std::filesystem::remove_all(folder_);
  }

  httplib::Client Client() const {
    httplib::Client client("127.0.0.1", port_);
    client.set_read_timeout(120);
    return client;
  }

  // -> the answer's body, which must have that status.
  Json Call(const char* method, const std::string& path, const std::string& body = "", int status = 200,
            const httplib::Headers& headers = {}) {
    httplib::Client client = Client();
    const httplib::Result result = std::string(method) == "GET" ? client.Get(path, headers)
                                   : std::string(method) == "DELETE"
                                       ? client.Delete(path, headers)
                                       : client.Post(path, headers, body, "application/json");
    EXPECT_TRUE(result) << method << " " << path << ": " << httplib::to_string(result.error());
    if (!result) return Json();
    EXPECT_EQ(result->status, status) << method << " " << path << ": " << result->body;
    EXPECT_EQ(result->get_header_value("X-Content-Type-Options"), "nosniff");
    EXPECT_EQ(result->get_header_value("Connection"), "close");
    return Json::parse(result->body, nullptr, false);
  }

  // The reason of an error.
  static std::string ReasonOf(const Json& error) {
    for (const Json& detail : error.value("details", Json::array())) {
      if (detail.value("@type", "") == "type.googleapis.com/google.rpc.ErrorInfo") return detail.value("reason", "");
    }
    return "";
  }

  // Whether a call has ended so.
  bool HasCounted(const std::string& method, const std::string& code) const {
    const std::string text = metrics_.Text();
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      if (absl::StartsWith(line, "ilre_requests_total{") && absl::StrContains(line, '"' + method + '"') &&
          absl::StrContains(line, '"' + code + '"')) {
        return true;
      }
    }
    return false;
  }

  std::string Ingest(const std::string& text, const std::string& path = kDocument) {
    return Call("POST", path + ":ingest", text).value("/document/state"_json_pointer, "");
  }

  TinyEngine engine_;
  std::string folder_;
  ServiceMetrics metrics_;
  Logger log_{LogLevel::kError};
  ServerState state_;
  std::unique_ptr<KeyStore> store_;
  std::unique_ptr<Authenticator> authenticator_;
  std::unique_ptr<EncoderHandler> encoder_;
  std::unique_ptr<RetrieverHandler> retriever_;
  std::unique_ptr<RetrievalSource> source_;
  std::unique_ptr<BatchGenerator> generator_;
  std::unique_ptr<GeneratorHandler> answers_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<ServerParts> parts_;
  std::unique_ptr<HttpApi> api_;
  std::unique_ptr<httplib::Server> server_;
  std::thread thread_;
  int port_ = 0;
};

TEST_F(HttpApiTest, FromADocumentToItsAnswer) {
  Random random(1);
  const std::string text = MadeUpText(&random, 200000);
  ASSERT_EQ(Ingest(text), "READY");
  const Json document = Call("GET", kDocument);
  EXPECT_EQ(document["name"], "collections/c/documents/d");
  EXPECT_EQ(document["committedBytes"], absl::StrCat(text.size()));
  EXPECT_EQ(Call("GET", std::string(kDocument) + ":status")["document"], document);
  EXPECT_EQ(Call("GET", "/v1/collections/-/documents?page_size=10")["documents"], Json::array({document}));
  // What is stored is what the engine stores of the same text.
  ILRE_ASSERT_OK(IngestWhole(*store_, engine_.model(), "c", "again", text));
  DocumentContent sent = *ReadContent(*store_, "c", "d"), whole = *ReadContent(*store_, "c", "again");
  EXPECT_EQ(sent.text, text);
  EXPECT_EQ(sent.blocks, whole.blocks);

  const std::string question = R"({"names":["collections/c/documents/d"],"question":"the harbour?","budget":100})";
  const Json spans = Call("POST", "/v1/documents:retrieve", question);
  ASSERT_FALSE(spans["spans"].empty());
  const Json& span = spans["spans"][0];
  const Json piece = Call("POST", std::string(kDocument) + ":text",
                          Json({{"byteBegin", span.value("byteBegin", "0")}, {"byteCount", 64}}).dump());
  EXPECT_EQ(piece["documentBytes"], absl::StrCat(text.size()));
  const Json scores = Call("POST", "/v1/documents:score",
                           R"({"name":"collections/c/documents/d","question":"the harbour?","partCount":16})");
  ASSERT_EQ(scores["parts"].size(), 16u);
  EXPECT_EQ(scores["parts"][15]["byteEnd"], absl::StrCat(text.size()));

  httplib::Client client = Client();
  const auto answer = client.Post("/v1/documents:generate",
                                  R"({"names":["collections/c/documents/d"],"question":"the harbour?","budget":100,)"
                                  R"("maxTokens":5})",
                                  "application/json");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200) << answer->body;
  EXPECT_EQ(answer->get_header_value("Content-Type"), "application/x-ndjson");
  const std::vector<std::string> lines = absl::StrSplit(answer->body, '\n', absl::SkipEmpty());
  ASSERT_GE(lines.size(), 2u);
  EXPECT_EQ(Json::parse(lines.front())["recall"]["spans"], spans["spans"]);
  EXPECT_EQ(Json::parse(lines.back())["finish"]["answerTokens"], "5");
  EXPECT_THAT(metrics_.Text(),
              AllOf(HasSubstr("ilre.v1.Generator/Generate"), HasSubstr("ilre.v1.Encoder/IngestDocument")));

  EXPECT_EQ(Call("DELETE", kDocument), Json::object());
  EXPECT_EQ(ReasonOf(Call("GET", kDocument, "", 404)), "DOCUMENT_NOT_FOUND");
  EXPECT_EQ(Call("DELETE", std::string(kDocument) + "?allow_missing", ""), Json::object());
}

TEST_F(HttpApiTest, UploadsInPartsGoOnWhereTheyWere) {
  Random random(2);
  const std::string text = MadeUpText(&random, 30000);
  const std::string url = std::string(kDocument) + ":ingest";
  EXPECT_EQ(Call("POST", url + "?finish=false", text.substr(0, 10001))["document"]["state"], "INGESTING");
  const Json gap = Call("POST", url + "?offset=20000", text.substr(20000), 400);
  EXPECT_EQ(ReasonOf(gap), "OFFSET_GAP");
  EXPECT_EQ(Call("POST", url + "?offset=10001", text.substr(10001))["document"]["state"], "READY");
  EXPECT_EQ(ReadContent(*store_, "c", "d")->text, text);
  EXPECT_EQ(ReasonOf(Call("POST", url, "other text", 409)), "CONTENT_DIFFERS");
  EXPECT_EQ(Call("POST", url + "?replace", "other text")["document"]["committedBytes"], "10");
  EXPECT_EQ(Call("POST", url + "?append=true&offset=10", " and more")["document"]["committedBytes"], "19");
  EXPECT_EQ(ReadContent(*store_, "c", "d")->text, "other text and more");
  EXPECT_EQ(ReasonOf(Call("POST", url + "?replace", "a\xFF z", 400)), "NOT_UTF8");
  EXPECT_EQ(Call("POST", "/v1/collections/c/documents/e:ingest?expire_time=2999-01-01T00:00:00Z",
                 "x")["document"]["expireTime"],
            "2999-01-01T00:00:00Z");
}

TEST_F(HttpApiTest, AnUploadThatBreaksOffLeavesWhatCameAndCanGoOn) {
  Random random(3);
  const std::string text = MadeUpText(&random, 300000);
  ::close(SendTo(port_, absl::StrCat("POST ", kDocument, ":ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: ",
                                     text.size(), "\r\n\r\n", text.substr(0, 150000))));
  ASSERT_TRUE(Eventually([&] {
    const auto row = store_->GetDocument("c", "d");
    return row.ok() && row->committed_bytes >= 140000 && encoder_->num_ingests() == 0;
  }));
  const std::string offset = Call("GET", std::string(kDocument) + ":status")["committedBytes"];
  EXPECT_EQ(Call("POST", absl::StrCat(kDocument, ":ingest?offset=", offset), text.substr(std::stoul(offset)))
                .value("/document/state"_json_pointer, ""),
            "READY");
  EXPECT_EQ(ReadContent(*store_, "c", "d")->text, text);
}

TEST_F(HttpApiTest, AQuestionWhoseClientHasGoneIsNotWorkedOn) {
  ASSERT_EQ(Ingest("some text"), "READY");
  absl::Notification go_on;
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(executor_->TrySubmit("", [&] { go_on.WaitForNotification(); }));
  const std::string question = R"({"names":["collections/c/documents/d"],"question":"the harbour?"})";
  for (const char* method : {"retrieve", "generate"}) {
    ::close(SendTo(port_, absl::StrCat("POST /v1/documents:", method, " HTTP/1.1\r\nHost: localhost\r\n",
                                       "Content-Length: ", question.size(), "\r\n\r\n", question)));
  }
  // Both are over while all threads are busy with something else.
  EXPECT_TRUE(Eventually([&] { return HasCounted("ilre.v1.Retriever/Retrieve", "CANCELLED"); }));
  EXPECT_TRUE(Eventually([&] { return HasCounted("ilre.v1.Generator/Generate", "CANCELLED"); }));
  EXPECT_EQ(executor_->waiting(), 2);
  go_on.Notify();
  EXPECT_TRUE(Eventually([&] { return executor_->running() + executor_->waiting() == 0; }));
  EXPECT_FALSE(HasCounted("ilre.v1.Retriever/Retrieve", "OK"));
  EXPECT_EQ(generator_->stats().steps, 0) << "the model ran for nobody";
}

TEST_F(HttpApiTest, EveryWrongRequestSaysWhatIsWrong) {
  ASSERT_EQ(Ingest("some text"), "READY");
  const std::string doc = kDocument;
  const auto reason = [&](const char* method, const std::string& path, const std::string& body, int status) {
    const Json error = Call(method, path, body, status);
    EXPECT_FALSE(error.value("message", "").empty()) << path;
    return ReasonOf(error);
  };
  EXPECT_EQ(reason("POST", "/v1/documents:retrieve", "{", 400), "BAD_JSON");
  EXPECT_EQ(reason("POST", "/v1/documents:retrieve", R"({"fly":1})", 400), "BAD_JSON");
  EXPECT_EQ(reason("POST", "/v1/documents:generate", R"({"question":7})", 400), "BAD_JSON");
  EXPECT_EQ(reason("POST", "/v1/documents:retrieve", std::string(5 << 20, ' '), 400), "REQUEST_TOO_LARGE");
  EXPECT_EQ(reason("POST", "/v1/documents:retrieve", std::string(5000, '['), 400), "BAD_JSON");
  EXPECT_EQ(reason("POST", "/v1/documents:fly", "{}", 404), "NO_SUCH_METHOD");
  EXPECT_EQ(reason("POST", "/fly", std::string(1 << 20, 'x'), 404), "NO_SUCH_METHOD");
  EXPECT_EQ(reason("GET", "/v1/fly", "", 404), "NO_SUCH_METHOD");
  EXPECT_EQ(reason("DELETE", "/v1/documents:retrieve", "", 404), "NO_SUCH_METHOD");
  for (const char* path :
       {"/v1/collections/c/documents?page_size=x", "/v1/collections/c/documents?page_size=-1",
        "/v1/collections/c/documents?page_size=99999999999", "/v1/collections/c/documents?fly=1",
        "/v1/collections/C!/documents", "/v1/collections/c/documents/..", "/v1/collections/c/documents/%00",
        "/v1/collections/c/documents/d?x=1", "/v1/collections/c/documents?page_size=1&page_size=2"}) {
    EXPECT_THAT(reason("GET", path, "", 400), Not("")) << path;
  }
  for (const char* query : {"?offset=x", "?offset=-1", "?replace=maybe", "?expire_time=never", "?fly",
                            "?expire_time=1999-01-01T00:00:00Z"}) {
    EXPECT_THAT(reason("POST", doc + ":ingest" + query, "some text", 400), Not("")) << query;
  }
  EXPECT_EQ(reason("POST", "/v1/collections/c/documents/new:ingest", "", 400), "EMPTY_DOCUMENT");
  EXPECT_EQ(reason("POST", doc + ":text", R"({"byteBegin":"999"})", 400), "OFFSET_BEHIND_END");
  EXPECT_EQ(
      reason("POST", "/v1/documents:generate", R"({"names":["collections/c/documents/none"],"question":"q"})", 404),
      "DOCUMENT_NOT_FOUND");
  // Of the longest length that the server takes: no stack overflows.
  for (const char c : {'a', '/', ':', '%'}) {
    httplib::Client client = Client();
    const auto result = client.Get("/v1/collections/c/documents/" + std::string(8000, c));
    ASSERT_TRUE(result) << c;
    EXPECT_GE(result->status, 400) << c;
  }
  httplib::Client client = Client();
  const auto form = client.Post(doc + ":ingest", httplib::MultipartFormDataItems{{"f", "text", "f.txt", "text/plain"}});
  ASSERT_TRUE(form);
  EXPECT_EQ(form->status, 400);
  EXPECT_EQ(ReasonOf(Json::parse(form->body)), "BAD_CONTENT_TYPE");
}

TEST_F(HttpApiTest, OtherSitesAndOtherNamesAreKeptOut) {
  const auto status = [&](const httplib::Headers& headers, const std::string& path) {
    httplib::Client client = Client();
    const auto result = client.Get(path, headers);
    return result ? result->status : -1;
  };
  const std::string list = "/v1/collections/-/documents", host = absl::StrCat("localhost:", port_);
  EXPECT_EQ(status({{"Host", host}}, list), 200);
  EXPECT_EQ(status({{"Host", "[::1]:1"}}, list), 200);
  EXPECT_EQ(status({{"Host", host}, {"Origin", "http://" + host}, {"Sec-Fetch-Site", "same-origin"}}, list), 200);
  for (const httplib::Headers& headers :
       std::vector<httplib::Headers>{{{"Host", "evil.example"}},
                                     {{"Host", "127.0.0.1.evil.example"}},
                                     {{"Host", ""}},
                                     {{"Host", host}, {"Origin", "http://evil.example"}},
                                     {{"Host", host}, {"Origin", "null"}},
                                     {{"Host", host}, {"Sec-Fetch-Site", "cross-site"}},
                                     {{"Host", host}, {"Sec-Fetch-Site", "same-site"}}}) {
    EXPECT_EQ(status(headers, list), 403);
  }
  EXPECT_EQ(status({{"Host", host}}, "/"), 200);
  EXPECT_EQ(status({{"Host", host}, {"Sec-Fetch-Site", "cross-site"}}, "/"), 200) << "a link to the page is fine";
  EXPECT_EQ(status({{"Host", "evil.example"}}, "/"), 403);
  Stop();
  Start("", "0.0.0.0");
  EXPECT_EQ(status({{"Host", "ilre.example"}}, list), 200);
  EXPECT_EQ(status({{"Host", "ilre.example"}, {"Origin", "http://evil.example"}}, list), 403);
}

TEST_F(HttpApiTest, TokensSayWhoseDocumentsAreSeen) {
  Stop();
  Start("alice alices-token\nbob bobs-token\n");
  const auto as = [](const std::string& token) { return httplib::Headers{{"Authorization", "Bearer " + token}}; };
  const std::string list = "/v1/collections/-/documents";
  EXPECT_EQ(ReasonOf(Call("GET", list, "", 401)), "UNAUTHENTICATED");
  EXPECT_EQ(ReasonOf(Call("GET", list, "", 401, as("alices-toker"))), "UNAUTHENTICATED");
  EXPECT_EQ(ReasonOf(Call("POST", std::string(kDocument) + ":ingest", std::string(3 << 20, 'x'), 401)),
            "UNAUTHENTICATED");
  EXPECT_EQ(ReasonOf(Call("POST", "/v1/documents:generate", "{", 401)), "UNAUTHENTICATED");
  Call("POST", std::string(kDocument) + ":ingest", "Alice wrote this.", 200, as("alices-token"));
  EXPECT_EQ(Call("GET", list, "", 200, as("alices-token"))["documents"].size(), 1u);
  EXPECT_EQ(Call("GET", list, "", 200, as("bobs-token")), Json::object());
  EXPECT_EQ(ReasonOf(Call("POST", std::string(kDocument) + ":text", "{}", 404, as("bobs-token"))),
            "DOCUMENT_NOT_FOUND");
}

TEST_F(HttpApiTest, ThePageIsServedWithAPolicy) {
  for (const char* path : {"/", "/common.js", "/common.css", "/heat_map.js", "/server.js", "/documents.js",
                           "/answers.js", "/page.css", "/icon.svg"}) {
    httplib::Client client = Client();
    const auto result = client.Get(path);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, 200) << path;
    EXPECT_FALSE(result->body.empty()) << path;
    EXPECT_THAT(result->get_header_value("Content-Security-Policy"),
                AllOf(HasSubstr("default-src 'none'"), Not(HasSubstr("unsafe"))));
  }
}

// A server with one stream whose body is the test's.
class LineStreamTest : public ::testing::Test {
 protected:
  void Serve(LineStream::Body body) {
    server_.Get("/", [this, body = std::move(body)](const httplib::Request& request, httplib::Response& response) {
      LineStream::Start(HeadersOf(request, absl::Minutes(10)), "ilre.v1.Generator/Generate", parts_, executor_,
                        "answers", body, response);
    });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    ASSERT_TRUE(Eventually([this] { return server_.is_running(); }));
  }
  void TearDown() override {
    server_.stop();
    thread_.join();
    executor_.Drain();
  }
  static v1::GenerateResponse Text(const std::string& text) {
    v1::GenerateResponse event;
    event.set_text(text);
    return event;
  }

  Authenticator authenticator_;
  ServiceMetrics metrics_;
  Logger log_{LogLevel::kError};
  ServerState state_;
  ServerParts parts_{authenticator_, metrics_, log_, state_};
  Executor executor_{ExecutorOptions{.num_threads = 2}};
  BoundedHttpServer server_{8};
  std::thread thread_;
  int port_ = 0;
};

TEST_F(LineStreamTest, AnErrorBeforeTheFirstLineIsTheAnswerAndALaterOneTheLastLine) {
  std::atomic<bool> write_first = false;
  Serve([&](const CallContext&, const LineStream::Write& write) -> absl::Status {
    if (write_first) {
      if (absl::Status status = write(Text("a \"line\"\n")); !status.ok()) return status;
    }
    return MakeError(absl::StatusCode::kDataLoss, "BLOCK_DAMAGED", "block 7");
  });
  httplib::Client client("127.0.0.1", port_);
  auto result = client.Get("/");
  ASSERT_TRUE(result);
  EXPECT_EQ(result->status, 500);
  EXPECT_EQ(Json::parse(result->body)["message"], "block 7");
  write_first = true;
  result = client.Get("/");
  ASSERT_TRUE(result);
  EXPECT_EQ(result->status, 200);
  const std::vector<std::string> lines = absl::StrSplit(result->body, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(Json::parse(lines[0])["text"], "a \"line\"\n");
  EXPECT_EQ(Json::parse(lines[1])["error"]["code"], 15);
}

TEST_F(LineStreamTest, LinesArriveAsTheyAreWritten) {
  std::atomic<bool> go_on = false;
  Serve([&](const CallContext&, const LineStream::Write& write) -> absl::Status {
    if (absl::Status status = write(Text("first")); !status.ok()) return status;
    EXPECT_TRUE(Eventually([&] { return go_on.load(); }));
    return write(Text("second"));
  });
  httplib::Client client("127.0.0.1", port_);
  client.set_read_timeout(120);
  std::string received;
  const auto result = client.Get("/", [&](const char* data, size_t size) {
    received.append(data, size);
    go_on = true;  // the second is written only after the first has arrived
    return true;
  });
  ASSERT_TRUE(result);
  EXPECT_EQ(received, "{\"text\":\"first\"}\n{\"text\":\"second\"}\n");
}

TEST_F(LineStreamTest, AClientThatGoesAwayStopsTheWork) {
  std::atomic<bool> stopped = false;
  Serve([&](const CallContext& context, const LineStream::Write& write) -> absl::Status {
    if (absl::Status status = write(Text("first")); !status.ok()) return status;
    EXPECT_TRUE(Eventually([&] { return context.ShouldStop(); }));  // and writes nothing meanwhile
    stopped = true;
    return context.Check("the answer");
  });
  httplib::Client client("127.0.0.1", port_);
  client.set_read_timeout(120);
  (void)client.Get("/", [&](const char*, size_t) { return false; });
  EXPECT_TRUE(Eventually([&] { return stopped.load(); }));
  EXPECT_TRUE(Eventually([&] { return executor_.running() == 0; }));
}

TEST_F(LineStreamTest, AClientThatGoesAwayBeforeTheFirstLineStopsTheWork) {
  std::atomic<bool> stopped = false;
  Serve([&](const CallContext& context, const LineStream::Write&) -> absl::Status {
    EXPECT_TRUE(Eventually([&] { return context.ShouldStop(); }));
    stopped = true;
    return context.Check("the answer");
  });
  const int socket = SendTo(port_, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_TRUE(Eventually([&] { return executor_.running() == 1; }));
  EXPECT_FALSE(stopped);
  ::close(socket);
  EXPECT_TRUE(Eventually([&] { return stopped.load(); }));
  EXPECT_TRUE(Eventually([&] { return executor_.running() == 0; }));
}

TEST_F(LineStreamTest, AClientThatDoesNotReadHoldsTheWorkBack) {
  std::atomic<int64_t> written = 0;
  Serve([&](const CallContext&, const LineStream::Write& write) -> absl::Status {
    const std::string text(100000, 'x');
    for (int i = 0; i < 10000; ++i) {  // a gigabyte
      if (absl::Status status = write(Text(text)); !status.ok()) return status;
      ++written;
    }
    return absl::OkStatus();
  });
  httplib::Client client("127.0.0.1", port_);
  client.set_read_timeout(120);
  (void)client.Get("/", [&](const char*, size_t) {
    // What is written while this client does not read fits the sockets' buffers and the stream's few lines.
    int64_t before = -1;
    while (before != written) {
      before = written;
      absl::SleepFor(absl::Milliseconds(300));
    }
    return false;
  });
  EXPECT_LT(written, 1000);
  EXPECT_TRUE(Eventually([&] { return executor_.running() == 0; }));
}

}  // namespace
}  // namespace ilre::cli
