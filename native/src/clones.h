// Lets a hot loop be compiled twice: for every x86-64 CPU, and for those with AVX2, chosen when the
// library is loaded. The wheel stays portable and newer CPUs are not held back. Elsewhere (arm64,
// macOS, sanitizers) the baseline already vectorises and the macro is empty.
#pragma once

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(CATALOGD_SANITIZE)
#define CATALOGD_CLONES __attribute__((target_clones("default", "avx2")))
#else
#define CATALOGD_CLONES
#endif
