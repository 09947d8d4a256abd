// Broken invariants of this program end it at once; whatever comes from outside is a Status instead.
#pragma once

#include <cstdio>
#include <cstdlib>

#define ILRE_CHECK(condition)                                                            \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)
