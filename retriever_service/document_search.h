// A question asked of documents by their names, of whole collections, or of both together.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/store/key_store.h"
#include "retriever_service/retriever.h"

namespace ilre {

// What a name stands for.
struct SearchTarget {
  std::string collection;  // as the store knows it
  std::string document;    // empty: every document of the collection that is READY
  std::string resource;    // what an error that it causes names
};

// Each document once, in the order of the targets and then of names. Errors: NOT_FOUND with reason DOCUMENT_NOT_FOUND,
// or COLLECTION_EMPTY where there is nothing to search at all; CANCELLED when should_stop (if any) says so.
absl::StatusOr<std::vector<DocumentRow>> FindDocuments(const KeyStoreReader& store,
                                                       absl::Span<const SearchTarget> targets,
                                                       const std::function<bool()>& should_stop);

struct DocumentSearch {
  std::vector<DocumentRow> documents;  // that were searched; what `retrieval` counts by index
  Retrieval retrieval;
};

// Finds the documents and asks them. A document that a collection stands for, and that is deleted or changed while it
// is being searched, is no error: the search is made anew over what is there then, a few times at the most. One that
// was named is.
absl::StatusOr<DocumentSearch> SearchDocuments(const Retriever& retriever, const KeyStoreReader& store,
                                               absl::Span<const SearchTarget> targets, absl::string_view question,
                                               const RetrieveOptions& options);

}  // namespace ilre
