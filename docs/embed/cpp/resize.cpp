// The same bytes need OpenCV's arithmetic: float weights, rounded to fixed point. Build with
// -ffp-contract=off (no FMA).
#include "resize.h"

#include <algorithm>
#include <cmath>

namespace orthoedge {
namespace {

// A target line between two source lines, with weights in 11-bit fixed point.
struct Interpolation {
  int source;
  int weights[2];
};

std::vector<Interpolation> interpolations(int source, int target, bool clamp) {
  const double scale = 1.0 / (static_cast<double>(target) / source);
  std::vector<Interpolation> lines;
  for (int t = 0; t < target; ++t) {
    float place = static_cast<float>((t + 0.5) * scale - 0.5);
    int s = static_cast<int>(std::floor(place));
    place -= static_cast<float>(s);
    if (clamp && s < 0) s = 0, place = 0;
    if (clamp && s >= source - 1) s = source - 1, place = 0;
    lines.push_back({s,
                     {static_cast<int>(std::lrintf((1.f - place) * 2048.f)),
                      static_cast<int>(std::lrintf(place * 2048.f))}});
  }
  return lines;
}

}  // namespace

Grey halve(View source) {
  Grey result(source.rows / 2, source.cols / 2);
  for (int y = 0; y < source.rows / 2; ++y) {
    const std::uint8_t *upper = source.row(2 * y), *lower = source.row(2 * y + 1);
    for (int x = 0; x < source.cols / 2; ++x)
      result.row(y)[x] = static_cast<std::uint8_t>(
          (upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1] + 2) >> 2);
  }
  return result;
}

Grey fit(View source, int rows, int cols) {
  const std::vector<Interpolation> across = interpolations(source.cols, cols, true);
  const std::vector<Interpolation> down = interpolations(source.rows, rows, false);
  Grey result(rows, cols);
  if (rows == source.rows && cols == source.cols) {
    for (int y = 0; y < rows; ++y) std::copy_n(source.row(y), cols, result.row(y));
    return result;
  }
  const auto blend = [](const std::uint8_t* line, const Interpolation& at, int last) {
    return line[at.source] * at.weights[0] + line[std::min(at.source + 1, last)] * at.weights[1];
  };
  for (int y = 0; y < rows; ++y) {
    const Interpolation& at = down[static_cast<std::size_t>(y)];
    const std::uint8_t* upper = source.row(std::clamp(at.source, 0, source.rows - 1));
    const std::uint8_t* lower = source.row(std::clamp(at.source + 1, 0, source.rows - 1));
    for (int x = 0; x < cols; ++x) {
      const Interpolation& column = across[static_cast<std::size_t>(x)];
      const int a = blend(upper, column, source.cols - 1) >> 4;
      const int b = blend(lower, column, source.cols - 1) >> 4;
      result.row(y)[x] = static_cast<std::uint8_t>(
          (((at.weights[0] * a) >> 16) + ((at.weights[1] * b) >> 16) + 2) >> 2);
    }
  }
  return result;
}

}  // namespace orthoedge
