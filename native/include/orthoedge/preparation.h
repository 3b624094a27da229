// What happens to a radiograph before the network: collimated field, letterbox, CLAHE, measures of
// its quality, and image statistics. The same bytes as orthoedge's Python runtime, which computes
// them with OpenCV; every function may be called from several threads.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace orthoedge {

// 8-bit grey pixels in memory owned elsewhere. Both sides are at least 1.
struct View {
  const std::uint8_t* data;
  int rows, cols;
  std::ptrdiff_t stride;  // bytes from one row to the next; may be negative

  const std::uint8_t* row(int y) const { return data + y * stride; }
  View crop(int x0, int y0, int x1, int y1) const {
    return {data + y0 * stride + x0, y1 - y0, x1 - x0, stride};
  }
};

// The manifest's `preprocess`.
struct Preprocess {
  int size = 0;             // side of the model input in pixels, 32 to 1024
  bool crop_field = false;  // whether collimator margins are cut
  enum class Stage { kAfter, kBefore, kNone } clahe_stage = Stage::kNone;
  double clahe_clip = 0;  // above 0, at most 40
  int clahe_tiles = 0;    // per side, 1 to 32
};

using Box = std::array<int, 4>;  // x0, y0, x1, y1, end exclusive

struct Placement {
  Box field;    // the collimated field on the radiograph
  Box content;  // that field inside the model input
};

// Measured on at most 64 × 64 pixels of the collimated field.
struct Quality {
  double mean;         // grey level, 0 to 255
  double black_share;  // of pixels of level 5 or less
  double white_share;  // of pixels of level 250 or more
  int levels;          // from percentile 2 to 98
  double negative;     // mean + rim - middle: high if bone is dark on bright
};

constexpr int kStatisticsSize = 22;
using Statistics = std::array<float, kStatisticsSize>;

constexpr std::size_t kTableSize = 65536;

// Takes the grey level of each sample of 16 bits from a table of kTableSize levels.
void look_up(const std::uint16_t* samples, std::size_t count, const std::uint8_t* table,
             std::uint8_t* pixels);

// Writes the model input, size × size bytes without padding, bone bright on dark as `radiograph`.
// Throws std::invalid_argument for a setting out of range, or an empty radiograph.
Placement prepare(const Preprocess& settings, View radiograph, std::uint8_t* model_input);

Box find_collimated_field(View radiograph);

Quality measure_quality(View field);

// `model_input` is square, with at least 32 pixels a side.
Statistics image_statistics(View model_input);

// Writes rows × cols bytes without padding.
void clahe(View pixels, double clip, int tiles, std::uint8_t* result);

// The instruction set that the functions above run with, such as "AVX2".
const char* instruction_set();

}  // namespace orthoedge
