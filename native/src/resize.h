// Antialiased resizing of interleaved 8-bit RGB, into a frame or into a model's input tensor.
#pragma once

#include <cstddef>
#include <cstdint>

namespace catalogd {

struct Image {
    const std::uint8_t *pixels;  // rows of width * 3 bytes, one after the other
    int height;
    int width;
};

struct Extent {  // how much of an image its picture takes, from the top left: the last row may be a part
    double height;
    double width;
};

struct Frame {
    std::uint8_t *pixels;
    int height;
    int width;
};

struct Crop {  // in source pixels; edges may lie between pixels, and within the source
    double x;
    double y;
    double width;
    double height;
};

// Three planes of height * width floats. The crop fills `placed_height` * `placed_width` at the top
// left, the rest is `fill`. A written value is (level - mean) * scale of its own channel.
struct Tensor {
    float *values;
    int height;
    int width;
    int placed_height;
    int placed_width;
    float mean[3];   // in the source's channel order, like `scale`
    float scale[3];
    float fill;      // an 8-bit level, normalised like a pixel
    bool bgr;        // plane 0 is the source's channel 2
};

// Fill `target`, which is upright, from the extent of `source`, whose EXIF orientation is 1 to 8, by
// antialiased bicubic interpolation.
void resize(const Image &source, const Extent &extent, const Frame &target, int orientation);

// How a tensor is resized: by exact area coverage, or as PIL and torchvision do it (antialiased), which
// is what most models were trained and are evaluated with.
enum class Filter { area, bilinear, bicubic };

void resize_to_tensor(const Image &source, const Crop &crop, const Tensor &target, Filter filter);

}  // namespace catalogd
