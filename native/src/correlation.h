// Where one small picture lies in another: edges, and normalised cross-correlation (Lewis 1995).
#pragma once

namespace catalogd {

struct Plate {  // rows of `width` numbers, one after the other
    const float *values;
    int height, width;
};

// `out`: the source without its mean over a square of 2 * reach + 1, edges repeated.
void subtract_mean(const Plate &source, int reach, float *out);

// The highest correlation of `part`, whose mean is 0, with a window of its size in `whole`, no lower than
// 0. Windows whose sum of squares about their mean is at most `least_spread` are left out.
double best_correlation(const Plate &whole, const Plate &part, double least_spread);

}  // namespace catalogd
