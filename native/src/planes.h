// Luma and chroma planes of a video codec → a reduced RGB picture, in one pass.
#pragma once

#include <cstddef>

#include "resize.h"

namespace catalogd {

template <typename Level>
struct Plane {
    const Level *levels;
    int height;
    int width;
    std::ptrdiff_t stride;  // levels from one row to the next
};

// Rec. ITU-T H.273, 8.3, with the scale of the levels worked in:
// red = luma' + red_of_cr * cr', green = luma' + green_of_cb * cb' + green_of_cr * cr',
// blue = luma' + blue_of_cb * cb', where luma' = (luma - black) * gain and c' = c - neutral.
struct Matrix {
    float black;
    float gain;
    float neutral;
    float red_of_cr;
    float green_of_cb;
    float green_of_cr;
    float blue_of_cb;
};

// Fill `target` from three planes. The chroma planes may be smaller than luma by a whole factor.
template <typename Level>
void shrink_planes(const Plane<Level> &luma, const Plane<Level> &cb, const Plane<Level> &cr,
                   const Matrix &matrix, const Frame &target);

}  // namespace catalogd
