// The page of `ilre serve`: files that are part of the program.
#pragma once

namespace httplib {
class Server;
}

namespace ilre::cli {

// Serves the page at / and its files beside it. `loopback_only` as of CheckOrigin.
void MountPage(httplib::Server& server, bool loopback_only);

}  // namespace ilre::cli
