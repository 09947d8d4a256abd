// Certificates for tests, made by the openssl program.
#pragma once

#include <string>

namespace ilre {

// An authority in a folder of its own. Failures end the test program.
class TestAuthority {
 public:
  explicit TestAuthority(const std::string& folder);

  std::string ca() const { return folder_ + "/ca.crt"; }

  // Makes folder/NAME.crt and NAME.key for "localhost" and 127.0.0.1, replacing both by renaming.
  void Issue(const std::string& name) const;
  std::string cert(const std::string& name) const { return folder_ + "/" + name + ".crt"; }
  std::string key(const std::string& name) const { return folder_ + "/" + name + ".key"; }

 private:
  const std::string folder_;
};

}  // namespace ilre
