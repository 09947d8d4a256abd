#include "common/rpc/http_server.h"

#include <httplib.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "common/base/test_matchers.h"
#include "common/rpc/test_server.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

using ::testing::HasSubstr;

class HttpServerTest : public ::testing::Test {
 protected:
  std::unique_ptr<HttpServer> Start(HttpServer::Options options, const HttpServer::Mount& mount = nullptr) {
    options.listen = "127.0.0.1:0";
    auto server = HttpServer::Start(options, metrics_, state_, mount);
    EXPECT_THAT(server, IsOk());
    return *std::move(server);
  }
  static httplib::Client ClientOf(const HttpServer& server) {
    httplib::Client client("http://" + server.address());
    client.set_read_timeout(60);
    return client;
  }

  ServiceMetrics metrics_;
  ServerState state_;
};

TEST_F(HttpServerTest, OwnRoutes) {
  const auto server = Start({});
  httplib::Client client = ClientOf(*server);
  EXPECT_EQ(client.Get("/healthz")->status, 200);
  EXPECT_EQ(client.Get("/readyz")->status, 503);
  state_.SetReady(true);
  EXPECT_EQ(client.Get("/readyz")->status, 200);
  state_.StartDraining();
  const httplib::Result draining = client.Get("/readyz");
  EXPECT_EQ(draining->status, 503);
  EXPECT_EQ(draining->body, "draining\n");
  EXPECT_EQ(client.Get("/healthz")->status, 200);
  metrics_.AddDecodedTokens(3);
  const httplib::Result metrics = client.Get("/metrics");
  EXPECT_EQ(metrics->status, 200);
  EXPECT_THAT(metrics->get_header_value("Content-Type"), HasSubstr("version=0.0.4"));
  EXPECT_THAT(metrics->body, HasSubstr("ilre_decoded_tokens_total 3\n"));
  EXPECT_EQ(client.Get("/other")->status, 404);
}

TEST_F(HttpServerTest, MountedRoutesAndTheirLimits) {
  const auto server = Start({.max_body_bytes = 1000}, [](httplib::Server& http) {
    http.Post("/echo", [](const httplib::Request& request, httplib::Response& response) {
      response.set_content(request.body, "text/plain");
    });
    http.Get("/throws", [](const httplib::Request&, httplib::Response&) { throw std::runtime_error("secret"); });
  });
  httplib::Client client = ClientOf(*server);
  EXPECT_EQ(client.Post("/echo", "hello", "text/plain")->body, "hello");
  EXPECT_EQ(client.Post("/echo", std::string(1001, 'x'), "text/plain")->status, 413);
  const httplib::Result thrown = client.Get("/throws");
  EXPECT_EQ(thrown->status, 500);
  EXPECT_EQ(thrown->body, "internal error\n");
  EXPECT_FALSE(thrown->has_header("EXCEPTION_WHAT"));
}

TEST_F(HttpServerTest, MoreConnectionsThanThreadsWait) {
  std::atomic<int> running{0}, most{0};
  std::atomic<bool> go{false};
  const auto server = Start({.num_threads = 2}, [&](httplib::Server& http) {
    http.Get("/slow", [&](const httplib::Request&, httplib::Response&) {
      const int now = ++running;
      for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
      }
      EXPECT_TRUE(Eventually([&] { return go.load(); }));
      --running;
    });
  });
  std::atomic<int> answered{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 5; ++i) {
    clients.emplace_back([&] {
      httplib::Client client = ClientOf(*server);
      const httplib::Result result = client.Get("/slow");
      if (result && result->status == 200) ++answered;
    });
  }
  EXPECT_TRUE(Eventually([&] { return running == 2; }));
  go = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(answered, 5);
  EXPECT_EQ(most, 2);
}

TEST_F(HttpServerTest, StopAnswersWhatRuns) {
  std::atomic<bool> entered{false}, go{false};
  const auto server = Start({.num_threads = 2}, [&](httplib::Server& http) {
    http.Get("/slow", [&](const httplib::Request&, httplib::Response& response) {
      entered = true;
      EXPECT_TRUE(Eventually([&] { return go.load(); }));
      response.set_content("done", "text/plain");
    });
  });
  std::string body;
  std::thread client([&] {
    const httplib::Result result = ClientOf(*server).Get("/slow");
    if (result) body = result->body;
  });
  ASSERT_TRUE(Eventually([&] { return entered.load(); }));
  std::thread stop([&] { server->Stop(); });
  go = true;
  stop.join();
  client.join();
  EXPECT_EQ(body, "done");
  EXPECT_FALSE(ClientOf(*server).Get("/healthz"));
}

}  // namespace
}  // namespace ilre
