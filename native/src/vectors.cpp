#include "vectors.h"

#include <cstring>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define CATALOGD_F16C
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define CATALOGD_NEON
#include <arm_neon.h>
#endif

namespace catalogd {

namespace {

constexpr std::size_t kAhead = 4;  // rows that are fetched before their turn
constexpr std::size_t kLineValues = 32;  // float16 values in a cache line
constexpr std::size_t kLanes = 16;  // sums that the portable loop keeps apart, so that it vectorises

using Dot = float (*)(const std::uint16_t *, const float *, std::size_t);

// float16 as float32 of the same value: exponent and mantissa go where float32 has them, and the
// product repairs the bias of the exponent, also that of subnormal numbers. Infinity and NaN stay.
inline float widen(std::uint16_t half) {
    const std::uint32_t magnitude = (half & 0x7FFFu) << 13;
    float value;
    std::memcpy(&value, &magnitude, sizeof value);
    value *= 0x1p112f;
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits |= ((half & 0x7C00u) == 0x7C00u ? 0x7F800000u : 0u) | (half & 0x8000u) << 16;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

float dot_portable(const std::uint16_t *row, const float *query, std::size_t dimension) {
    float sums[kLanes] = {};
    std::size_t i = 0;
    for (; i + kLanes <= dimension; i += kLanes) {
        for (std::size_t lane = 0; lane < kLanes; ++lane) sums[lane] += widen(row[i + lane]) * query[i + lane];
    }
    float sum = 0;
    for (; i < dimension; ++i) sum += widen(row[i]) * query[i];
    for (const float lane : sums) sum += lane;
    return sum;
}

#if defined(CATALOGD_F16C)

__attribute__((target("avx2,fma,f16c"))) inline __m256 eight(const std::uint16_t *row) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(row)));
}

// Four sums hide the latency of the fused multiply-add.
__attribute__((target("avx2,fma,f16c"))) float dot_f16c(const std::uint16_t *row, const float *query,
                                                        std::size_t dimension) {
    __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;
    std::size_t i = 0;
    for (; i + 32 <= dimension; i += 32) {
        a = _mm256_fmadd_ps(eight(row + i), _mm256_loadu_ps(query + i), a);
        b = _mm256_fmadd_ps(eight(row + i + 8), _mm256_loadu_ps(query + i + 8), b);
        c = _mm256_fmadd_ps(eight(row + i + 16), _mm256_loadu_ps(query + i + 16), c);
        d = _mm256_fmadd_ps(eight(row + i + 24), _mm256_loadu_ps(query + i + 24), d);
    }
    for (; i + 8 <= dimension; i += 8) a = _mm256_fmadd_ps(eight(row + i), _mm256_loadu_ps(query + i), a);
    const __m256 sums = _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    float sum = _mm_cvtss_f32(_mm_add_ss(four, _mm_shuffle_ps(four, four, 1)));
    for (; i < dimension; ++i) sum += widen(row[i]) * query[i];
    return sum;
}

// AVX2 says that the system saves the wide registers; F16C and FMA are bits 29 and 12 of ECX in leaf 1.
Dot fastest() {
    unsigned eax, ebx, ecx = 0, edx;
    __builtin_cpu_init();
    const bool told = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0;
    const bool has_all = told && __builtin_cpu_supports("avx2") && (ecx >> 29 & 1) && (ecx >> 12 & 1);
    return has_all ? dot_f16c : dot_portable;
}

#elif defined(CATALOGD_NEON)

inline float32x4_t four(const std::uint16_t *row) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(row)));
}

float dot_neon(const std::uint16_t *row, const float *query, std::size_t dimension) {
    float32x4_t a = vdupq_n_f32(0), b = a, c = a, d = a;
    std::size_t i = 0;
    for (; i + 16 <= dimension; i += 16) {
        a = vfmaq_f32(a, four(row + i), vld1q_f32(query + i));
        b = vfmaq_f32(b, four(row + i + 4), vld1q_f32(query + i + 4));
        c = vfmaq_f32(c, four(row + i + 8), vld1q_f32(query + i + 8));
        d = vfmaq_f32(d, four(row + i + 12), vld1q_f32(query + i + 12));
    }
    float sum = vaddvq_f32(vaddq_f32(vaddq_f32(a, b), vaddq_f32(c, d)));
    for (; i < dimension; ++i) sum += widen(row[i]) * query[i];
    return sum;
}

Dot fastest() { return dot_neon; }

#else

Dot fastest() { return dot_portable; }

#endif

inline void fetch(const std::uint16_t *row, std::size_t dimension) {
#if defined(__GNUC__) || defined(__clang__)
    for (std::size_t i = 0; i < dimension; i += kLineValues) __builtin_prefetch(row + i);
#else
    (void)row, (void)dimension;
#endif
}

void dot_each(Dot dot, const HalfRows &source, const std::int64_t *rows, std::size_t count, const float *query,
              float *out) {
    const std::size_t dimension = source.dimension;
    for (std::size_t i = 0; i < count; ++i) {
        if (rows && i + kAhead < count) fetch(source.values + rows[i + kAhead] * dimension, dimension);
        out[i] = dot(source.values + (rows ? rows[i] : i) * dimension, query, dimension);
    }
}

}  // namespace

void dot_rows(const HalfRows &source, const std::int64_t *rows, std::size_t count, const float *query, float *out) {
    static const Dot dot = fastest();
    dot_each(dot, source, rows, count, query, out);
}

void dot_rows_portable(const HalfRows &source, const std::int64_t *rows, std::size_t count, const float *query,
                       float *out) {
    dot_each(dot_portable, source, rows, count, query, out);
}

}  // namespace catalogd
