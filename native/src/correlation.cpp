#include "correlation.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "clones.h"

namespace catalogd {

namespace {

constexpr int kLanes = 8;  // sums that are kept apart, so that the loop vectorises

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

CATALOGD_CLONES
double product(const float *window, std::size_t stride, const Plate &part) {
    double total = 0;
    const float *row = part.values;
    for (int y = 0; y < part.height; ++y, window += stride, row += part.width) {
        float lanes[kLanes] = {};
        int x = 0;
        for (; x + kLanes <= part.width; x += kLanes) {
            for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += window[x + lane] * row[x + lane];
        }
        float sum = 0;
        for (; x < part.width; ++x) sum += window[x] * row[x];
        for (const float lane : lanes) sum += lane;
        total += sum;
    }
    return total;
}

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

double best_correlation(const Plate &whole, const Plate &part, double least_spread) {
    const std::size_t size = static_cast<std::size_t>(part.height) * part.width;
    double length = 0;
    for (std::size_t i = 0; i < size; ++i) length += static_cast<double>(part.values[i]) * part.values[i];
    if (!(length > 0)) return 0;
    const Sums sums(whole, false), squares(whole, true);
    double best = 0;
    for (int y = 0; y + part.height <= whole.height; ++y) {
        for (int x = 0; x + part.width <= whole.width; ++x) {
            const double sum = sums.within(y, x, part.height, part.width);
            const double spread = squares.within(y, x, part.height, part.width) - sum * sum / size;
            if (!(spread > least_spread)) continue;
            const float *window = whole.values + static_cast<std::size_t>(y) * whole.width + x;
            best = std::max(best, product(window, whole.width, part) / std::sqrt(spread));
        }
    }
    return best / std::sqrt(length);
}

}  // namespace catalogd
