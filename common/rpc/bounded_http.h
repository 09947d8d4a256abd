// httplib's server with the bounds that it lacks: on threads, and on what a client can make it read before a request's
// body.
#pragma once

#include <httplib.h>

#include <memory>

namespace ilre {

// A connection has 64 KiB and 20 seconds for its request line and headers, and the same for a line of a chunked body;
// httplib would read an endless line into memory. Bodies are bounded by httplib's own limits and by the read timeout,
// which counts from the last byte. When the server stops, connections that wait for a request are closed at once.
class BoundedHttpServer : public httplib::Server {
 public:
  // One thread for each connection that is open; further ones wait in the system's backlog.
  explicit BoundedHttpServer(int num_threads);

 private:
  bool process_and_close_socket(socket_t socket) override;
};

// Whether the client of the request that this thread answers for a BoundedHttpServer has closed its connection, or the
// half of it that it sends on, which counts as the same: TCP does not tell the two apart, and who has sent a request
// and waits for the answer keeps the connection open. False in all other threads.
bool ClientHasHungUp();

}  // namespace ilre
