// The Python module orthoedge_native._library. Arrays are checked here; the caller allocates.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <stdexcept>
#include <string_view>

#include "orthoedge/preparation.h"

namespace nb = nanobind;

namespace {

using Pixels = nb::ndarray<const std::uint8_t, nb::ndim<2>, nb::device::cpu>;
using Result = nb::ndarray<std::uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Samples = nb::ndarray<const std::uint16_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Table = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Numbers = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Stage = orthoedge::Preprocess::Stage;

constexpr std::size_t kMostPixels = 2147483647, kLongestSide = std::size_t{1} << 26;

orthoedge::View view_of(const Pixels& pixels) {
  const std::size_t rows = pixels.shape(0), cols = pixels.shape(1);
  if (rows == 0 || cols == 0) throw std::invalid_argument("no pixels");
  if (rows > kLongestSide || cols > kLongestSide || rows * cols > kMostPixels)
    throw std::invalid_argument("more than 2147483647 pixels, or 67108864 a side");
  if (cols > 1 && pixels.stride(1) != 1)
    throw std::invalid_argument("the pixels of a row are not next to each other");
  return {pixels.data(), static_cast<int>(rows), static_cast<int>(cols),
          static_cast<std::ptrdiff_t>(pixels.stride(0))};
}

Stage stage_of(std::string_view name) {
  if (name == "after") return Stage::kAfter;
  if (name == "before") return Stage::kBefore;
  if (name == "none") return Stage::kNone;
  throw std::invalid_argument("clahe_stage: expected after, before or none");
}

nb::tuple prepare(const Pixels& radiograph, bool crop_field, const char* clahe_stage,
                  double clahe_clip, int clahe_tiles, const Result& model_input,
                  const Numbers& statistics) {
  const orthoedge::View pixels = view_of(radiograph);
  const auto size = model_input.shape(0);
  if (model_input.shape(1) != size || size > 1024)
    throw std::invalid_argument("model_input: expected a square of at most 1024 pixels a side");
  if (statistics.shape(0) != orthoedge::kStatisticsSize)
    throw std::invalid_argument("statistics: expected 22 numbers");
  const orthoedge::Preprocess settings{static_cast<int>(size), crop_field, stage_of(clahe_stage),
                                       clahe_clip, clahe_tiles};
  orthoedge::Placement placement;
  orthoedge::Quality quality;
  {
    const nb::gil_scoped_release released;
    placement = orthoedge::prepare(settings, pixels, model_input.data());
    const auto [x0, y0, x1, y1] = placement.field;
    quality = orthoedge::measure_quality(pixels.crop(x0, y0, x1, y1));
    const int side = settings.size;
    const auto measured = orthoedge::image_statistics({model_input.data(), side, side, side});
    std::copy(measured.begin(), measured.end(), statistics.data());
  }
  const auto box = [](const orthoedge::Box& sides) {
    return nb::make_tuple(sides[0], sides[1], sides[2], sides[3]);
  };
  return nb::make_tuple(box(placement.field), box(placement.content),
                        nb::make_tuple(quality.mean, quality.black_share, quality.white_share,
                                       quality.levels, quality.negative));
}

void look_up(const Samples& samples, const Table& table, const Result& pixels) {
  if (table.shape(0) != orthoedge::kTableSize)
    throw std::invalid_argument("table: expected 65536 grey levels");
  if (samples.shape(0) != pixels.shape(0) || samples.shape(1) != pixels.shape(1))
    throw std::invalid_argument("pixels: expected the shape of the samples");
  const nb::gil_scoped_release released;
  orthoedge::look_up(samples.data(), samples.size(), table.data(), pixels.data());
}

}  // namespace

NB_MODULE(_library, module) {
  module.def("prepare", &prepare, nb::arg("radiograph").noconvert(), nb::arg("crop_field"),
             nb::arg("clahe_stage"), nb::arg("clahe_clip"), nb::arg("clahe_tiles"),
             nb::arg("model_input").noconvert(), nb::arg("statistics").noconvert());
  module.def("look_up", &look_up, nb::arg("samples").noconvert(), nb::arg("table").noconvert(),
             nb::arg("pixels").noconvert());
  module.def("instruction_set", &orthoedge::instruction_set);
}
