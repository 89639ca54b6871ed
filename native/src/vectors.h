// Exact scans of embeddings: dot products of stored float16 rows with one float32 query.
#pragma once

#include <cstddef>
#include <cstdint>

namespace catalogd {

struct HalfRows {
    const std::uint16_t *values;  // the bits of float16[count, dimension]
    std::size_t count, dimension;
};

// out[i] = row rows[i] · query; row i when `rows` is null. A row's product is the same number wherever it
// stands. Needs rows[i] < source.count for all i < count.
void dot_rows(const HalfRows &source, const std::int64_t *rows, std::size_t count, const float *query, float *out);

// The same in portable C++, without the instructions of a newer CPU.
void dot_rows_portable(const HalfRows &source, const std::int64_t *rows, std::size_t count, const float *query,
                       float *out);

}  // namespace catalogd
