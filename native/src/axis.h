// The weights of one axis of an antialiased resize.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace catalogd {

// For each output position of one axis: where its source pixels begin and their weights, which sum
// to 1. Every position has `count` weights (the last ones may be 0), so that the loops are uniform.
struct Axis {
    int count;
    std::vector<int> first;
    std::vector<float> weights;
};

// How much the source pixel at `position` counts for an output pixel that lies at `centre` and is
// `scale` source pixels wide.
using Weigh = double (*)(double centre, double scale, int position);

// Keys 1981 with a = -1/2 (Catmull-Rom), widened to the size of an output pixel when shrinking.
inline double cubic(double centre, double scale, int position) {
    const double x = std::abs(position + 0.5 - centre) / std::max(scale, 1.0);
    if (x < 1.0) return (1.5 * x - 2.5) * x * x + 1.0;
    return x < 2.0 ? ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0 : 0.0;
}

// Shrinking weighs a source pixel by the share of it that an output pixel covers (exact area
// coverage). Enlarging interpolates between the two nearest pixel centres.
inline double coverage(double centre, double scale, int position) {
    if (scale > 1.0) {
        const double low = std::max(centre - scale / 2, static_cast<double>(position));
        const double high = std::min(centre + scale / 2, position + 1.0);
        return std::max(high - low, 0.0);
    }
    return std::max(1.0 - std::abs(position + 0.5 - centre), 0.0);
}

// Linear between pixel centres, widened to the size of an output pixel when shrinking.
inline double triangle(double centre, double scale, int position) {
    return std::max(1.0 - std::abs(position + 0.5 - centre) / std::max(scale, 1.0), 0.0);
}

// Half the width of what an output pixel sees, in source pixels.
inline double reach_of(Weigh weigh, double scale) {
    if (weigh == cubic) return 2.0 * std::max(scale, 1.0);
    return weigh == triangle ? std::max(scale, 1.0) : std::max(scale / 2, 1.0);
}

// `length` source pixels from `start` (both may lie between pixels) become `target` output pixels;
// the source has `source` of them.
inline Axis make_axis(double start, double length, int source, int target, Weigh weigh = cubic) {
    const double scale = length / target;
    const double reach = reach_of(weigh, scale);
    Axis axis;
    axis.count = std::min(static_cast<int>(std::ceil(2 * reach)) + 1, source);
    axis.first.resize(target);
    axis.weights.assign(static_cast<std::size_t>(target) * axis.count, 0.0f);
    for (int i = 0; i < target; ++i) {
        const double centre = start + (i + 0.5) * scale;
        const int lowest = static_cast<int>(std::floor(centre - reach));
        const int first = std::clamp(lowest, 0, source - axis.count);
        float *weights = &axis.weights[static_cast<std::size_t>(i) * axis.count];
        double sum = 0.0;
        for (int k = 0; k < axis.count; ++k) sum += weigh(centre, scale, first + k);
        for (int k = 0; k < axis.count; ++k) {
            weights[k] = static_cast<float>(weigh(centre, scale, first + k) / sum);
        }
        axis.first[i] = first;
    }
    return axis;
}

}  // namespace catalogd
