#include "common/rpc/bounded_http.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace ilre {
namespace {

constexpr size_t kMaxLineBytes = 64 << 10;
constexpr absl::Duration kMaxLineTime = absl::Seconds(20);
constexpr absl::Duration kLookInterval = absl::Milliseconds(100);
// What a client may still send after the last answer, so that closing does not destroy the answer on its way.
constexpr size_t kMaxLingerBytes = 1 << 20;
constexpr absl::Duration kMaxLinger = absl::Milliseconds(300);

// httplib's own pool has no bound: connections would pile up in it. Here the accepting thread waits for a free thread.
class BoundedThreads : public httplib::TaskQueue {
 public:
  explicit BoundedThreads(int num_threads) {
    for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Work(); });
  }

  void enqueue(std::function<void()> task) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return num_busy_ + tasks_.size() < threads_.size(); });
    tasks_.push_back(std::move(task));
    changed_.notify_all();
  }

  void shutdown() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      changed_.notify_all();
    }
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void Work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return !tasks_.empty() || stopping_; });
      if (tasks_.empty()) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      ++num_busy_;
      lock.unlock();
      task();
      lock.lock();
      --num_busy_;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;  // guarded by mutex_
  size_t num_busy_ = 0;                      // guarded by mutex_
  bool stopping_ = false;                    // guarded by mutex_
  std::vector<std::thread> threads_;
};

// Whether `socket` gets ready for `events` (POLLIN, POLLOUT) in time. An error of it counts as ready: the next
// operation will tell.
bool WaitFor(int socket, short events, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (true) {
    pollfd descriptor{.fd = socket, .events = events, .revents = 0};
    const absl::Duration left = std::max(deadline - absl::Now(), absl::ZeroDuration());
    const int found =
        poll(&descriptor, 1, static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1)))));
    if (found >= 0 || errno != EINTR) return found > 0;
  }
}

// The connection that this thread serves; -1: none.
thread_local int served_socket = -1;

bool HasHungUp(int socket) {
  pollfd descriptor{.fd = socket, .events = POLLRDHUP, .revents = 0};
  return poll(&descriptor, 1, 0) > 0;  // the events, or an error
}

// A connection, for all its requests. httplib reads lines byte by byte, and bodies in larger pieces: so runs of reads
// of one byte are lines.
class BoundedStream : public httplib::Stream {
 public:
  BoundedStream(int socket, absl::Duration read_timeout, absl::Duration write_timeout)
      : socket_(socket), read_timeout_(read_timeout), write_timeout_(write_timeout) {}

  // Whether a request begins before `timeout` is over or the server stops.
  bool WaitForRequest(absl::Duration timeout, const std::function<bool()>& stopping) {
    const absl::Time deadline = absl::Now() + timeout;
    while (begin_ == end_ && !WaitFor(socket_, POLLIN, kLookInterval)) {
      if (stopping() || absl::Now() >= deadline) return false;
    }
    line_bytes_ = 0;
    return true;
  }

  bool is_readable() const override { return begin_ < end_ || WaitFor(socket_, POLLIN, read_timeout_); }

  // False also when the client has gone.
  bool is_writable() const override { return !HasHungUp(socket_) && WaitFor(socket_, POLLOUT, write_timeout_); }

  ssize_t read(char* data, size_t size) override {
    if (size != 1) {
      line_bytes_ = 0;
    } else if (line_bytes_++ == 0) {
      line_deadline_ = absl::Now() + kMaxLineTime;
    } else if (line_bytes_ > kMaxLineBytes) {
      return -1;
    }
    if (begin_ == end_ && !Fill(size == 1)) return -1;
    const size_t taken = std::min(size, end_ - begin_);
    std::memcpy(data, buffer_.data() + begin_, taken);
    begin_ += taken;
    return static_cast<ssize_t>(taken);
  }

  ssize_t write(const char* data, size_t size) override {
    for (size_t sent = 0; sent < size;) {
      if (!WaitFor(socket_, POLLOUT, write_timeout_)) return -1;
      const ssize_t now = send(socket_, data + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (now < 0 && errno != EAGAIN && errno != EINTR) return -1;
      if (now > 0) sent += static_cast<size_t>(now);
    }
    return static_cast<ssize_t>(size);
  }

  // Reads what still comes, for a moment, after no more is written.
  void Linger() {
    const absl::Time deadline = absl::Now() + kMaxLinger;
    for (size_t left = kMaxLingerBytes; left > 0 && WaitFor(socket_, POLLIN, deadline - absl::Now());) {
      const ssize_t received = recv(socket_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (received <= 0) return;
      left -= std::min(left, static_cast<size_t>(received));
    }
  }

  void get_remote_ip_and_port(std::string& ip, int& port) const override { Name(getpeername, ip, port); }
  void get_local_ip_and_port(std::string& ip, int& port) const override { Name(getsockname, ip, port); }
  socket_t socket() const override { return socket_; }

 private:
  // Waits for bytes; false at the end, on an error or when it takes too long.
  bool Fill(bool in_line) {
    const absl::Duration patience = in_line ? std::min(read_timeout_, line_deadline_ - absl::Now()) : read_timeout_;
    if (patience <= absl::ZeroDuration() || !WaitFor(socket_, POLLIN, patience)) return false;
    const ssize_t received = recv(socket_, buffer_.data(), buffer_.size(), 0);
    if (received <= 0) return false;
    begin_ = 0;
    end_ = static_cast<size_t>(received);
    return true;
  }

  void Name(int (*of)(int, sockaddr*, socklen_t*), std::string& ip, int& port) const {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    std::array<char, NI_MAXHOST> host{};
    std::array<char, NI_MAXSERV> service{};
    if (of(socket_, reinterpret_cast<sockaddr*>(&address), &size) != 0) return;
    if (getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host.data(), host.size(), service.data(),
                    service.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
      return;
    }
    ip = host.data();
    if (!absl::SimpleAtoi(service.data(), &port)) port = 0;
  }

  const int socket_;
  const absl::Duration read_timeout_, write_timeout_;
  std::array<char, 16 << 10> buffer_;
  size_t begin_ = 0, end_ = 0;  // of what is in buffer_ and was not taken
  size_t line_bytes_ = 0;       // taken one by one in a row
  absl::Time line_deadline_;
};

absl::Duration Timeout(time_t seconds, time_t microseconds) {
  return absl::Seconds(seconds) + absl::Microseconds(microseconds);
}

}  // namespace

bool ClientHasHungUp() { return served_socket >= 0 && HasHungUp(served_socket); }

BoundedHttpServer::BoundedHttpServer(int num_threads) {
  new_task_queue = [num_threads] { return new BoundedThreads(num_threads); };
}

bool BoundedHttpServer::process_and_close_socket(socket_t socket) {
  BoundedStream stream(socket, Timeout(read_timeout_sec_, read_timeout_usec_),
                       Timeout(write_timeout_sec_, write_timeout_usec_));
  const auto stopping = [this] { return svr_sock_ == INVALID_SOCKET; };
  served_socket = socket;
  bool answered = false;
  for (size_t left = keep_alive_max_count_;
       left > 0 && stream.WaitForRequest(absl::Seconds(keep_alive_timeout_sec_), stopping); --left) {
    bool closed = false;
    answered = process_request(stream, /*close_connection=*/left == 1 || stopping(), closed, nullptr);
    if (!answered || closed) break;
  }
  served_socket = -1;
  shutdown(socket, SHUT_WR);
  stream.Linger();
  close(socket);
  return answered;
}

}  // namespace ilre
