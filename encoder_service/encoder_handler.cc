#include "encoder_service/encoder_handler.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/api/document_proto.h"
#include "common/api/resource_name.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre {
namespace {

constexpr int kDefaultPageSize = 100, kMaxPageSize = 1000;

absl::Status CheckEtag(const DocumentRow& row, const std::string& etag, const std::string& name) {
  if (etag.empty() || etag == EtagOf(row)) return absl::OkStatus();
  return MakeError(absl::StatusCode::kAborted, "ETAG_MISMATCH",
                   absl::StrCat("document ", name, " has changed: its etag is ", EtagOf(row)));
}

}  // namespace

std::unique_ptr<IngestSession> EncoderHandler::NewIngest(const CallContext& context,
                                                         IngestSession::Acknowledge acknowledge) {
  return std::make_unique<IngestSession>(
      IngestDependencies{.store = &store_, .model = &model_, .registry = &registry_, .limits = limits_}, context,
      std::move(acknowledge));
}

absl::Status EncoderHandler::GetIngestStatus(const CallContext& context, const v1::GetIngestStatusRequest& request,
                                             v1::IngestProgress* response) {
  v1::GetDocumentRequest get;
  get.set_name(request.name());
  ILRE_RETURN_IF_ERROR(GetDocument(context, get, response->mutable_document()));
  response->set_committed_bytes(response->document().committed_bytes());
  response->set_token_count(response->document().token_count());
  return absl::OkStatus();
}

absl::Status EncoderHandler::CreateDocument(const CallContext& context, const v1::CreateDocumentRequest& request,
                                            v1::Document* response) {
  ILRE_ASSIGN_OR_RETURN(const std::string collection, ParseCollectionName(request.parent(), context.tenant, "parent"));
  if (!IsValidName(request.document_id())) {
    return errors::InvalidField("document_id", "is not 1 to 63 lower-case letters, digits and inner hyphens");
  }
  DocumentRow row;
  row.collection = collection;
  row.document = request.document_id();
  row.model = model_.model_fingerprint();
  row.tokenizer = model_.tokenizer().fingerprint();
  row.profile = model_.encoding_fingerprint();
  if (request.document().has_expire_time()) {
    ILRE_ASSIGN_OR_RETURN(row.expire_time_ms,
                          ParseFutureTime(request.document().expire_time(), absl::Now(), "document.expire_time"));
  }
  const auto created = store_.CreateDocument(row);
  if (!created.ok()) return WithResource(created.status(), DocumentResourceName(collection, row.document));
  ToProto(*created, response);
  return absl::OkStatus();
}

absl::Status EncoderHandler::GetDocument(const CallContext& context, const v1::GetDocumentRequest& request,
                                         v1::Document* response) {
  ILRE_ASSIGN_OR_RETURN(const StoredName name, ParseDocumentName(request.name(), context.tenant, "name"));
  const auto row = store_.GetDocument(name.collection, name.document);
  if (!row.ok()) return WithResource(row.status(), request.name());
  ToProto(*row, response);
  return absl::OkStatus();
}

absl::Status EncoderHandler::ListDocuments(const CallContext& context, const v1::ListDocumentsRequest& request,
                                           v1::ListDocumentsResponse* response) {
  ILRE_ASSIGN_OR_RETURN(const std::string collection,
                        ParseCollectionName(request.parent(), context.tenant, "parent", /*allow_all=*/true));
  if (request.page_size() < 0) return errors::InvalidField("page_size", "is negative");
  const size_t page_size =
      request.page_size() == 0 ? kDefaultPageSize : std::min<size_t>(kMaxPageSize, request.page_size());
  // The store lists all collections of a tenant by itself; of the one user it lists everybody's, to be sifted here.
  const std::string wanted_collections =
      collection.empty() && !context.tenant.empty() ? absl::StrCat(context.tenant, ".") : collection;
  std::string after = request.page_token();
  while (static_cast<size_t>(response->documents_size()) < page_size) {
    ILRE_RETURN_IF_ERROR(context.Check("listing"));
    const int wanted = static_cast<int>(page_size) - response->documents_size();
    auto page = store_.ListDocuments(wanted_collections, wanted, after);
    if (!page.ok()) return WithField(page.status(), "page_token");
    for (const DocumentRow& row : page->rows) {
      if (IsOfTenant(row.collection, context.tenant)) ToProto(row, response->add_documents());
    }
    after = std::move(page->next);
    if (after.empty()) break;
  }
  response->set_next_page_token(after);
  return absl::OkStatus();
}

absl::Status EncoderHandler::UpdateDocument(const CallContext& context, const v1::UpdateDocumentRequest& request,
                                            v1::Document* response) {
  const v1::Document& wanted = request.document();
  ILRE_ASSIGN_OR_RETURN(const StoredName name, ParseDocumentName(wanted.name(), context.tenant, "document.name"));
  for (const std::string& path : request.update_mask().paths()) {
    if (path != "expire_time") {
      return errors::InvalidField("update_mask", "only expire_time can be changed");
    }
  }
  int64_t expire_time_ms = 0;
  if (wanted.has_expire_time()) {
    ILRE_ASSIGN_OR_RETURN(expire_time_ms, ParseFutureTime(wanted.expire_time(), absl::Now(), "document.expire_time"));
  }
  const auto update = [&]() -> absl::Status {
    ILRE_ASSIGN_OR_RETURN(DocumentRow row, store_.GetDocument(name.collection, name.document));
    ILRE_RETURN_IF_ERROR(CheckEtag(row, wanted.etag(), wanted.name()));
    row.expire_time_ms = expire_time_ms;
    ILRE_ASSIGN_OR_RETURN(row, store_.UpdateRow(row));
    ToProto(row, response);
    return absl::OkStatus();
  };
  return WithResource(update(), wanted.name());
}

absl::Status EncoderHandler::DeleteDocument(const CallContext& context, const v1::DeleteDocumentRequest& request) {
  ILRE_ASSIGN_OR_RETURN(const StoredName name, ParseDocumentName(request.name(), context.tenant, "name"));
  const auto remove = [&]() -> absl::Status {
    if (!request.etag().empty()) {
      ILRE_ASSIGN_OR_RETURN(const DocumentRow row, store_.GetDocument(name.collection, name.document));
      ILRE_RETURN_IF_ERROR(CheckEtag(row, request.etag(), request.name()));
    }
    return store_.DeleteDocument(name.collection, name.document);
  };
  const absl::Status status = remove();
  if (absl::IsNotFound(status) && request.allow_missing()) return absl::OkStatus();
  return WithResource(status, request.name());
}

}  // namespace ilre
