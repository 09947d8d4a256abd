#include "common/rpc/http_server.h"

#include <arpa/inet.h>
#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

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

// A client that sends `opening` and then `endless` again and again.
struct Exchange {
  Exchange(const HttpServer& server, const std::string& opening, const std::string& endless = "", size_t max_sent = 0) {
    const std::string& address = server.address();
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&peer), sizeof(peer)), 0);
    cut_off = send(fd, opening.data(), opening.size(), MSG_NOSIGNAL) <= 0;
    for (size_t sent = 0; !cut_off && sent < max_sent; sent += endless.size()) {
      cut_off = send(fd, endless.data(), endless.size(), MSG_NOSIGNAL) <= 0;
    }
    char buffer[4096];
    for (ssize_t n; (n = recv(fd, buffer, sizeof(buffer), 0)) > 0;) answer.append(buffer, static_cast<size_t>(n));
    close(fd);
  }

  bool cut_off = false;  // the server closed before everything was sent
  std::string answer;    // until the server closed
};

TEST_F(HttpServerTest, EndlessLinesAreCutOff) {
  const auto server = Start({.num_threads = 1}, [](httplib::Server& http) {
    http.Post("/echo", [](const httplib::Request& request, httplib::Response& response) {
      response.set_content(request.body, "text/plain");
    });
  });
  constexpr size_t kMany = 200 << 20;  // more than any buffer of the system
  std::string piece(1000, 'a'), header;
  while (header.size() < 1000) header += "X-Many: a\r\n";
  EXPECT_TRUE(Exchange(*server, "GET /", piece, kMany).cut_off);
  EXPECT_TRUE(Exchange(*server, "GET / HTTP/1.1\r\nX-Long: ", piece, kMany).cut_off);
  EXPECT_TRUE(Exchange(*server, "GET / HTTP/1.1\r\n", header, kMany).cut_off);
  EXPECT_TRUE(Exchange(*server, "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", piece, kMany).cut_off);
  httplib::Client client = ClientOf(*server);
  EXPECT_EQ(client.Post("/echo", std::string(100'000, 'x'), "text/plain")->body.size(), 100'000u);
  EXPECT_EQ(client.Get("/healthz", {{"X-Long", std::string(5000, 'x')}})->status, 200);
}

TEST_F(HttpServerTest, TwoRequestsInOnePiece) {
  const auto server = Start({.num_threads = 1});
  const Exchange two(*server, "GET /healthz HTTP/1.1\r\n\r\nGET /readyz HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(two.answer, HasSubstr("alive\n"));
  EXPECT_THAT(two.answer, HasSubstr("not ready\n"));
}

TEST_F(HttpServerTest, StopDoesNotWaitForIdleConnections) {
  const auto server = Start({.idle_timeout_seconds = 3600});
  httplib::Client client = ClientOf(*server);
  client.set_keep_alive(true);
  EXPECT_EQ(client.Get("/healthz")->status, 200);
  server->Stop();
}

}  // namespace
}  // namespace ilre
