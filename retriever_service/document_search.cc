#include "retriever_service/document_search.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre {
namespace {

constexpr int kListPage = 1000;
constexpr int kMaxSearches = 4;  // while documents of a collection come and go

absl::Status AddCollection(const KeyStoreReader& store, const std::string& collection,
                           const std::function<bool()>& should_stop, std::vector<DocumentRow>* rows) {
  std::string after;
  do {
    if (should_stop && should_stop()) return errors::Cancelled("the search");
    ILRE_ASSIGN_OR_RETURN(auto page, store.ListDocuments(collection, kListPage, after));
    for (DocumentRow& row : page.rows) {
      if (row.state == DocumentState::kReady) rows->push_back(std::move(row));
    }
    after = std::move(page.next);
  } while (!after.empty());
  return absl::OkStatus();
}

bool IsGoneOrChanged(const absl::Status& status) {
  const std::string reason = ErrorReason(status);
  return reason == "DOCUMENT_NOT_FOUND" || reason == "DOCUMENT_CHANGED";
}

}  // namespace

absl::StatusOr<std::vector<DocumentRow>> FindDocuments(const KeyStoreReader& store,
                                                       absl::Span<const SearchTarget> targets,
                                                       const std::function<bool()>& should_stop) {
  std::vector<DocumentRow> found;
  for (const SearchTarget& target : targets) {
    if (target.document.empty()) {
      ILRE_RETURN_IF_ERROR(AddCollection(store, target.collection, should_stop, &found));
      continue;
    }
    auto row = store.GetDocument(target.collection, target.document);
    if (!row.ok()) return WithResource(row.status(), target.resource);
    found.push_back(*std::move(row));
  }
  if (found.empty()) {
    const std::string where = targets.empty() ? "" : targets[0].resource;
    return WithResource(
        MakeError(absl::StatusCode::kNotFound, "COLLECTION_EMPTY", absl::StrCat("no document is ready in ", where)),
        where);
  }
  std::unordered_set<uint64_t> seen;
  std::vector<DocumentRow> rows;
  for (DocumentRow& row : found) {
    if (seen.insert(row.uid).second) rows.push_back(std::move(row));
  }
  return rows;
}

absl::StatusOr<DocumentSearch> SearchDocuments(const Retriever& retriever, const KeyStoreReader& store,
                                               absl::Span<const SearchTarget> targets, absl::string_view question,
                                               const RetrieveOptions& options) {
  const bool has_collection =
      std::any_of(targets.begin(), targets.end(), [](const SearchTarget& target) { return target.document.empty(); });
  for (int searches = 1;; ++searches) {
    DocumentSearch search;
    ILRE_ASSIGN_OR_RETURN(search.documents, FindDocuments(store, targets, options.should_stop));
    auto retrieval = retriever.Retrieve(search.documents, question, options);
    if (retrieval.ok()) {
      search.retrieval = *std::move(retrieval);
      return search;
    }
    if (!has_collection || searches == kMaxSearches || !IsGoneOrChanged(retrieval.status())) return retrieval.status();
  }
}

}  // namespace ilre
