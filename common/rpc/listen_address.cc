#include "common/rpc/listen_address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"

namespace ilre {
namespace {

constexpr int kMaxPort = 65535;

// Why a socket cannot be bound there; empty if it can.
std::string TryToBind(const ListenAddress& address) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  const int failure = getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (failure != 0) return gai_strerror(failure);
  std::string why;
  const int fd = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
  const int yes = 1;
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 1) != 0) why = std::strerror(errno);
  if (fd >= 0) close(fd);
  freeaddrinfo(found);
  return why;
}

}  // namespace

std::string ListenAddress::ToString() const {
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return is_ipv6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view flag, absl::string_view text) {
  const auto wrong = [&] { return errors::InvalidField(flag, absl::StrCat("'", text, "' is not HOST:PORT")); };
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return wrong();
  absl::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (!bracketed && host.find_first_of(":[]") != absl::string_view::npos) return wrong();
  if (host.find_first_of(" /\t\n") != absl::string_view::npos || (bracketed && host.empty())) return wrong();
  ListenAddress address;
  address.host = host.empty() ? "0.0.0.0" : std::string(host);
  const absl::string_view port = text.substr(colon + 1);
  if (port.empty() || port.find_first_not_of("0123456789") != absl::string_view::npos ||
      !absl::SimpleAtoi(port, &address.port) || address.port > kMaxPort) {
    return wrong();
  }
  return address;
}

absl::Status CannotListen(absl::string_view flag, const ListenAddress& address) {
  const std::string why = TryToBind(address);
  return MakeError(absl::StatusCode::kFailedPrecondition, "CANNOT_LISTEN",
                   absl::StrCat("--", flag, ": cannot listen on ", address.ToString(),
                                why.empty() ? std::string() : absl::StrCat(": ", why)));
}

}  // namespace ilre
