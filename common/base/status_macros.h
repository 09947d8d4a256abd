// Early return on error, for functions that return absl::Status or absl::StatusOr<T>.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the enclosing function when `expr`, an absl::Status, is an error.
#define ILRE_RETURN_IF_ERROR(expr)                                                \
  do {                                                                            \
    if (absl::Status ilre_status = (expr); !ilre_status.ok()) return ilre_status; \
  } while (false)

#define ILRE_STATUS_CONCAT_INNER(a, b) a##b
#define ILRE_STATUS_CONCAT(a, b) ILRE_STATUS_CONCAT_INNER(a, b)

// Assigns the value of `expr`, an absl::StatusOr<T>, to `lhs` (which may be a declaration), or returns its error.
#define ILRE_ASSIGN_OR_RETURN(lhs, expr) \
  ILRE_ASSIGN_OR_RETURN_INNER(ILRE_STATUS_CONCAT(ilre_status_or_, __LINE__), lhs, expr)
#define ILRE_ASSIGN_OR_RETURN_INNER(holder, lhs, expr) \
  auto holder = (expr);                                \
  if (!holder.ok()) return std::move(holder).status(); \
  lhs = *std::move(holder)
