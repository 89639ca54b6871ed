// Where one small picture lies in another: edges, and normalised cross-correlation (Lewis 1995).
#pragma once

#include <cstddef>
#include <cstdint>

#include "resize.h"

namespace catalogd {

struct Plate {  // rows of `width` numbers, one after the other
    const float *values;
    int height, width;
};

// `out`: the source without its mean over a square of 2 * reach + 1, edges repeated.
void subtract_mean(const Plate &source, int reach, float *out);

struct Size {
    std::int64_t height, width;
};

struct Search {
    int height, width;    // that the whole is made before anything is looked for in it
    int reach;            // of the mean that is taken away
    double flat_share;    // of the variance of the whole: windows with less are left out
    double least_spread;  // sum of squares about its mean: windows with no more are left out
};

// out[i]: the highest correlation of the edges of `part`, made as large as sizes[i], with those of a
// window of its size in `whole`; 0 where there is none.
// Sizes are no larger than the search's.
void best_correlations(const Image &whole, const Image &part, const Search &search, const Size *sizes,
                       std::size_t count, double *out);

}  // namespace catalogd
