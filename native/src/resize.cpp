#include "resize.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "axis.h"
#include "clones.h"

namespace catalogd {
namespace {

constexpr int kChannels = 3;
constexpr int kTaps = 4;  // source pixels that are weighed at a time: three vector registers of floats
constexpr int kGroup = kTaps * kChannels;
constexpr int kBlockRows = 16;  // rows that are turned together: 48 bytes of a target row at a time

// mixed[i] = sum over k of weights[k] * rows[k][i]. The sums of a stretch stay in registers.
CATALOGD_CLONES
void mix_rows(const std::uint8_t *__restrict rows, std::size_t stride, const float *weights, int count,
              int length, float *__restrict mixed) {
    constexpr int kStretch = 32;
    int i = 0;
    for (; i + kStretch <= length; i += kStretch) {
        float sum[kStretch] = {};
        for (int k = 0; k < count; ++k) {
            const std::uint8_t *from = rows + k * stride + i;
            const float weight = weights[k];
            for (int lane = 0; lane < kStretch; ++lane) sum[lane] += weight * from[lane];
        }
        for (int lane = 0; lane < kStretch; ++lane) mixed[i + lane] = sum[lane];
    }
    for (; i < length; ++i) {
        float sum = 0;
        for (int k = 0; k < count; ++k) sum += weights[k] * rows[k * stride + i];
        mixed[i] = sum;
    }
}

// The weights of an axis of interleaved pixels: kTaps source pixels at a time, every weight once a
// channel, so that a group is one run of floats.
struct Columns {
    int groups;
    std::vector<int> first;
    std::vector<float> weights;
};

Columns make_columns(const Axis &axis, int left = 0) {
    Columns columns;
    columns.groups = (axis.count + kTaps - 1) / kTaps;
    columns.first.reserve(axis.first.size());
    for (const int first : axis.first) columns.first.push_back((first - left) * kChannels);
    columns.weights.assign(axis.first.size() * columns.groups * kGroup, 0.0f);
    for (std::size_t i = 0; i < axis.weights.size(); ++i) {
        const std::size_t at = i / axis.count * columns.groups * kGroup + i % axis.count * kChannels;
        std::fill_n(&columns.weights[at], kChannels, axis.weights[i]);
    }
    return columns;
}

// One output row of interleaved RGB from one mixed row, which has kGroup finite floats more than its
// pixels need: the last group may reach beyond them.
CATALOGD_CLONES
void mix_columns(const float *__restrict mixed, const Columns &columns, int width, float *__restrict row) {
    const float *__restrict weights = columns.weights.data();
    for (int x = 0; x < width; ++x) {
        const float *from = mixed + columns.first[x];
        float sum[kGroup] = {};
        for (int group = 0; group < columns.groups; ++group) {
            for (int i = 0; i < kGroup; ++i) sum[i] += weights[i] * from[i];
            weights += kGroup;
            from += kGroup;
        }
        for (int channel = 0; channel < kChannels; ++channel) {
            row[channel] = (sum[channel] + sum[channel + 3]) + (sum[channel + 6] + sum[channel + 9]);
        }
        row += kChannels;
    }
}

CATALOGD_CLONES
void round_row(const float *__restrict row, int length, std::uint8_t *__restrict levels) {
    for (int i = 0; i < length; ++i) {
        levels[i] = static_cast<std::uint8_t>(static_cast<int>(std::clamp(row[i] + 0.5f, 0.0f, 255.0f)));
    }
}

// Bicubic interpolation overshoots at edges; no picture has levels beyond these.
CATALOGD_CLONES
void clamp_row(float *__restrict row, int length) {
    for (int i = 0; i < length; ++i) row[i] = std::clamp(row[i], 0.0f, 255.0f);
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

Weigh weigh_of(Filter filter) {
    if (filter == Filter::bicubic) return cubic;
    return filter == Filter::bilinear ? triangle : coverage;
}

}  // namespace

void resize(const Image &source, const Extent &extent, const Frame &target, int orientation) {
    const bool turned = orientation >= 5;
    const int height = turned ? target.width : target.height;
    const int width = turned ? target.height : target.width;
    const Placement to = placement(orientation, target.height, target.width);
    const std::size_t stride = static_cast<std::size_t>(source.width) * kChannels;
    const bool same_size = height == source.height && width == source.width &&
                           extent.height == height && extent.width == width;

    Axis rows;
    Columns columns;
    std::vector<float> mixed, row;
    std::vector<std::uint8_t> block;
    if (!same_size) {
        rows = make_axis(0, extent.height, source.height, height);
        columns = make_columns(make_axis(0, extent.width, source.width, width));
        mixed.resize(stride + kGroup);
        row.resize(static_cast<std::size_t>(width) * kChannels);
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

void resize_to_tensor(const Image &source, const Crop &crop, const Tensor &target, Filter filter) {
    const std::size_t stride = static_cast<std::size_t>(source.width) * kChannels;
    const std::size_t plane_size = static_cast<std::size_t>(target.height) * target.width;
    const Weigh weigh = weigh_of(filter);
    const Axis rows = make_axis(crop.y, crop.height, source.height, target.placed_height, weigh);
    const Axis axis = make_axis(crop.x, crop.width, source.width, target.placed_width, weigh);

    // Only the source columns that the crop touches are mixed.
    const int left = *std::min_element(axis.first.begin(), axis.first.end());
    const int right = *std::max_element(axis.first.begin(), axis.first.end()) + axis.count;
    const Columns columns = make_columns(axis, left);
    const int length = (right - left) * kChannels;
    std::vector<float> mixed(static_cast<std::size_t>(length) + kGroup);
    std::vector<float> row(static_cast<std::size_t>(target.placed_width) * kChannels);

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
        if (filter == Filter::bicubic) clamp_row(row.data(), target.placed_width * kChannels);
        for (int channel = 0; channel < kChannels; ++channel) {
            float *plane = target.values + (target.bgr ? 2 - channel : channel) * plane_size;
            normalise_row(row.data(), target.placed_width, channel, target.mean[channel],
                          target.scale[channel], plane + static_cast<std::size_t>(y) * target.width);
        }
    }
}

}  // namespace catalogd
