#include "common/rpc/status_conversion.h"

#include <cstdint>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/random.h"
#include "common/base/test_matchers.h"
#include "common/rpc/rpc_errors.h"
#include "google/protobuf/stubs/logging.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

template <typename Detail>
Detail DetailOf(const google::rpc::Status& status) {
  Detail detail;
  for (const google::protobuf::Any& any : status.details()) {
    if (any.Is<Detail>() && !any.UnpackTo(&detail)) ADD_FAILURE() << any.type_url();
  }
  return detail;
}

absl::Status FullError() {
  absl::Status status = MakeError(absl::StatusCode::kOutOfRange, "OFFSET_GAP", "12 bytes are committed, not 40");
  status = WithField(status, "write_offset");
  status = WithResource(status, "collections/c/documents/d");
  status = WithRetryDelay(status, absl::Milliseconds(1500));
  status = WithMetadata(status, "committed_bytes", "12");
  return WithMetadata(status, "write_offset", "40");
}

TEST(StatusConversionTest, OkIsOk) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus(), "id").ok());
  EXPECT_EQ(ToGrpcStatus(absl::OkStatus(), "id").error_details(), "");
  EXPECT_EQ(ToRpcStatus(absl::OkStatus(), "id").details_size(), 0);
  ILRE_EXPECT_OK(FromGrpcStatus(grpc::Status::OK));
}

TEST(StatusConversionTest, EveryDetailIsWhereClientsLookForIt) {
  const grpc::Status sent = ToGrpcStatus(FullError(), "req-1");
  EXPECT_EQ(sent.error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_EQ(sent.error_message(), "12 bytes are committed, not 40");
  google::rpc::Status status;
  ASSERT_TRUE(status.ParseFromString(sent.error_details()));
  EXPECT_EQ(status.code(), 11);
  EXPECT_EQ(status.message(), sent.error_message());
  const auto info = DetailOf<google::rpc::ErrorInfo>(status);
  EXPECT_EQ(info.reason(), "OFFSET_GAP");
  EXPECT_EQ(info.domain(), "ilre.io");
  EXPECT_EQ(info.metadata().at("committed_bytes"), "12");
  EXPECT_EQ(info.metadata().at("write_offset"), "40");
  const auto bad = DetailOf<google::rpc::BadRequest>(status);
  ASSERT_EQ(bad.field_violations_size(), 1);
  EXPECT_EQ(bad.field_violations(0).field(), "write_offset");
  EXPECT_EQ(DetailOf<google::rpc::ResourceInfo>(status).resource_name(), "collections/c/documents/d");
  EXPECT_EQ(DetailOf<google::rpc::RetryInfo>(status).retry_delay().seconds(), 1);
  EXPECT_EQ(DetailOf<google::rpc::RetryInfo>(status).retry_delay().nanos(), 500'000'000);
  EXPECT_EQ(DetailOf<google::rpc::RequestInfo>(status).request_id(), "req-1");
}

TEST(StatusConversionTest, AnErrorPassesThroughAServiceUnchanged) {
  const absl::Status original = FullError();
  const absl::Status received = FromGrpcStatus(ToGrpcStatus(original, "req-1"));
  EXPECT_EQ(received, original);  // code, message and payloads
  EXPECT_EQ(ErrorReason(received), "OFFSET_GAP");
  EXPECT_EQ(FromGrpcStatus(ToGrpcStatus(received, "req-1")), original);
}

TEST(StatusConversionTest, EveryCodeSurvivesAndHasAReason) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status plain(static_cast<absl::StatusCode>(code), "plain");
    const grpc::Status sent = ToGrpcStatus(plain);
    EXPECT_EQ(sent.error_code(), code);
    const absl::Status received = FromGrpcStatus(sent);
    EXPECT_EQ(received.code(), plain.code());
    EXPECT_EQ(ErrorReason(received), absl::StatusCodeToString(plain.code()));
    EXPECT_GE(HttpStatusCode(plain.code()), 400);
  }
  EXPECT_EQ(HttpStatusCode(absl::StatusCode::kOk), 200);
}

TEST(StatusConversionTest, AForeignServersErrorStaysSensible) {
  const absl::Status plain = FromGrpcStatus(grpc::Status(grpc::StatusCode::UNAVAILABLE, "connection\nrefused"));
  EXPECT_THAT(plain, StatusIs(absl::StatusCode::kUnavailable, "connection refused"));
  EXPECT_EQ(ErrorReason(plain), "UNAVAILABLE");

  google::rpc::Status proto;
  proto.set_code(5);
  google::rpc::ErrorInfo info;
  info.set_reason("SERVICE_DISABLED");
  info.set_domain("googleapis.com");
  (*info.mutable_metadata())["service"] = "x";
  proto.add_details()->PackFrom(info);
  proto.add_details()->set_type_url("type.googleapis.com/some.Unknown");
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(2);
  proto.add_details()->PackFrom(retry);
  const absl::Status foreign =
      FromGrpcStatus(grpc::Status(grpc::StatusCode::PERMISSION_DENIED, "no", proto.SerializeAsString()));
  EXPECT_THAT(foreign, StatusIs(absl::StatusCode::kPermissionDenied, "no"));  // grpc's code, not the details'
  EXPECT_EQ(ErrorReason(foreign), "PERMISSION_DENIED");
  EXPECT_TRUE(DetailsOf(foreign).metadata.empty());
  EXPECT_EQ(DetailsOf(foreign).retry_delay, absl::Seconds(2));

  const absl::Status odd = FromGrpcStatus(grpc::Status(static_cast<grpc::StatusCode>(99), "odd"));
  EXPECT_THAT(odd, StatusIs(absl::StatusCode::kUnknown));
}

TEST(StatusConversionTest, TextsFromOutsideAreCutAndCleaned) {
  absl::Status status(absl::StatusCode::kInternal, absl::StrCat("a\r\nb\x01\xff", std::string(100'000, 'x')));
  status = WithField(status, std::string(50'000, 'f'));
  status = WithResource(status, std::string(50'000, '\xc3'));
  for (int i = 0; i < 1000; ++i) status = WithMetadata(status, absl::StrCat("key", i), std::string(900, 'v'));
  const grpc::Status sent = ToGrpcStatus(status, std::string(9000, 'r'));
  EXPECT_EQ(sent.error_message().substr(0, 7), "a  b ?x");
  // Percent-encoded at worst, and base64 for the binary trailer.
  EXPECT_LT(sent.error_message().size() * 3 + sent.error_details().size() * 4 / 3, 8000u);
  google::rpc::Status proto;
  EXPECT_TRUE(proto.ParseFromString(sent.error_details()));
}

TEST(StatusConversionTest, ADelayThatIsNoneIsLeftOut) {
  for (const int64_t seconds : {int64_t{0}, int64_t{-5}, INT64_MIN, INT64_MAX}) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(seconds);
    google::rpc::Status proto;
    proto.set_code(8);
    proto.add_details()->PackFrom(retry);
    const absl::Status status = FromRpcStatus(proto);
    EXPECT_EQ(DetailsOf(status).retry_delay, seconds > 0 ? absl::Hours(24) : absl::ZeroDuration());
  }
}

// Random bytes, and good details with bytes changed or cut off: always some error of the given code.
TEST(StatusConversionTest, MalformedDetailsNeverHurt) {
  google::protobuf::LogSilencer silencer;  // it complains of every byte that is no UTF-8
  Random random(1);
  const std::string good = ToGrpcStatus(FullError(), "req-1").error_details();
  std::set<std::string> reasons;
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = good;
    if (i % 4 == 0) {
      bytes.resize(random.Next() % 200);
      for (char& c : bytes) c = static_cast<char>(random.Next());
    } else if (i % 4 == 1) {
      bytes.resize(random.Next() % good.size());
    } else {
      for (int n = 0; n <= i % 5; ++n) bytes[random.Next() % bytes.size()] = static_cast<char>(random.Next());
    }
    const absl::Status status = FromGrpcStatus(grpc::Status(grpc::StatusCode::ABORTED, "m", bytes));
    ASSERT_THAT(status, StatusIs(absl::StatusCode::kAborted, "m"));
    ASSERT_FALSE(ErrorReason(status).empty());
    reasons.insert(ErrorReason(status));
    ASSERT_FALSE(ToGrpcStatus(status).ok());
  }
  EXPECT_GT(reasons.count("OFFSET_GAP"), 0u);
  EXPECT_GT(reasons.count("ABORTED"), 0u);
}

}  // namespace
}  // namespace ilre
