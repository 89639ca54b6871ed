#include "correlation.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "clones.h"

namespace catalogd {

namespace {

constexpr float kRed = 0.299f / 255, kGreen = 0.587f / 255, kBlue = 0.114f / 255;  // Rec. 601
constexpr int kAcross = 8, kDown = 4;  // windows that are multiplied at once: four registers of sums

// Sums of values, or of their squares, above and to the left of every corner.
class Sums {
  public:
    Sums(const Plate &source, bool squared)
        : stride_(source.width + 1), sums_(static_cast<std::size_t>(source.height + 1) * stride_) {
        for (int y = 0; y < source.height; ++y) {
            double row = 0;
            for (int x = 0; x < source.width; ++x) {
                const double value = source.values[static_cast<std::size_t>(y) * source.width + x];
                row += squared ? value * value : value;
                at(y + 1, x + 1) = at(y, x + 1) + row;
            }
        }
    }

    double within(int top, int left, int height, int width) const {
        return at(top + height, left + width) - at(top, left + width) - at(top + height, left) + at(top, left);
    }

  private:
    double &at(int y, int x) { return sums_[static_cast<std::size_t>(y) * stride_ + x]; }
    double at(int y, int x) const { return sums_[static_cast<std::size_t>(y) * stride_ + x]; }

    std::size_t stride_;
    std::vector<double> sums_;
};

// The mean of a line of `count` numbers, `step` apart, over 2 * reach + 1 of them, edges repeated.
void running_mean(const float *line, int count, std::size_t step, int reach, float *out) {
    const auto value = [&](int i) { return line[std::clamp(i, 0, count - 1) * step]; };
    double sum = 0;
    for (int i = -reach; i <= reach; ++i) sum += value(i);
    for (int i = 0; i < count; ++i) {
        out[i * step] = static_cast<float>(sum / (2 * reach + 1));
        sum += value(i + reach + 1) - value(i - reach);
    }
}

using Lanes = float __attribute__((vector_size(kAcross * sizeof(float))));  // the compiler splits what is too wide

// out[i][j]: the product of `part` and the window that lies i rows below and j columns to the right of
// `window`. Sums of rows are kept apart, so that a large part costs no digits.
CATALOGD_CLONES
void products(const float *window, std::size_t stride, const Plate &part, float out[kDown][kAcross]) {
    Lanes totals[kDown] = {};
    const float *row = part.values;
    for (int y = 0; y < part.height; ++y, window += stride, row += part.width) {
        Lanes sums[kDown] = {};
        for (int x = 0; x < part.width; ++x) {
            for (int i = 0; i < kDown; ++i) {
                Lanes values;
                std::memcpy(&values, window + i * stride + x, sizeof values);
                sums[i] += row[x] * values;
            }
        }
        for (int i = 0; i < kDown; ++i) totals[i] += sums[i];
    }
    std::memcpy(out, totals, sizeof totals);
}

// Sum of squares of a part in which there is nothing to look for: less is what rounding leaves of a flat one.
constexpr double kLeastPart = 1e-8;

// The luma, 0…1, of an image made `height` x `width`, without its local mean.
std::vector<float> edges_of(const Image &image, int height, int width, int reach) {
    const std::size_t count = static_cast<std::size_t>(height) * width;
    std::vector<std::uint8_t> levels(count * 3);
    resize(image, {static_cast<double>(image.height), static_cast<double>(image.width)},
           {levels.data(), height, width}, 1);
    std::vector<float> luma(count), edges(count);
    for (std::size_t i = 0; i < count; ++i) {
        luma[i] = kRed * levels[3 * i] + kGreen * levels[3 * i + 1] + kBlue * levels[3 * i + 2];
    }
    subtract_mean({luma.data(), height, width}, reach, edges.data());
    return edges;
}

// A picture in which others are looked for.
class Whole {
  public:
    Whole(const std::vector<float> &edges, int height, int width)
        : height_(height), width_(width), values_(edges), sums_({edges.data(), height, width}, false),
          squares_({edges.data(), height, width}, true) {
        values_.resize(edges.size() + static_cast<std::size_t>(kDown) * width + kAcross);  // read beyond, not used
    }

    double spread(int top, int left, int height, int width) const {
        const double sum = sums_.within(top, left, height, width);
        return squares_.within(top, left, height, width) - sum * sum / (static_cast<double>(height) * width);
    }

    double spread() const { return spread(0, 0, height_, width_); }

    // The highest correlation of `part`, whose mean is 0, with a window of its size, no lower than 0.
    double best(const Plate &part, double least_spread) const {
        const std::size_t size = static_cast<std::size_t>(part.height) * part.width;
        double length = 0, best = 0;
        for (std::size_t i = 0; i < size; ++i) length += static_cast<double>(part.values[i]) * part.values[i];
        if (!(length > kLeastPart)) return 0;
        for (int y = 0; y + part.height <= height_; y += kDown) {
            for (int x = 0; x + part.width <= width_; x += kAcross) {
                best = std::max(best, best_of_block(y, x, part, least_spread));
            }
        }
        return best / std::sqrt(length);
    }

  private:
    double best_of_block(int top, int left, const Plate &part, double least_spread) const {
        float found[kDown][kAcross];
        products(values_.data() + static_cast<std::size_t>(top) * width_ + left, width_, part, found);
        double best = 0;
        for (int y = top; y < std::min(top + kDown, height_ - part.height + 1); ++y) {
            for (int x = left; x < std::min(left + kAcross, width_ - part.width + 1); ++x) {
                const double spread_there = spread(y, x, part.height, part.width);
                if (!(spread_there > least_spread)) continue;
                best = std::max(best, found[y - top][x - left] / std::sqrt(spread_there));
            }
        }
        return best;
    }

    int height_, width_;
    std::vector<float> values_;
    Sums sums_, squares_;
};

}  // namespace

void subtract_mean(const Plate &source, int reach, float *out) {
    const std::size_t width = source.width, count = width * source.height;
    std::vector<float> columns(count);
    for (std::size_t x = 0; x < width; ++x) {
        running_mean(source.values + x, source.height, width, reach, columns.data() + x);
    }
    for (std::size_t start = 0; start < count; start += width) {
        running_mean(columns.data() + start, source.width, 1, reach, out + start);
    }
    for (std::size_t i = 0; i < count; ++i) out[i] = source.values[i] - out[i];
}

void best_correlations(const Image &whole, const Image &part, const Search &search, const Size *sizes,
                       std::size_t count, double *out) {
    const Whole outer(edges_of(whole, search.height, search.width, search.reach), search.height, search.width);
    const double flat = search.flat_share * outer.spread() / (static_cast<double>(search.height) * search.width);
    for (std::size_t i = 0; i < count; ++i) {
        const int height = static_cast<int>(sizes[i].height), width = static_cast<int>(sizes[i].width);
        std::vector<float> inner = edges_of(part, height, width, search.reach);
        double mean = 0;
        for (const float value : inner) mean += value;
        mean /= static_cast<double>(inner.size());
        for (float &value : inner) value -= static_cast<float>(mean);
        const double least = std::max(flat * height * width, search.least_spread);
        out[i] = outer.best({inner.data(), height, width}, least);
    }
}

}  // namespace catalogd
