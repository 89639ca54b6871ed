#include "quality.h"

#include <algorithm>
#include <cmath>

#include "clones.h"

namespace catalogd {
namespace {

constexpr int kTile = 32;            // px: an eye in a 1280-px portrait fills one
constexpr int kClippedLow = 2;       // luma at and below it holds no detail after JPEG
constexpr int kClippedHigh = 253;    // luma at and above it
constexpr double kHalfSharp = 25.0;  // Laplacian deviation, in levels, that maps to 50 of 100
constexpr double kNoiseGain = 20 * 1.1 * 1.1;
constexpr double kSharpestShare = 0.1;
constexpr double kFlattestShare = 0.1;
constexpr int kRun = 8192;  // pixels of a row whose squares (up to 510 * 510) sum in 32 bits
constexpr int kParts = 8;   // a side: an eighth of the frame tells a face from its surroundings
constexpr int kColours = 5;
constexpr int kBins = 512;  // 3 bits a channel: a named colour, not a shade

struct Tile {
    std::int64_t laplacian = 0;
    std::int64_t laplacian_squared = 0;
    std::int64_t roughness = 0;  // sum of |difference of two Laplacians|
    std::int64_t luma = 0;
    std::int64_t count = 0;
};

struct Sums {
    std::int64_t red_green = 0, red_green_squared = 0;
    std::int64_t yellow_blue = 0, yellow_blue_squared = 0;
};

struct Bin {
    std::int64_t count = 0, red = 0, green = 0, blue = 0;
};

// BT.601 luma in 8-bit fixed point, and the sums for colourfulness (yellow-blue doubled: an integer).
CATALOGD_CLONES
void read_run(const std::uint8_t *__restrict rgb, int length, std::uint8_t *__restrict luma, Sums &sums) {
    std::int32_t rg_sum = 0, yb_sum = 0;
    std::uint32_t rg_squared = 0, yb_squared = 0;
    for (int x = 0; x < length; ++x) {
        const int r = rgb[3 * x], g = rgb[3 * x + 1], b = rgb[3 * x + 2];
        luma[x] = static_cast<std::uint8_t>((77 * r + 150 * g + 29 * b + 128) >> 8);
        const int rg = r - g, yb = r + g - 2 * b;
        rg_sum += rg;
        yb_sum += yb;
        rg_squared += static_cast<std::uint32_t>(rg * rg);
        yb_squared += static_cast<std::uint32_t>(yb * yb);
    }
    sums.red_green += rg_sum;
    sums.yellow_blue += yb_sum;
    sums.red_green_squared += rg_squared;
    sums.yellow_blue_squared += yb_squared;
}

// The tile measures of one run of pixels that have all eight neighbours. `above`, `here` and `below`
// point at the first of them.
CATALOGD_CLONES
void measure_run(const std::uint8_t *__restrict above, const std::uint8_t *__restrict here,
                 const std::uint8_t *__restrict below, int length, Tile &tile) {
    std::int32_t sum = 0, squared = 0, rough = 0, luma = 0;
    for (int x = 0; x < length; ++x) {
        const int cross = above[x] + below[x] + here[x - 1] + here[x + 1];
        const int corners = above[x - 1] + above[x + 1] + below[x - 1] + below[x + 1];
        const int laplacian = cross - 4 * here[x];
        sum += laplacian;
        squared += laplacian * laplacian;
        rough += std::abs(corners - 2 * cross + 4 * here[x]);
        luma += here[x];
    }
    tile.laplacian += sum;
    tile.laplacian_squared += squared;
    tile.roughness += rough;
    tile.luma += luma;
    tile.count += length;
}

// Every second pixel of every second row: a share needs no more.
void count_colours(const std::uint8_t *rgb, int width, std::vector<Bin> &bins) {
    for (int x = 0; x < width; x += 2) {
        const int r = rgb[3 * x], g = rgb[3 * x + 1], b = rgb[3 * x + 2];
        Bin &bin = bins[(r >> 5) << 6 | (g >> 5) << 3 | b >> 5];
        ++bin.count;
        bin.red += r;
        bin.green += g;
        bin.blue += b;
    }
}

std::vector<Colour> dominant(std::vector<Bin> &bins) {
    std::int64_t total = 0;
    for (const Bin &bin : bins) total += bin.count;
    std::stable_sort(bins.begin(), bins.end(), [](const Bin &a, const Bin &b) { return a.count > b.count; });
    std::vector<Colour> colours;
    for (int i = 0; i < kColours && bins[i].count > 0; ++i) {
        const Bin &bin = bins[i];
        const auto mean = [&](std::int64_t sum) {
            return static_cast<int>((sum + bin.count / 2) / bin.count);
        };
        colours.push_back({mean(bin.red), mean(bin.green), mean(bin.blue),
                           static_cast<double>(bin.count) / static_cast<double>(total)});
    }
    return colours;
}

// Immerkær 1996, Fast Noise Variance Estimation: the mask's response to pure noise has a mean
// absolute value of 6 * sigma * sqrt(2 / pi). Of the flattest tiles that are not clipped.
double estimate_noise(const std::vector<Tile> &tiles) {
    std::vector<double> sigmas;
    for (const Tile &tile : tiles) {
        if (tile.count == 0) continue;
        const double mean_luma = static_cast<double>(tile.luma) / tile.count;
        if (mean_luma < 8 || mean_luma > 247) continue;
        sigmas.push_back(std::sqrt(M_PI / 2) / 6 * tile.roughness / tile.count);
    }
    if (sigmas.empty()) return 0.0;
    const auto rank = static_cast<std::ptrdiff_t>(kFlattestShare * (sigmas.size() - 1));
    std::nth_element(sigmas.begin(), sigmas.begin() + rank, sigmas.end());
    return sigmas[rank];
}

// 0…100 from the Laplacian's variance, without the part that noise alone gives it: the mask
// (1, 1, -4, 1, 1) multiplies a variance by 20, and other tiles have more noise than the flattest.
double tile_sharpness(const Tile &tile, double noise) {
    const double mean = static_cast<double>(tile.laplacian) / tile.count;
    const double variance = static_cast<double>(tile.laplacian_squared) / tile.count - mean * mean;
    const double deviation = std::sqrt(std::max(variance - kNoiseGain * noise * noise, 0.0));
    return 100 * deviation / (deviation + kHalfSharp);
}

void rate_sharpness(const std::vector<Tile> &tiles, Quality &quality) {
    std::vector<double> scores;
    for (const Tile &tile : tiles) {
        if (tile.count > 0) scores.push_back(tile_sharpness(tile, quality.noise));
    }
    if (scores.empty()) return;
    std::sort(scores.begin(), scores.end(), [](double a, double b) { return a > b; });
    const auto sharpest = std::max<std::size_t>(1, static_cast<std::size_t>(scores.size() * kSharpestShare));
    double sum = 0.0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
        sum += scores[i];
        if (i + 1 == sharpest) quality.sharpness = sum / static_cast<double>(sharpest);
    }
    quality.sharpness_mean = sum / static_cast<double>(scores.size());
}

// The sharpest tile that lies in each of 8 x 8 parts of the frame, wholly or not.
void map_sharpness(const std::vector<Tile> &tiles, int across, Quality &quality) {
    const int down = static_cast<int>(tiles.size()) / across;
    for (int part = 0; part < kParts * kParts; ++part) {
        const int row = part / kParts, column = part % kParts;
        double sharpest = 0.0;
        for (int y = row * down / kParts; y * kParts < (row + 1) * down; ++y) {
            for (int x = column * across / kParts; x * kParts < (column + 1) * across; ++x) {
                const Tile &tile = tiles[static_cast<std::size_t>(y) * across + x];
                if (tile.count > 0) sharpest = std::max(sharpest, tile_sharpness(tile, quality.noise));
            }
        }
        quality.sharpness_tiles[part] = static_cast<std::uint8_t>(std::lround(sharpest * 2.55));
    }
}

void rate_exposure(const std::array<std::int64_t, 256> &histogram, double pixels, Quality &quality) {
    double sum = 0.0, squared = 0.0;
    for (int level = 0; level < 256; ++level) {
        const double count = static_cast<double>(histogram[level]);
        sum += count * level;
        squared += count * level * level;
        if (level <= kClippedLow) quality.clipped_low += count / pixels;
        if (level >= kClippedHigh) quality.clipped_high += count / pixels;
    }
    const double mean = sum / pixels;
    quality.brightness = mean / 255;
    quality.contrast = std::sqrt(std::max(squared / pixels - mean * mean, 0.0)) / 255 * 2;
}

// Hasler and Süsstrunk 2003, Measuring Colourfulness in Natural Images, equation 3.
double colourfulness(const Sums &sums, double pixels) {
    const double rg = sums.red_green / pixels;
    const double yb = sums.yellow_blue / pixels / 2;
    const double rg_variance = std::max(sums.red_green_squared / pixels - rg * rg, 0.0);
    const double yb_variance = std::max(sums.yellow_blue_squared / pixels / 4 - yb * yb, 0.0);
    return std::sqrt(rg_variance + yb_variance) + 0.3 * std::sqrt(rg * rg + yb * yb);
}

}  // namespace

Quality measure_quality(const std::uint8_t *pixels, int height, int width) {
    const std::size_t stride = static_cast<std::size_t>(width) * 3;
    const int tiles_across = (width + kTile - 1) / kTile;
    std::vector<Tile> tiles(static_cast<std::size_t>(tiles_across) * ((height + kTile - 1) / kTile));
    std::vector<std::uint8_t> luma(static_cast<std::size_t>(width) * 3);  // the last three rows
    std::array<std::int64_t, 256> histogram{};
    std::vector<Bin> bins(kBins);
    Sums sums;

    const auto luma_row = [&](int y) { return luma.data() + static_cast<std::size_t>(y % 3) * width; };
    for (int y = 0; y < height; ++y) {
        const std::uint8_t *rgb = pixels + y * stride;
        for (int x = 0; x < width; x += kRun) {
            read_run(rgb + 3 * x, std::min(kRun, width - x), luma_row(y) + x, sums);
        }
        for (int x = 0; x < width; ++x) ++histogram[luma_row(y)[x]];
        if (y % 2 == 0) count_colours(rgb, width, bins);
        if (y < 2) continue;
        const int middle = y - 1;
        Tile *row_of_tiles = &tiles[static_cast<std::size_t>(middle / kTile) * tiles_across];
        for (int x = 1; x < width - 1;) {
            const int end = std::min((x / kTile + 1) * kTile, width - 1);
            measure_run(luma_row(y - 2) + x, luma_row(middle) + x, luma_row(y) + x, end - x,
                        row_of_tiles[x / kTile]);
            x = end;
        }
    }
    const double count = static_cast<double>(height) * width;
    Quality quality{};
    quality.noise = estimate_noise(tiles);
    rate_sharpness(tiles, quality);
    map_sharpness(tiles, tiles_across, quality);
    rate_exposure(histogram, count, quality);
    quality.colourfulness = colourfulness(sums, count);
    quality.dominant_colours = dominant(bins);
    return quality;
}

}  // namespace catalogd
