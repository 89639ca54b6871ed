#include "planes.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "axis.h"
#include "clones.h"

namespace catalogd {
namespace {

constexpr int kStretch = 32;  // floats that stay in registers while the rows are added up
constexpr int kLanes = 8;     // weights of a column that are added up side by side

// mixed[i] = sum over k of weights[k] * rows[k][i]. Inlined into each function below, so that it is
// compiled for their targets.
template <typename Level>
inline __attribute__((always_inline)) void mix(const Level *__restrict rows, std::ptrdiff_t stride,
                                               const float *__restrict weights, int count, int length,
                                               float *__restrict mixed) {
    int i = 0;
    for (; i + kStretch <= length; i += kStretch) {
        float sum[kStretch] = {};
        for (int k = 0; k < count; ++k) {
            const Level *from = rows + k * stride + i;
            for (int lane = 0; lane < kStretch; ++lane) sum[lane] += weights[k] * from[lane];
        }
        for (int lane = 0; lane < kStretch; ++lane) mixed[i + lane] = sum[lane];
    }
    for (; i < length; ++i) {
        float sum = 0;
        for (int k = 0; k < count; ++k) sum += weights[k] * rows[k * stride + i];
        mixed[i] = sum;
    }
}

CATALOGD_CLONES
void mix_rows(const std::uint8_t *rows, std::ptrdiff_t stride, const float *weights, int count, int length,
              float *mixed) {
    mix(rows, stride, weights, count, length, mixed);
}

CATALOGD_CLONES
void mix_rows(const std::uint16_t *rows, std::ptrdiff_t stride, const float *weights, int count, int length,
              float *mixed) {
    mix(rows, stride, weights, count, length, mixed);
}

// `axis.count` is a multiple of kLanes, and `mixed` is readable as far as that reaches.
CATALOGD_CLONES
void mix_columns(const float *__restrict mixed, const Axis &axis, int width, float *__restrict row) {
    const int count = axis.count;
    const int *__restrict first = axis.first.data();
    const float *__restrict weights = axis.weights.data();
    for (int x = 0; x < width; ++x) {
        const float *from = mixed + first[x];
        float sum[kLanes] = {};
        for (int k = 0; k < count; k += kLanes) {
            for (int lane = 0; lane < kLanes; ++lane) sum[lane] += weights[k + lane] * from[k + lane];
        }
        weights += count;
        row[x] = ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
    }
}

// The same axis with weights of 0 added to each position, up to a multiple of kLanes.
Axis padded(const Axis &axis) {
    Axis wide{(axis.count + kLanes - 1) / kLanes * kLanes, axis.first, {}};
    wide.weights.assign(axis.first.size() * wide.count, 0.0f);
    for (std::size_t i = 0; i < axis.first.size(); ++i) {
        std::copy_n(&axis.weights[i * axis.count], axis.count, &wide.weights[i * wide.count]);
    }
    return wide;
}

inline std::uint8_t level(float value) {
    return static_cast<std::uint8_t>(static_cast<int>(std::clamp(value + 0.5f, 0.0f, 255.0f)));
}

CATALOGD_CLONES
void convert_row(const float *__restrict luma, const float *__restrict cb, const float *__restrict cr,
                 const Matrix &matrix, int width, std::uint8_t *__restrict pixels) {
    for (int x = 0; x < width; ++x) {
        const float y = (luma[x] - matrix.black) * matrix.gain;
        const float u = cb[x] - matrix.neutral, v = cr[x] - matrix.neutral;
        pixels[3 * x] = level(y + matrix.red_of_cr * v);
        pixels[3 * x + 1] = level(y + matrix.green_of_cb * u + matrix.green_of_cr * v);
        pixels[3 * x + 2] = level(y + matrix.blue_of_cb * u);
    }
}

// One plane on its way to the size of the target, row by row.
template <typename Level>
class Shrinker {
public:
    // `luma` gives the part of this plane that the picture covers: the last chroma row or column of
    // an odd edge reaches beyond it.
    Shrinker(const Plane<Level> &plane, const Plane<Level> &luma, const Frame &target)
        : plane_(plane),
          rows_(axis(plane.height, luma.height, target.height)),
          columns_(padded(axis(plane.width, luma.width, target.width))),
          mixed_(plane.width + kLanes),
          row_(target.width) {}

    const float *row(int y) {
        mix_rows(plane_.levels + rows_.first[y] * plane_.stride, plane_.stride,
                 &rows_.weights[static_cast<std::size_t>(y) * rows_.count], rows_.count, plane_.width,
                 mixed_.data());
        mix_columns(mixed_.data(), columns_, static_cast<int>(row_.size()), row_.data());
        return row_.data();
    }

private:
    static Axis axis(int edge, int luma_edge, int target_edge) {
        const int subsampling = (luma_edge + edge - 1) / edge;
        return make_axis(0, static_cast<double>(luma_edge) / subsampling, edge, target_edge);
    }

    Plane<Level> plane_;
    Axis rows_, columns_;
    std::vector<float> mixed_, row_;
};

}  // namespace

template <typename Level>
void shrink_planes(const Plane<Level> &luma, const Plane<Level> &cb, const Plane<Level> &cr,
                   const Matrix &matrix, const Frame &target) {
    Shrinker<Level> y(luma, luma, target), u(cb, luma, target), v(cr, luma, target);
    for (int i = 0; i < target.height; ++i) {
        convert_row(y.row(i), u.row(i), v.row(i), matrix, target.width,
                    target.pixels + static_cast<std::size_t>(i) * target.width * 3);
    }
}

template void shrink_planes(const Plane<std::uint8_t> &, const Plane<std::uint8_t> &,
                            const Plane<std::uint8_t> &, const Matrix &, const Frame &);
template void shrink_planes(const Plane<std::uint16_t> &, const Plane<std::uint16_t> &,
                            const Plane<std::uint16_t> &, const Matrix &, const Frame &);

}  // namespace catalogd
