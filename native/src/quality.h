// Technical quality of one frame, measured in one read of it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace catalogd {

struct Colour {
    int red, green, blue;
    double share;
};

struct Quality {
    double sharpness;       // 0…100, mean of the sharpest tenth of the tiles
    double sharpness_mean;  // 0…100, mean of all tiles
    double brightness;      // 0…1
    double contrast;        // 0…1
    double clipped_low;     // share of pixels
    double clipped_high;
    double noise;           // 8-bit levels
    double colourfulness;
    std::array<std::uint8_t, 64> sharpness_tiles;  // 8 x 8 by rows, 0…255: the sharpest tile of each part
    std::vector<Colour> dominant_colours;  // at most 5, the largest share first
};

Quality measure_quality(const std::uint8_t *pixels, int height, int width);

}  // namespace catalogd
