#include "common/api/resource_name.h"

#include "common/base/errors.h"
#include "common/base/test_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

TEST(ResourceNameTest, NamesOfTenantsDoNotMeet) {
  const auto own = ParseDocumentName("collections/c/documents/d", "ann", "name");
  ASSERT_THAT(own, IsOk());
  EXPECT_EQ(own->collection, "ann.c");
  EXPECT_EQ(own->document, "d");
  const auto single = ParseDocumentName("collections/c/documents/d", "", "name");
  ASSERT_THAT(single, IsOk());
  EXPECT_EQ(single->collection, "c");
  EXPECT_TRUE(IsOfTenant("ann.c", "ann"));
  EXPECT_FALSE(IsOfTenant("ann.c", ""));
  EXPECT_FALSE(IsOfTenant("ann.c", "an"));
  EXPECT_FALSE(IsOfTenant("c", "ann"));
  EXPECT_EQ(DocumentResourceName("ann.c", "d"), "collections/c/documents/d");
  EXPECT_EQ(DocumentResourceName("c", "d"), "collections/c/documents/d");
}

TEST(ResourceNameTest, EverythingElseIsRefusedByField) {
  for (const char* name : {"", "c/d", "collections", "collections/", "collections//documents/d",
                           "collections/c/documents/", "collections/c/documents/d/", "collections/c/documents/-",
                           "collections/ann.c/documents/d", "collections/C/documents/d", "collections/c/documents/d/e",
                           "/collections/c/documents/d", "collections/c/document/d", "collections/-c/documents/d"}) {
    const auto parsed = ParseDocumentName(name, "bob", "names[3]");
    EXPECT_THAT(parsed, StatusIs(absl::StatusCode::kInvalidArgument)) << name;
    EXPECT_EQ(DetailsOf(parsed.status()).field, "names[3]");
  }
  const auto all = ParseDocumentName("collections/c/documents/-", "", "names", true);
  ASSERT_THAT(all, IsOk());
  EXPECT_EQ(all->document, kAllDocuments);
}

TEST(ResourceNameTest, LongNamesAreNotRepeatedWhole) {
  const auto parsed = ParseDocumentName(std::string(1 << 20, 'x'), "", "name");
  EXPECT_LT(parsed.status().message().size(), 500u);
}

TEST(ResourceNameTest, Collections) {
  EXPECT_EQ(*ParseCollectionName("collections/c", "t", "parent"), "t.c");
  EXPECT_EQ(*ParseCollectionName("collections/-", "t", "parent", true), "");
  EXPECT_THAT(ParseCollectionName("collections/-", "t", "parent"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ParseCollectionName("collections/c/", "t", "parent"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ResourceNameTest, ErrorsDoNotNameTheTenant) {
  const absl::Status status = MakeError(absl::StatusCode::kNotFound, "DOCUMENT_NOT_FOUND", "document ann.c/d");
  EXPECT_EQ(HideTenant(status, "ann").message(), "document c/d");
  EXPECT_EQ(ErrorReason(HideTenant(status, "ann")), "DOCUMENT_NOT_FOUND");
}

}  // namespace
}  // namespace ilre
