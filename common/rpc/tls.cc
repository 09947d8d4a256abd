#include "common/rpc/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "grpc/grpc_security_constants.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"

namespace ilre {
namespace {

constexpr uint64_t kMaxPemBytes = uint64_t{4} << 20;

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

absl::Status BadCertificate(absl::string_view path, absl::string_view why) {
  ERR_clear_error();
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_CERTIFICATE", absl::StrCat(path, ": ", why));
}

// A key with a pass phrase is refused, not asked for.
int NoPassPhrase(char*, int, int, void*) { return -1; }

absl::StatusOr<Certificate> ReadCertificate(const std::string& path) {
  ILRE_ASSIGN_OR_RETURN(const std::string pem, ReadFile(path, kMaxPemBytes));
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, NoPassPhrase, nullptr), X509_free);
  if (certificate == nullptr) return BadCertificate(path, "not a certificate in PEM form");
  return certificate;
}

// gRPC would say nothing until the first handshake fails.
absl::Status CheckPair(const std::string& cert_path, const std::string& key_path) {
  ILRE_ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate(cert_path));
  ILRE_ASSIGN_OR_RETURN(const std::string pem, ReadFile(key_path, kMaxPemBytes));
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassPhrase, nullptr), EVP_PKEY_free);
  if (key == nullptr) return BadCertificate(key_path, "not a private key in PEM form without a pass phrase");
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return BadCertificate(key_path, absl::StrCat("not the key of the certificate in ", cert_path));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ServerTls::Validate() const {
  if (cert.empty() != key.empty()) return errors::InvalidField("tls-cert", "--tls-cert and --tls-key go together");
  if (cert.empty() && !client_ca.empty())
    return errors::InvalidField("tls-client-ca", "needs --tls-cert and --tls-key");
  return absl::OkStatus();
}

absl::Status ClientTls::Validate() const {
  if (cert.empty() != key.empty()) return errors::InvalidField("tls", "a certificate and its key go together");
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(const ServerTls& tls,
                                                                               unsigned int refresh_seconds) {
  ILRE_RETURN_IF_ERROR(tls.Validate());
  if (tls.cert.empty()) return grpc::InsecureServerCredentials();
  ILRE_RETURN_IF_ERROR(CheckPair(tls.cert, tls.key));
  if (!tls.client_ca.empty()) ILRE_RETURN_IF_ERROR(ReadCertificate(tls.client_ca).status());
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(tls.key, tls.cert, tls.client_ca,
                                                                           refresh_seconds));
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  if (!tls.client_ca.empty()) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(const ClientTls& tls,
                                                                                 unsigned int refresh_seconds) {
  if (!tls.enabled) return grpc::InsecureChannelCredentials();
  ILRE_RETURN_IF_ERROR(tls.Validate());
  if (!tls.cert.empty()) ILRE_RETURN_IF_ERROR(CheckPair(tls.cert, tls.key));
  if (!tls.ca.empty()) ILRE_RETURN_IF_ERROR(ReadCertificate(tls.ca).status());
  if (tls.cert.empty() && tls.ca.empty()) return grpc::SslCredentials(grpc::SslCredentialsOptions());
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(tls.key, tls.cert, tls.ca, refresh_seconds));
  if (!tls.ca.empty()) options.watch_root_certs();
  if (!tls.cert.empty()) options.watch_identity_key_cert_pairs();
  return grpc::experimental::TlsCredentials(options);
}

}  // namespace ilre
