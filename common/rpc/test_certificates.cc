#include "common/rpc/test_certificates.h"

#include <cstdlib>

#include "common/base/check.h"

namespace ilre {
namespace {

void Run(const std::string& command) { ILRE_CHECK(std::system(("(" + command + ") >/dev/null 2>&1").c_str()) == 0); }

constexpr char kNewKey[] = "openssl ecparam -name prime256v1 -genkey -noout -out ";

}  // namespace

TestAuthority::TestAuthority(const std::string& folder) : folder_(folder) {
  Run("mkdir -p " + folder_);
  Run(kNewKey + folder_ + "/ca.key");
  Run("openssl req -x509 -new -key " + folder_ + "/ca.key -subj /CN=test-ca -days 2 -out " + ca());
}

void TestAuthority::Issue(const std::string& name) const {
  const std::string fresh = folder_ + "/fresh";
  Run(kNewKey + fresh + ".key");
  Run("openssl req -new -key " + fresh + ".key -subj /CN=" + name + " -out " + fresh + ".csr");
  Run("echo 'subjectAltName=DNS:localhost,IP:127.0.0.1' >" + fresh + ".ext");
  Run("openssl x509 -req -in " + fresh + ".csr -CA " + ca() + " -CAkey " + folder_ +
      "/ca.key -CAcreateserial -days 2 " + "-extfile " + fresh + ".ext -out " + fresh + ".crt");
  Run("mv " + fresh + ".key " + key(name) + " && mv " + fresh + ".crt " + cert(name));
}

}  // namespace ilre
