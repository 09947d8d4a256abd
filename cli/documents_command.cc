#include "cli/documents_command.h"

#include <cstdio>
#include <functional>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "cli/document_name.h"
#include "cli/json_output.h"
#include "cli/progress.h"
#include "cli/remote_commands.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/store/block_digest.h"
#include "common/store/key_store.h"

namespace ilre::cli {
namespace {

constexpr int kPageSize = 1000;

absl::StatusOr<std::unique_ptr<KeyStoreReader>> OpenForReading(const Settings& settings) {
  ILRE_ASSIGN_OR_RETURN(const std::string data_dir, DataDirectory(settings));
  return OpenKeyStoreFollower(data_dir, {});
}

absl::Status ForEachDocument(const KeyStoreReader& store, const std::string& collection,
                             const std::function<absl::Status(const DocumentRow&)>& visit) {
  std::string after;
  do {
    ILRE_ASSIGN_OR_RETURN(const KeyStoreReader::Page page, store.ListDocuments(collection, kPageSize, after));
    for (const DocumentRow& row : page.rows) ILRE_RETURN_IF_ERROR(visit(row));
    after = page.next;
  } while (!after.empty());
  return absl::OkStatus();
}

std::string TimeText(int64_t ms) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", absl::FromUnixMillis(ms), absl::UTCTimeZone());
}

Json RowJson(const DocumentRow& row) {
  Json json = {{"name", row.collection + "/" + row.document},
               {"state", std::string(DocumentStateName(row.state))},
               {"bytes", row.committed_bytes},
               {"tokens", row.num_tokens},
               {"model", row.model},
               {"tokenizer", row.tokenizer},
               {"profile", row.profile},
               {"created", TimeText(row.create_time_ms)},
               {"updated", TimeText(row.update_time_ms)}};
  if (row.uid != 0) {  // a server does not say these
    json["blocks"] = row.num_blocks;
    json["text_checksum"] = absl::StrCat(absl::Hex(row.text_checksum, absl::kZeroPad16));
    json["revision"] = row.revision;
  }
  if (row.expire_time_ms != 0) json["expires"] = TimeText(row.expire_time_ms);
  if (!row.failure.empty()) json["failure"] = row.failure;
  return json;
}

// Reads every record of a document; the first damaged one is the error.
absl::Status VerifyDocument(const KeyStoreReader& store, const DocumentRow& row) {
  uint64_t tokens = 0;
  ILRE_RETURN_IF_ERROR(store.VisitBlocks(row, 0, row.num_blocks, [&](const BlockView& block) {
    tokens += static_cast<uint64_t>(block.num_tokens());
    return absl::OkStatus();
  }));
  for (uint32_t begin = 0; begin < row.num_blocks; begin += 64) {
    ILRE_RETURN_IF_ERROR(store.ReadText(row, begin, std::min(begin + 64, row.num_blocks)).status());
  }
  const absl::Status lexical =
      store.VisitLexical(row, 0, row.num_blocks, [](uint32_t, const LexicalData&) { return absl::OkStatus(); });
  if (!lexical.ok() && !absl::IsFailedPrecondition(lexical)) return lexical;
  if (row.committed_bytes > 0) ILRE_RETURN_IF_ERROR(store.ReadState(row).status());
  if (tokens == row.num_tokens) return absl::OkStatus();
  return MakeError(absl::StatusCode::kDataLoss, "ROW_DAMAGED",
                   absl::StrCat("document ", row.collection, "/", row.document, ": its blocks have ", tokens,
                                " tokens, its row says ", row.num_tokens));
}

absl::Status PrintSegments(const KeyStoreReader& store, const DocumentRow& row) {
  std::string text;  // of the open segment
  uint64_t byte_begin = 0, byte_end = 0;
  uint32_t token_begin = 0, token_end = 0;
  const auto print = [&] {
    if (token_end == token_begin) return;
    std::printf("%s\n", DumpLine({{"token_begin", token_begin},
                                  {"token_end", token_end},
                                  {"byte_begin", byte_begin},
                                  {"byte_end", byte_end},
                                  {"text", text}})
                            .c_str());
  };
  ILRE_RETURN_IF_ERROR(store.VisitBlocks(row, 0, row.num_blocks, [&](const BlockView& block) -> absl::Status {
    ILRE_ASSIGN_OR_RETURN(const std::string block_text, store.ReadText(row, block.block(), block.block() + 1));
    for (int i = 0; i < block.num_tokens(); ++i) {
      const uint32_t begin = i > 0 ? block.token_end(i - 1) : 0, end = block.token_end(i);
      if (block.starts_segment(i)) {
        print();
        text.clear();
        byte_begin = block.text_begin() + begin;
        token_begin = block.block() * kBlockTokens + static_cast<uint32_t>(i);
      }
      if (end > block_text.size())
        return MakeError(absl::StatusCode::kDataLoss, "TEXT_DAMAGED", "a block's text is too short");
      text += block_text.substr(begin, end - begin);
      byte_end = block.text_begin() + end;
      token_end = block.block() * kBlockTokens + static_cast<uint32_t>(i) + 1;
    }
    return absl::OkStatus();
  }));
  print();
  return absl::OkStatus();
}

// "BLOCK TOKENS DIGEST TEXT-DIGEST WORDS-DIGEST", the last "-" where the profile stores no postings: documents of the
// same text print the same lines, however their text was cut into pieces and their ingest interrupted.
absl::Status PrintChecksums(const KeyStoreReader& store, const DocumentRow& row) {
  std::vector<std::string> words(row.num_blocks, "-");
  const absl::Status lexical =
      store.VisitLexical(row, 0, row.num_blocks, [&](uint32_t block, const LexicalData& postings) {
        words[block] = LexicalDigest(postings);
        return absl::OkStatus();
      });
  if (!lexical.ok() && !absl::IsFailedPrecondition(lexical)) return lexical;
  return store.VisitBlocks(row, 0, row.num_blocks, [&](const BlockView& block) -> absl::Status {
    ILRE_ASSIGN_OR_RETURN(const std::string text, store.ReadText(row, block.block(), block.block() + 1));
    std::printf("%u %d %s %s %s\n", block.block(), block.num_tokens(), BlockDigest(block).c_str(),
                TextDigest(text).c_str(), words[block.block()].c_str());
    return absl::OkStatus();
  });
}

absl::Status InspectStore(const KeyStoreReader& store, const InspectArguments& arguments) {
  ILRE_ASSIGN_OR_RETURN(const KeyStoreReader::Stats stats, store.GetStats());
  uint64_t documents = 0, tokens = 0, bytes = 0, damaged = 0;
  ILRE_RETURN_IF_ERROR(ForEachDocument(store, arguments.collection, [&](const DocumentRow& row) {
    ++documents;
    tokens += row.num_tokens;
    bytes += row.committed_bytes;
    if (arguments.verify) {
      if (const absl::Status status = VerifyDocument(store, row); !status.ok()) {
        std::fprintf(stderr, "ilre: %s\n", std::string(status.message()).c_str());
        ++damaged;
      }
    }
    return absl::OkStatus();
  }));
  const double per_token = tokens > 0 ? static_cast<double>(stats.disk_bytes) / static_cast<double>(tokens) : 0;
  if (arguments.json) {
    Json json = {{"documents", documents},
                 {"tokens", tokens},
                 {"text_bytes", bytes},
                 {"disk_bytes", stats.disk_bytes},
                 {"bytes_per_token", per_token}};
    if (arguments.verify) json["damaged"] = damaged;
    std::printf("%s\n", DumpLine(json).c_str());
  } else {
    std::printf("%s documents, %s tokens, %s bytes of text, %s bytes on disk (%.1f a token)\n",
                WithCommas(documents).c_str(), WithCommas(tokens).c_str(), WithCommas(bytes).c_str(),
                WithCommas(stats.disk_bytes).c_str(), per_token);
  }
  if (damaged == 0) return absl::OkStatus();
  return MakeError(absl::StatusCode::kDataLoss, "STORE_DAMAGED", absl::StrCat(damaged, " documents are damaged"));
}

}  // namespace

absl::Status RunDocumentsList(const Settings& settings, const DocumentsArguments& arguments) {
  const auto print = [&](const DocumentRow& row) {
    if (arguments.json) {
      std::printf("%s\n", DumpLine(RowJson(row)).c_str());
    } else {
      std::printf("%-40s %-10s %14s tokens %14s bytes  %s\n", absl::StrCat(row.collection, "/", row.document).c_str(),
                  std::string(DocumentStateName(row.state)).c_str(), WithCommas(row.num_tokens).c_str(),
                  WithCommas(row.committed_bytes).c_str(), TimeText(row.update_time_ms).c_str());
    }
    return absl::OkStatus();
  };
  if (!settings.server.empty()) return ForEachRemoteDocument(settings, arguments.collection, print);
  ILRE_ASSIGN_OR_RETURN(const auto store, OpenForReading(settings));
  return ForEachDocument(*store, arguments.collection, print);
}

absl::Status RunDocumentsShow(const Settings& settings, const DocumentsArguments& arguments) {
  ILRE_ASSIGN_OR_RETURN(const DocumentName name, ParseDocumentName(arguments.name, arguments.collection));
  DocumentRow row;
  if (!settings.server.empty()) {
    ILRE_ASSIGN_OR_RETURN(row, GetRemoteDocument(settings, name));
  } else {
    ILRE_ASSIGN_OR_RETURN(const auto store, OpenForReading(settings));
    ILRE_ASSIGN_OR_RETURN(row, store->GetDocument(name.collection, name.document));
  }
  if (arguments.json) {
    std::printf("%s\n", DumpLine(RowJson(row)).c_str());
    return absl::OkStatus();
  }
  const Json json = RowJson(row);
  for (const auto& [field, value] : json.items()) {
    std::printf("%-14s %s\n", field.c_str(),
                value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
  }
  return absl::OkStatus();
}

absl::Status RunDocumentsDelete(const Settings& settings, const DocumentsArguments& arguments) {
  ILRE_ASSIGN_OR_RETURN(const DocumentName name, ParseDocumentName(arguments.name, arguments.collection));
  if (!settings.server.empty()) {
    ILRE_RETURN_IF_ERROR(DeleteRemoteDocument(settings, name));
  } else {
    ILRE_ASSIGN_OR_RETURN(const std::string data_dir, DataDirectory(settings));
    ILRE_ASSIGN_OR_RETURN(const auto store, OpenKeyStore(data_dir, {}));
    ILRE_RETURN_IF_ERROR(store->DeleteDocument(name.collection, name.document));
    ILRE_RETURN_IF_ERROR(store->CompactDeleted());
  }
  std::printf("%s is deleted\n", name.ToString().c_str());
  return absl::OkStatus();
}

absl::Status RunInspect(const Settings& settings, const InspectArguments& arguments) {
  if (!settings.server.empty()) return errors::InvalidArgument("inspect looks into a store: it has no --server");
  ILRE_ASSIGN_OR_RETURN(const auto store, OpenForReading(settings));
  if (arguments.name.empty()) return InspectStore(*store, arguments);
  ILRE_ASSIGN_OR_RETURN(const DocumentName name, ParseDocumentName(arguments.name, arguments.collection));
  ILRE_ASSIGN_OR_RETURN(const DocumentRow row, store->GetDocument(name.collection, name.document));
  if (arguments.segments) return PrintSegments(*store, row);
  if (arguments.checksums) return PrintChecksums(*store, row);
  if (arguments.verify) {
    ILRE_RETURN_IF_ERROR(VerifyDocument(*store, row));
    std::printf("%s: all records of its %u blocks are sound\n", name.ToString().c_str(), row.num_blocks);
    return absl::OkStatus();
  }
  return RunDocumentsShow(settings, {arguments.name, arguments.collection, arguments.json});
}

}  // namespace ilre::cli
