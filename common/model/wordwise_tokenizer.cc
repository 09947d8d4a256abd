#include "common/model/wordwise_tokenizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre {
namespace {

absl::Status CheckId(const TokenizerSpec& spec, int32_t id, absl::string_view what) {
  if (id >= 0 && static_cast<size_t>(id) < spec.tokens.size()) return absl::OkStatus();
  return BadTokenizer(absl::StrCat(what, " is token ", id, " of ", spec.tokens.size()));
}

absl::Status CheckSpec(const TokenizerSpec& spec) {
  constexpr size_t kMaxTokens = size_t{1} << 24;
  if (spec.tokens.empty() || spec.tokens.size() > kMaxTokens) {
    return BadTokenizer(absl::StrCat("a vocabulary of ", spec.tokens.size(), " tokens"));
  }
  if (spec.types.size() != spec.tokens.size()) {
    return BadTokenizer(absl::StrCat(spec.types.size(), " token types for ", spec.tokens.size(), " tokens"));
  }
  if (!spec.scores.empty() && spec.scores.size() != spec.tokens.size()) {
    return BadTokenizer(absl::StrCat(spec.scores.size(), " token scores for ", spec.tokens.size(), " tokens"));
  }
  for (size_t id = 0; id < spec.scores.size(); ++id) {
    if (std::isnan(spec.scores[id])) return BadTokenizer(absl::StrCat("the score of token ", id, " is not a number"));
  }
  if (spec.bos_id != -1) ILRE_RETURN_IF_ERROR(CheckId(spec, spec.bos_id, "the begin token"));
  if (spec.eos_id != -1) ILRE_RETURN_IF_ERROR(CheckId(spec, spec.eos_id, "the end token"));
  for (int32_t id : spec.stop_ids) ILRE_RETURN_IF_ERROR(CheckId(spec, id, "a stop token"));
  if (spec.add_bos && spec.bos_id == -1) return BadTokenizer("a begin token is wanted, but there is none");
  return absl::OkStatus();
}

}  // namespace

absl::Status BadTokenizer(absl::string_view why) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_TOKENIZER", absl::StrCat("tokenizer: ", why));
}

absl::Status BadMerge(size_t rank, absl::string_view left, absl::string_view right, bool is_token) {
  return BadTokenizer(absl::StrCat("merge ", rank, ", \"", absl::CHexEscape(left), "\" and \"", absl::CHexEscape(right),
                                   is_token ? "\", is not of normal tokens" : "\", is of a token that is missing"));
}

absl::Status WordwiseTokenizer::Init(TokenizerSpec spec) {
  ILRE_RETURN_IF_ERROR(CheckSpec(spec));
  spec_ = std::move(spec);
  ids_.reserve(spec_.tokens.size());
  for (size_t id = 0; id < spec_.tokens.size(); ++id) {
    if (spec_.tokens[id].empty()) {
      if (IsNormal(id)) return BadTokenizer(absl::StrCat("token ", id, " is empty"));
      continue;
    }
    const auto [other, is_new] = ids_.emplace(spec_.tokens[id], static_cast<TokenId>(id));
    if (!is_new) {
      return BadTokenizer(absl::StrCat("tokens ", other->second, " and ", id, " are both spelled \"",
                                       absl::CHexEscape(spec_.tokens[id]), "\""));
    }
  }
  token_begins_.reserve(spec_.tokens.size() + 1);
  return absl::OkStatus();
}

void WordwiseTokenizer::AddTokenBytes(absl::string_view bytes) {
  token_bytes_.append(bytes.data(), bytes.size());
  token_begins_.push_back(token_bytes_.size());
}

void WordwiseTokenizer::Finish() {
  Scratch scratch;
  std::vector<TokenId> one_token;
  for (TokenId id = 0; id < vocab_size(); ++id) {
    const TokenType type = spec_.types[id];
    if (type == TokenType::kControl || type == TokenType::kUnknown) {
      special_tokens_.Add(spec_.tokens[id], id);
    } else if (type == TokenType::kUserDefined) {
      special_tokens_.Add(std::string(TokenBytes(id)), id);
      if (UserDefinedAreText()) text_tokens_.Add(std::string(TokenBytes(id)), id);
    } else if (IsNormal(id) && IsOneToken(id, &scratch)) {
      one_token.push_back(id);
    }
  }
  one_token_words_ = WordTable(one_token.size());
  for (TokenId id : one_token) one_token_words_.Add(TokenBytes(id), id);
}

// Merging the bytes of a token need not give that token again; the table must not claim so.
bool WordwiseTokenizer::IsOneToken(TokenId id, Scratch* scratch) const {
  const absl::string_view bytes = TokenBytes(id);
  if (bytes.empty() || bytes.size() > kMaxWordBytes) return false;
  if (spec_.ignore_merges) return true;
  Tokens tokens;
  MergeWord(bytes, 0, scratch, &tokens);
  return tokens.ids.size() == 1 && tokens.ids[0] == id;
}

absl::string_view WordwiseTokenizer::TokenBytes(TokenId id) const {
  if (id < 0 || id >= vocab_size()) return {};
  return absl::string_view(token_bytes_).substr(token_begins_[id], token_begins_[id + 1] - token_begins_[id]);
}

TokenId WordwiseTokenizer::FindToken(absl::string_view spelling) const {
  const auto found = ids_.find(spelling);
  return found == ids_.end() ? -1 : found->second;
}

Tokens WordwiseTokenizer::Encode(absl::string_view text, SpecialTokens special, TextPosition position) const {
  Tokens tokens;
  tokens.ids.reserve(text.size() / 3);
  tokens.ends.reserve(text.size() / 3);
  RecentWords recent(text.size());
  Scratch scratch;
  const SpecialTokenFinder& finder = special == SpecialTokens::kParse ? special_tokens_ : text_tokens_;
  bool space_prefix = spec_.add_space_prefix && position == TextPosition::kStart;
  for (size_t begin = 0; begin < text.size();) {
    const SpecialTokenFinder::Match match = finder.Find(text, begin);
    EncodeText(text.substr(0, match.begin), begin, space_prefix, &recent, &scratch, &tokens);
    if (match.id >= 0) {
      tokens.ids.push_back(match.id);
      tokens.ends.push_back(match.end);
    }
    begin = match.end;
    // As llama.cpp and Llama's first tokenizer.json have it, behind each special token that is no text.
    space_prefix = spec_.add_space_prefix && !spec_.space_prefix_if_missing &&
                   !(UserDefinedAreText() && match.id >= 0 && !IsControl(match.id));
  }
  // Bytes that the vocabulary cannot say belong to the next token, or at the end to the last.
  if (!tokens.ends.empty()) tokens.ends.back() = text.size();
  return tokens;
}

// Encodes all of `text` from `base` on.
void WordwiseTokenizer::EncodeText(absl::string_view text, uint32_t base, bool space_prefix, RecentWords* recent,
                                   Scratch* scratch, Tokens* tokens) const {
  const absl::string_view rest = text.substr(base);
  size_t begin = 0;
  if (space_prefix && !rest.empty() && !(spec_.space_prefix_if_missing && rest[0] == ' ')) {
    begin = ScanWord(rest, 0).end;
    EncodePrefixedWord(rest.substr(0, begin), base, scratch, tokens);
  }
  while (begin < rest.size()) {
    const size_t end = ScanWord(rest, begin).end;
    EncodeWord(text, base + begin, base + end, recent, scratch, tokens);
    begin = end;
  }
}

void WordwiseTokenizer::EncodeWord(absl::string_view all, uint32_t begin, uint32_t end, RecentWords* recent,
                                   Scratch* scratch, Tokens* tokens) const {
  const absl::string_view word = all.substr(begin, end - begin);
  const uint64_t hash = HashWord(word);
  const TokenId known = one_token_words_.Find(word, hash);
  if (known >= 0) {
    tokens->ids.push_back(known);
    tokens->ends.push_back(end);
    return;
  }
  RecentWords::Entry& entry = recent->Place(hash);
  if (entry.size == word.size() && all.substr(entry.begin, entry.size) == word) {
    for (uint32_t i = entry.first_token; i < entry.first_token + entry.num_tokens; ++i) {
      tokens->ids.push_back(TokenId{tokens->ids[i]});
      tokens->ends.push_back(tokens->ends[i] - entry.begin + begin);
    }
    return;
  }
  const uint32_t first_token = static_cast<uint32_t>(tokens->ids.size());
  MergeWord(word, begin, scratch, tokens);
  const uint32_t num_tokens = static_cast<uint32_t>(tokens->ids.size()) - first_token;
  entry = {begin, static_cast<uint32_t>(word.size()), first_token, num_tokens};
}

// As if a space were written before the word; its token, if it keeps one of its own, ends where the word begins.
void WordwiseTokenizer::EncodePrefixedWord(absl::string_view word, uint32_t base, Scratch* scratch,
                                           Tokens* tokens) const {
  scratch->prefixed.assign(1, ' ').append(word.data(), word.size());
  const size_t first = tokens->ends.size();
  MergeWord(scratch->prefixed, base, scratch, tokens);
  for (size_t i = first; i < tokens->ends.size(); ++i) --tokens->ends[i];
}

size_t WordwiseTokenizer::SafePrefix(absl::string_view buffer) const {
  constexpr size_t kNearEnd = 4096;  // bytes that are not worth a scan
  // Bytes without a token belong to a token beside them: no cut between them, if it can be helped. So each part has a
  // token.
  const auto is_good = [&](size_t at) {
    return at > 0 && at < buffer.size() && HasByte(static_cast<uint8_t>(buffer[at - 1])) &&
           HasByte(static_cast<uint8_t>(buffer[at]));
  };
  size_t last = BlankBeginsWord() ? LastCertainBreak(buffer) : 0;
  size_t last_good = is_good(last) ? last : 0;
  if (last_good > 0 && buffer.size() - last_good <= kNearEnd) return last_good;
  // Behind that, a token that is text could begin which the buffer does not show whole.
  const size_t last_sure = buffer.size() - std::min(buffer.size(), std::max<size_t>(text_tokens_.max_bytes(), 1) - 1);
  SpecialTokenFinder::Match match = text_tokens_.Find(buffer, last);
  for (size_t begin = last; begin < buffer.size();) {
    WordEnd word{match.end};
    if (begin < match.begin) {
      word = ScanWord(buffer.substr(0, match.begin), begin);
      if (word.open && match.id < 0) break;
    } else {
      match = text_tokens_.Find(buffer, match.end);
    }
    begin = word.end;
    if (begin > last_sure) break;
    if (!word.can_cut) continue;
    last = begin;
    if (is_good(last)) last_good = last;
  }
  return buffer.size() - last_good <= kMaxWordBytes ? last_good : last;
}

}  // namespace ilre
