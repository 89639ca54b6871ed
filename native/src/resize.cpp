#include "resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "clones.h"

namespace catalogd {
namespace {

constexpr int kChannels = 3;
constexpr int kBlockRows = 16;  // rows that are turned together: 48 bytes of a target row at a time

// For each output position of one axis: where its source pixels begin and their weights, which sum
// to 1. Every position has `count` weights (the last ones may be 0), so that the loops are uniform.
struct Axis {
    int count;
    std::vector<int> first;
    std::vector<float> weights;
};

// Shrinking weighs a source pixel by the share of it that an output pixel covers (exact area
// coverage). Enlarging interpolates between the two nearest pixel centres.
double coverage(double centre, double scale, int position) {
    if (scale > 1.0) {
        const double low = std::max(centre - scale / 2, static_cast<double>(position));
        const double high = std::min(centre + scale / 2, position + 1.0);
        return std::max(high - low, 0.0);
    }
    return std::max(1.0 - std::abs(position + 0.5 - centre), 0.0);
}

Axis make_axis(double start, double length, int source, int target) {
    const double scale = length / target;
    const double reach = scale > 1.0 ? scale / 2 : 1.0;
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
        for (int k = 0; k < axis.count; ++k) sum += coverage(centre, scale, first + k);
        for (int k = 0; k < axis.count; ++k) {
            weights[k] = static_cast<float>(coverage(centre, scale, first + k) / sum);
        }
        axis.first[i] = first;
    }
    return axis;
}

// mixed[i] = sum over k of weights[k] * rows[k][i]. Two rows a turn halve the passes over `mixed`.
CATALOGD_CLONES
void mix_rows(const std::uint8_t *__restrict rows, std::size_t stride, const float *weights, int count,
              int length, float *__restrict mixed) {
    const float w0 = weights[0];
    for (int i = 0; i < length; ++i) mixed[i] = w0 * rows[i];
    int k = 1;
    for (; k + 1 < count; k += 2) {
        const std::uint8_t *a = rows + k * stride;
        const std::uint8_t *b = a + stride;
        const float wa = weights[k], wb = weights[k + 1];
        if (wa == 0.0f && wb == 0.0f) continue;
        for (int i = 0; i < length; ++i) mixed[i] += wa * a[i] + wb * b[i];
    }
    if (k < count && weights[k] != 0.0f) {
        const std::uint8_t *a = rows + k * stride;
        const float wa = weights[k];
        for (int i = 0; i < length; ++i) mixed[i] += wa * a[i];
    }
}

// One output row of interleaved RGB from one mixed row. The fourth lane is the next pixel's red: it
// fills the vector register and is dropped. `mixed` has one float more than its pixels need.
CATALOGD_CLONES
void mix_columns(const float *__restrict mixed, const Axis &axis, int width, float *__restrict row) {
    const int count = axis.count;
    const int *first = axis.first.data();
    const float *weights = axis.weights.data();
    for (int x = 0; x < width; ++x) {
        const float *from = mixed + first[x] * kChannels;
        float sum[4] = {0, 0, 0, 0};
        for (int k = 0; k < count; ++k) {
            for (int lane = 0; lane < 4; ++lane) sum[lane] += weights[k] * from[lane];
            from += kChannels;
        }
        weights += count;
        for (int lane = 0; lane < 4; ++lane) row[lane] = sum[lane];
        row += kChannels;
    }
}

CATALOGD_CLONES
void round_row(const float *__restrict row, int length, std::uint8_t *__restrict levels) {
    for (int i = 0; i < length; ++i) {
        levels[i] = static_cast<std::uint8_t>(static_cast<int>(std::min(row[i] + 0.5f, 255.0f)));
    }
}

CATALOGD_CLONES
void normalise_row(const float *__restrict row, int width, int channel, float mean, float scale,
                   float *__restrict plane) {
    for (int x = 0; x < width; ++x) plane[x] = (row[x * kChannels + channel] - mean) * scale;
}

// How a pixel of the stored picture moves in the upright one: its address is
// origin + y * down + x * right (bytes).
struct Placement {
    std::ptrdiff_t origin;
    std::ptrdiff_t down;
    std::ptrdiff_t right;
};

// EXIF 2.32, tag 0x0112: what the 0th row and the 0th column of the stored picture are when upright.
Placement placement(int orientation, int height, int width) {
    const std::ptrdiff_t column = kChannels;
    const std::ptrdiff_t line = static_cast<std::ptrdiff_t>(width) * kChannels;
    const std::ptrdiff_t bottom = (height - 1) * line;
    const std::ptrdiff_t end = (width - 1) * column;
    switch (orientation) {
        case 2: return {end, line, -column};
        case 3: return {bottom + end, -line, -column};
        case 4: return {bottom, -line, column};
        case 5: return {0, column, line};
        case 6: return {end, -column, line};
        case 7: return {bottom + end, -column, -line};
        case 8: return {bottom, column, -line};
        default: return {0, line, column};
    }
}

// Copy `rows` rows of `width` stored pixels to where they are in the upright frame.
void place_rows(const std::uint8_t *pixels, int rows, int width, std::uint8_t *target, Placement to) {
    if (to.right == kChannels) {
        for (int y = 0; y < rows; ++y) {
            std::memcpy(target + y * to.down, pixels + static_cast<std::size_t>(y) * width * kChannels,
                        static_cast<std::size_t>(width) * kChannels);
        }
        return;
    }
    for (int x = 0; x < width; ++x) {
        for (int y = 0; y < rows; ++y) {
            const std::uint8_t *from = pixels + (static_cast<std::size_t>(y) * width + x) * kChannels;
            std::uint8_t *pixel = target + y * to.down + x * to.right;
            pixel[0] = from[0];
            pixel[1] = from[1];
            pixel[2] = from[2];
        }
    }
}

}  // namespace

void resize(const Image &source, const Frame &target, int orientation) {
    const bool turned = orientation >= 5;
    const int height = turned ? target.width : target.height;
    const int width = turned ? target.height : target.width;
    const Placement to = placement(orientation, target.height, target.width);
    const std::size_t stride = static_cast<std::size_t>(source.width) * kChannels;
    const bool same_size = height == source.height && width == source.width;

    Axis rows, columns;
    std::vector<float> mixed, row;
    std::vector<std::uint8_t> block;
    if (!same_size) {
        rows = make_axis(0, source.height, source.height, height);
        columns = make_axis(0, source.width, source.width, width);
        mixed.resize(stride + 1);
        row.resize(static_cast<std::size_t>(width) * kChannels + 1);
        block.resize(static_cast<std::size_t>(kBlockRows) * width * kChannels);
    }
    for (int top = 0; top < height; top += kBlockRows) {
        const int count = std::min(kBlockRows, height - top);
        std::uint8_t *place = target.pixels + to.origin + top * to.down;
        if (same_size) {
            place_rows(source.pixels + top * stride, count, width, place, to);
            continue;
        }
        for (int y = 0; y < count; ++y) {
            const int i = top + y;
            mix_rows(source.pixels + rows.first[i] * stride, stride,
                     &rows.weights[static_cast<std::size_t>(i) * rows.count], rows.count,
                     static_cast<int>(stride), mixed.data());
            mix_columns(mixed.data(), columns, width, row.data());
            round_row(row.data(), width * kChannels,
                      block.data() + static_cast<std::size_t>(y) * width * kChannels);
        }
        place_rows(block.data(), count, width, place, to);
    }
}

void resize_to_tensor(const Image &source, const Crop &crop, const Tensor &target) {
    const std::size_t stride = static_cast<std::size_t>(source.width) * kChannels;
    const std::size_t plane_size = static_cast<std::size_t>(target.height) * target.width;
    const Axis rows = make_axis(crop.y, crop.height, source.height, target.placed_height);
    Axis columns = make_axis(crop.x, crop.width, source.width, target.placed_width);

    // Only the source columns that the crop touches are mixed.
    const int left = *std::min_element(columns.first.begin(), columns.first.end());
    const int right = *std::max_element(columns.first.begin(), columns.first.end()) + columns.count;
    for (int &first : columns.first) first -= left;
    const int length = (right - left) * kChannels;
    std::vector<float> mixed(static_cast<std::size_t>(length) + 1);
    std::vector<float> row(static_cast<std::size_t>(target.placed_width) * kChannels + 1);

    for (int channel = 0; channel < kChannels; ++channel) {
        float *plane = target.values + (target.bgr ? 2 - channel : channel) * plane_size;
        const float fill = (target.fill - target.mean[channel]) * target.scale[channel];
        for (int y = 0; y < target.height; ++y) {
            const int kept = y < target.placed_height ? target.placed_width : 0;
            std::fill(plane + static_cast<std::size_t>(y) * target.width + kept,
                      plane + static_cast<std::size_t>(y + 1) * target.width, fill);
        }
    }
    for (int y = 0; y < target.placed_height; ++y) {
        mix_rows(source.pixels + rows.first[y] * stride + static_cast<std::size_t>(left) * kChannels, stride,
                 &rows.weights[static_cast<std::size_t>(y) * rows.count], rows.count, length, mixed.data());
        mix_columns(mixed.data(), columns, target.placed_width, row.data());
        for (int channel = 0; channel < kChannels; ++channel) {
            float *plane = target.values + (target.bgr ? 2 - channel : channel) * plane_size;
            normalise_row(row.data(), target.placed_width, channel, target.mean[channel],
                          target.scale[channel], plane + static_cast<std::size_t>(y) * target.width);
        }
    }
}

}  // namespace catalogd
