#include "colour.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace catalogd {
namespace {

// Steps of linear light. Where sRGB is steepest, at black, a step is 0.2 of an 8-bit level.
constexpr int kSteps = 1 << 14;

double encoded(double light) {  // IEC 61966-2-1
    return light <= 0.0031308 ? 12.92 * light : 1.055 * std::pow(light, 1 / 2.4) - 0.055;
}

const std::array<std::uint8_t, kSteps + 1> &levels() {
    static const auto table = [] {
        std::array<std::uint8_t, kSteps + 1> made{};
        for (int step = 0; step <= kSteps; ++step) {
            made[step] = static_cast<std::uint8_t>(std::lround(255 * encoded(double(step) / kSteps)));
        }
        return made;
    }();
    return table;
}

// What a level of a channel adds to the light of red, green and blue, in steps. Four floats: one load.
struct Share {
    float light[4];
};

std::vector<Share> shares(const ColourMap &map) {
    std::vector<Share> made(3 * 256);
    for (int channel = 0; channel < 3; ++channel) {
        for (int level = 0; level < 256; ++level) {
            const float light = map.curves[channel * 256 + level] * kSteps;
            for (int row = 0; row < 3; ++row) {
                // The half of rounding rides on one of the three.
                made[channel * 256 + level].light[row] =
                    light * map.matrix[row * 3 + channel] + (channel == 0 ? 0.5f : 0.0f);
            }
        }
    }
    return made;
}

}  // namespace

void convert_to_srgb(std::uint8_t *pixels, std::size_t count, const ColourMap &map) {
    const std::vector<Share> table = shares(map);
    const Share *red = table.data(), *green = red + 256, *blue = green + 256;
    const std::uint8_t *level = levels().data();
    for (std::uint8_t *end = pixels + 3 * count; pixels != end; pixels += 3) {
        const float *r = red[pixels[0]].light, *g = green[pixels[1]].light, *b = blue[pixels[2]].light;
        std::int32_t step[4];
        for (int i = 0; i < 4; ++i) {  // whole numbers are clamped without a branch, which would often be missed
            const auto light = static_cast<std::int32_t>(r[i] + g[i] + b[i]);
            step[i] = std::clamp(light, 0, kSteps);
        }
        pixels[0] = level[step[0]];
        pixels[1] = level[step[1]];
        pixels[2] = level[step[2]];
    }
}

}  // namespace catalogd
