// The only file that knows Python: types and shapes are checked here, the GIL is released here.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <climits>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

#include "colour.h"
#include "correlation.h"
#include "planes.h"
#include "quality.h"
#include "resize.h"
#include "signatures.h"
#include "vectors.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Pixels = nb::ndarray<const std::uint8_t, nb::shape<-1, -1, 3>, nb::c_contig, nb::device::cpu>;
using MutablePixels = nb::ndarray<std::uint8_t, nb::shape<-1, -1, 3>, nb::c_contig, nb::device::cpu>;
using Planes = nb::ndarray<float, nb::shape<3, -1, -1>, nb::c_contig, nb::device::cpu>;
using Curves = nb::ndarray<const float, nb::shape<3, 256>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<const float, nb::shape<3, 3>, nb::c_contig, nb::device::cpu>;
using Triple = std::tuple<float, float, float>;
using Halves = nb::ndarray<const std::int16_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using RowNumbers = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Query = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Scores = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Luma = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using MutableLuma = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Signatures = nb::ndarray<const std::uint64_t, nb::shape<-1, catalogd::kSignatureWords>, nb::c_contig, nb::device::cpu>;
using Runs = nb::ndarray<const std::int64_t, nb::shape<-1, 2>, nb::c_contig, nb::device::cpu>;
using AlikePairs = nb::ndarray<std::int64_t, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using Sizes = nb::ndarray<const std::int64_t, nb::shape<-1, 2>, nb::c_contig, nb::device::cpu>;
using Correlations = nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <typename Level>
using Levels = nb::ndarray<const Level, nb::ndim<2>, nb::device::cpu>;

constexpr int kMaxEdge = 1 << 24;  // keeps every offset within a row in 32 bits

int edge(std::size_t length, const char *what) {
    if (length == 0 || length > kMaxEdge) throw std::invalid_argument(what);
    return static_cast<int>(length);
}

catalogd::Image image(const Pixels &array) {
    return {array.data(), edge(array.shape(0), "source must have 1 to 2^24 rows"),
            edge(array.shape(1), "source must have 1 to 2^24 columns")};
}

// Comparisons are written so that a NaN fails them.
void check_crop(const catalogd::Crop &crop, const catalogd::Image &source) {
    const bool inside = crop.x >= 0 && crop.y >= 0 && crop.width > 0 && crop.height > 0 &&
                        crop.x + crop.width <= source.width + 1e-6 &&
                        crop.y + crop.height <= source.height + 1e-6;
    if (!inside) throw std::invalid_argument("crop must lie inside the source and have an area");
}

void resize(const Pixels &source, const MutablePixels &target, int orientation,
            std::optional<std::pair<double, double>> extent) {
    if (orientation < 1 || orientation > 8) throw std::invalid_argument("orientation must be 1 to 8");
    const catalogd::Image from = image(source);
    const catalogd::Frame to{target.data(), edge(target.shape(0), "target must have 1 to 2^24 rows"),
                             edge(target.shape(1), "target must have 1 to 2^24 columns")};
    const auto [height, width] = extent.value_or(std::pair<double, double>(from.height, from.width));
    const catalogd::Extent part{height, width};
    check_crop({0, 0, part.width, part.height}, from);
    nb::gil_scoped_release release;
    catalogd::resize(from, part, to, orientation);
}

catalogd::Filter filter_of(const std::string &name) {
    if (name == "area") return catalogd::Filter::area;
    if (name == "bilinear") return catalogd::Filter::bilinear;
    if (name == "bicubic") return catalogd::Filter::bicubic;
    throw std::invalid_argument("filter must be area, bilinear or bicubic");
}

void resize_to_tensor(const Pixels &source, const Planes &target, Triple mean, Triple scale,
                      std::optional<std::tuple<double, double, double, double>> crop, bool bgr,
                      std::optional<std::pair<int, int>> placed, float fill, const std::string &filter) {
    const catalogd::Filter by = filter_of(filter);
    const catalogd::Image from = image(source);
    const int height = edge(target.shape(1), "target must have 1 to 2^24 rows");
    const int width = edge(target.shape(2), "target must have 1 to 2^24 columns");
    catalogd::Crop part{0, 0, static_cast<double>(from.width), static_cast<double>(from.height)};
    if (crop) part = {std::get<0>(*crop), std::get<1>(*crop), std::get<2>(*crop), std::get<3>(*crop)};
    check_crop(part, from);
    const auto [placed_height, placed_width] = placed.value_or(std::pair(height, width));
    if (placed_height < 1 || placed_height > height || placed_width < 1 || placed_width > width) {
        throw std::invalid_argument("placed must be (height, width) within the target");
    }
    const auto [mean0, mean1, mean2] = mean;
    const auto [scale0, scale1, scale2] = scale;
    const catalogd::Tensor to{target.data(), height, width, placed_height, placed_width,
                              {mean0, mean1, mean2}, {scale0, scale1, scale2}, fill, bgr};
    nb::gil_scoped_release release;
    catalogd::resize_to_tensor(from, part, to, by);
}

void convert_to_srgb(const MutablePixels &frame, const Curves &curves, const Matrix &matrix) {
    const catalogd::ColourMap map{curves.data(), matrix.data()};
    for (std::size_t i = 0; i < curves.size(); ++i) {
        if (!(map.curves[i] >= 0 && map.curves[i] <= 1)) throw std::invalid_argument("curves are of 0 to 1");
    }
    for (std::size_t i = 0; i < matrix.size(); ++i) {
        if (!(std::fabs(map.matrix[i]) <= 1000)) throw std::invalid_argument("matrix is of -1000 to 1000");
    }
    nb::gil_scoped_release release;
    catalogd::convert_to_srgb(frame.data(), frame.shape(0) * frame.shape(1), map);
}

template <typename Level>
catalogd::Plane<Level> plane(const Levels<Level> &array) {
    if (array.stride(1) != 1) throw std::invalid_argument("the levels of a row must lie side by side");
    return {array.data(), edge(array.shape(0), "a plane must have 1 to 2^24 rows"),
            edge(array.shape(1), "a plane must have 1 to 2^24 columns"),
            static_cast<std::ptrdiff_t>(array.stride(0))};
}

template <typename Level>
void shrink_planes(const Levels<Level> &luma, const Levels<Level> &cb, const Levels<Level> &cr,
                   const MutablePixels &target, Triple levels, std::tuple<float, float, float, float> chroma) {
    const catalogd::Plane<Level> y = plane(luma), u = plane(cb), v = plane(cr);
    if (u.height > y.height || u.width > y.width || v.height != u.height || v.width != u.width) {
        throw std::invalid_argument("cb and cr must be of one shape, no larger than luma");
    }
    const catalogd::Frame to{target.data(), edge(target.shape(0), "target must have 1 to 2^24 rows"),
                             edge(target.shape(1), "target must have 1 to 2^24 columns")};
    const auto [black, gain, neutral] = levels;
    const auto [red_of_cr, green_of_cb, green_of_cr, blue_of_cb] = chroma;
    const catalogd::Matrix matrix{black, gain, neutral, red_of_cr, green_of_cb, green_of_cr, blue_of_cb};
    nb::gil_scoped_release release;
    catalogd::shrink_planes(y, u, v, matrix, to);
}

template <typename Level>
void define_shrink_planes(nb::module_ &module) {
    module.def("shrink_planes", &shrink_planes<Level>, "luma"_a.noconvert(), "cb"_a.noconvert(),
               "cr"_a.noconvert(), "target"_a.noconvert(), "levels"_a, "chroma"_a);
}

nb::dict quality(const Pixels &frame) {
    const catalogd::Image from = image(frame);
    catalogd::Quality found;
    {
        nb::gil_scoped_release release;
        found = catalogd::measure_quality(from.pixels, from.height, from.width);
    }
    nb::list colours;
    for (const catalogd::Colour &colour : found.dominant_colours) {
        colours.append(nb::make_tuple(colour.red, colour.green, colour.blue, colour.share));
    }
    nb::dict fields;
    fields["sharpness"] = found.sharpness;
    fields["sharpness_mean"] = found.sharpness_mean;
    fields["brightness"] = found.brightness;
    fields["contrast"] = found.contrast;
    fields["clipped_low"] = found.clipped_low;
    fields["clipped_high"] = found.clipped_high;
    fields["noise"] = found.noise;
    fields["colourfulness"] = found.colourfulness;
    fields["dominant_colours"] = nb::tuple(colours);
    fields["sharpness_tiles"] =
        nb::bytes(reinterpret_cast<const char *>(found.sharpness_tiles.data()), found.sharpness_tiles.size());
    return fields;
}

void check_rows(const RowNumbers &rows, std::size_t count) {
    const std::int64_t *numbers = rows.data();
    bool inside = true;
    for (std::size_t i = 0; i < rows.shape(0); ++i) inside &= static_cast<std::uint64_t>(numbers[i]) < count;
    if (!inside) throw std::out_of_range("rows must be numbers of rows of vectors");
}

template <decltype(&catalogd::dot_rows) Dot>
void dot_rows(const Halves &vectors, std::optional<RowNumbers> rows, const Query &query, const Scores &out) {
    if (query.shape(0) != vectors.shape(1)) throw std::invalid_argument("query must be as long as a row");
    const std::size_t count = rows ? rows->shape(0) : vectors.shape(0);
    if (out.shape(0) != count) throw std::invalid_argument("out must hold one number a row");
    const auto *bits = reinterpret_cast<const std::uint16_t *>(vectors.data());
    const catalogd::HalfRows source{bits, vectors.shape(0), vectors.shape(1)};
    nb::gil_scoped_release release;
    if (rows) check_rows(*rows, source.count);
    Dot(source, rows ? rows->data() : nullptr, count, query.data(), out.data());
}

std::size_t alike_in_runs(const Signatures &held, const Signatures &asking, const Runs &runs, int most_bits,
                          const AlikePairs &out) {
    if (runs.shape(0) != asking.shape(0)) throw std::invalid_argument("there must be one run for each that asks");
    static_assert(sizeof(catalogd::Run) == 2 * sizeof(std::int64_t));
    static_assert(sizeof(catalogd::Alike) == 3 * sizeof(std::int64_t));
    const auto *asked = reinterpret_cast<const catalogd::Run *>(runs.data());
    std::size_t most = 0;
    for (std::size_t i = 0; i < runs.shape(0); ++i) {
        const auto [begin, end] = asked[i];
        if (begin < 0 || end < begin || static_cast<std::size_t>(end) > held.shape(0)) {
            throw std::out_of_range("runs must lie within what is held");
        }
        most += static_cast<std::size_t>(end - begin);
    }
    if (out.shape(0) < most) throw std::invalid_argument("out must have room for every pair of the runs");
    nb::gil_scoped_release release;
    return catalogd::alike_in_runs(held.data(), asking.data(), asked, runs.shape(0), most_bits,
                                   reinterpret_cast<catalogd::Alike *>(out.data()));
}

template <typename Array>
catalogd::Plate plate(const Array &array) {
    return {array.data(), edge(array.shape(0), "luma must have 1 to 2^24 rows"),
            edge(array.shape(1), "luma must have 1 to 2^24 columns")};
}

void subtract_mean(const Luma &luma, int reach, const MutableLuma &out) {
    const catalogd::Plate source = plate(luma);
    if (reach < 0 || reach > kMaxEdge) throw std::invalid_argument("reach must be 0 to 2^24");
    if (out.shape(0) != luma.shape(0) || out.shape(1) != luma.shape(1)) {
        throw std::invalid_argument("out must have the shape of luma");
    }
    nb::gil_scoped_release release;
    catalogd::subtract_mean(source, reach, out.data());
}

void best_correlations(const Pixels &whole, const Pixels &part, std::pair<int, int> size, int reach,
                       double flat_share, double least_spread, const Sizes &sizes, const Correlations &out) {
    const catalogd::Image outer = image(whole), inner = image(part);
    const auto [height, width] = size;
    if (height < 1 || height > kMaxEdge || width < 1 || width > kMaxEdge) {
        throw std::invalid_argument("size must be (height, width), 1 to 2^24");
    }
    if (reach < 0 || reach > kMaxEdge) throw std::invalid_argument("reach must be 0 to 2^24");
    if (out.shape(0) != sizes.shape(0)) throw std::invalid_argument("out must hold one number a size");
    static_assert(sizeof(catalogd::Size) == 2 * sizeof(std::int64_t));
    const auto *asked = reinterpret_cast<const catalogd::Size *>(sizes.data());
    for (std::size_t i = 0; i < sizes.shape(0); ++i) {
        if (asked[i].height < 1 || asked[i].height > height || asked[i].width < 1 || asked[i].width > width) {
            throw std::invalid_argument("sizes must be (height, width), no larger than size");
        }
    }
    const catalogd::Search search{height, width, reach, flat_share, least_spread};
    nb::gil_scoped_release release;
    catalogd::best_correlations(outer, inner, search, asked, sizes.shape(0), out.data());
}

}  // namespace

NB_MODULE(_native, module) {
    module.doc() = "Kernels: frames (resizing, orientation, colour, quality), exact scans, alike pictures. Stateless; the GIL is released.";
    module.def("resize", &resize, "source"_a.noconvert(), "target"_a.noconvert(), "orientation"_a = 1,
               "extent"_a = nb::none());
    module.def("resize_to_tensor", &resize_to_tensor, "source"_a.noconvert(), "target"_a.noconvert(),
               "mean"_a, "scale"_a, "crop"_a = nb::none(), "bgr"_a = false, "placed"_a = nb::none(),
               "fill"_a = 0.0f, "filter"_a = "area");
    module.def("convert_to_srgb", &convert_to_srgb, "frame"_a.noconvert(), "curves"_a.noconvert(),
               "matrix"_a.noconvert());
    define_shrink_planes<std::uint8_t>(module);
    define_shrink_planes<std::uint16_t>(module);
    module.def("quality", &quality, "frame"_a.noconvert());
    module.def("dot_rows", &dot_rows<&catalogd::dot_rows>, "vectors"_a.noconvert(), "rows"_a.noconvert().none(),
               "query"_a.noconvert(), "out"_a.noconvert());
    module.def("dot_rows_portable", &dot_rows<&catalogd::dot_rows_portable>, "vectors"_a.noconvert(),
               "rows"_a.noconvert().none(), "query"_a.noconvert(), "out"_a.noconvert());
    module.def("alike_in_runs", &alike_in_runs, "held"_a.noconvert(), "asking"_a.noconvert(),
               "runs"_a.noconvert(), "most_bits"_a, "out"_a.noconvert());
    module.def("subtract_mean", &subtract_mean, "luma"_a.noconvert(), "reach"_a, "out"_a.noconvert());
    module.def("best_correlations", &best_correlations, "whole"_a.noconvert(), "part"_a.noconvert(), "size"_a,
               "reach"_a, "flat_share"_a, "least_spread"_a, "sizes"_a.noconvert(), "out"_a.noconvert());
}
