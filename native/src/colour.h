// RGB of one matrix profile to 8-bit sRGB, in place.
#pragma once

#include <cstddef>
#include <cstdint>

namespace catalogd {

// What a matrix profile says: the light of each of the 256 levels of a channel, 0 to 1, and how the
// light of its three primaries mixes into that of sRGB's, row by row.
struct ColourMap {
    const float *curves;  // 3 * 256
    const float *matrix;  // 3 * 3
};

// Convert `count` pixels of three bytes each. What lies outside sRGB is clipped, channel by channel.
void convert_to_srgb(std::uint8_t *pixels, std::size_t count, const ColourMap &map);

}  // namespace catalogd
