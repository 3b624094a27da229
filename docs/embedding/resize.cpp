// The same bytes need the same arithmetic: where OpenCV computes in float, so does this, in its
// order; where it computes in fixed point, so does this. Build without contraction (FMA).
#include "resize.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace orthoedge {
namespace {

std::uint8_t rounded(float value) {
  return static_cast<std::uint8_t>(std::clamp<long>(std::lrintf(value), 0, 255));
}

// One source pixel's share in one target pixel.
struct Share {
  int source, target;
  float weight;
};

std::vector<Share> shares(int source, int target, double scale) {
  std::vector<Share> found;
  for (int t = 0; t < target; ++t) {
    const double from = t * scale, to = from + scale;
    const double width = std::min(scale, source - from);
    const int last = std::min(static_cast<int>(std::floor(to)), source - 1);
    const int first = std::min(static_cast<int>(std::ceil(from)), last);
    if (first - from > 1e-3)
      found.push_back({first - 1, t, static_cast<float>((first - from) / width)});
    for (int s = first; s < last; ++s) found.push_back({s, t, static_cast<float>(1.0 / width)});
    if (to - last > 1e-3)
      found.push_back(
          {last, t, static_cast<float>(std::min(std::min(to - last, 1.0), width) / width)});
  }
  return found;
}

Grey shrink_by_whole_numbers(View source, int rows, int cols, int high, int wide) {
  Grey result(rows, cols);
  const float scale = 1.f / static_cast<float>(high * wide);
  for (int y = 0; y < rows; ++y)
    for (int x = 0; x < cols; ++x) {
      int sum = 0;
      for (int j = 0; j < high; ++j) {
        const std::uint8_t* line = source.row(y * high + j) + x * wide;
        for (int i = 0; i < wide; ++i) sum += line[i];
      }
      // OpenCV rounds halves of 2×2 boxes up, and of all others to even.
      result.row(y)[x] = high == 2 && wide == 2 ? static_cast<std::uint8_t>((sum + 2) >> 2)
                                                : rounded(static_cast<float>(sum) * scale);
    }
  return result;
}

// Where a target line lies between two source lines, in 11-bit fixed point.
struct Between {
  int source;
  int weights[2];
};

std::vector<Between> between(int source, int target, bool clamp) {
  const double scale = 1.0 / (static_cast<double>(target) / source);
  std::vector<Between> found;
  for (int t = 0; t < target; ++t) {
    float place = static_cast<float>((t + 0.5) * scale - 0.5);
    int s = static_cast<int>(std::floor(place));
    place -= static_cast<float>(s);
    if (clamp && s < 0) s = 0, place = 0;
    if (clamp && s >= source - 1) s = source - 1, place = 0;
    found.push_back({s,
                     {static_cast<int>(std::lrintf((1.f - place) * 2048.f)),
                      static_cast<int>(std::lrintf(place * 2048.f))}});
  }
  return found;
}

}  // namespace

Grey shrink(View source, int rows, int cols) {
  const double high = 1.0 / (static_cast<double>(rows) / source.rows);
  const double wide = 1.0 / (static_cast<double>(cols) / source.cols);
  const double epsilon = std::numeric_limits<double>::epsilon();
  if (std::abs(high - std::nearbyint(high)) < epsilon &&
      std::abs(wide - std::nearbyint(wide)) < epsilon)
    return shrink_by_whole_numbers(source, rows, cols, static_cast<int>(std::nearbyint(high)),
                                   static_cast<int>(std::nearbyint(wide)));
  const std::vector<Share> across = shares(source.cols, cols, wide);
  Grey result(rows, cols);
  std::vector<float> line(static_cast<std::size_t>(cols)), sum(line.size());
  int current = -1;
  const auto flush = [&] {
    if (current < 0) return;
    std::transform(sum.begin(), sum.end(), result.row(current), rounded);
    std::fill(sum.begin(), sum.end(), 0.f);
  };
  for (const Share& down : shares(source.rows, rows, high)) {
    if (down.target != current) flush();
    current = down.target;
    std::fill(line.begin(), line.end(), 0.f);
    const std::uint8_t* pixels = source.row(down.source);
    for (const Share& share : across)
      line[static_cast<std::size_t>(share.target)] +=
          static_cast<float>(pixels[share.source]) * share.weight;
    for (std::size_t x = 0; x < sum.size(); ++x) sum[x] += down.weight * line[x];
  }
  flush();
  return result;
}

Grey enlarge(View source, int rows, int cols) {
  const std::vector<Between> across = between(source.cols, cols, true);
  const std::vector<Between> down = between(source.rows, rows, false);
  Grey result(rows, cols);
  if (rows == source.rows && cols == source.cols) {
    for (int y = 0; y < rows; ++y) std::copy_n(source.row(y), cols, result.row(y));
    return result;
  }
  const auto blend = [](const std::uint8_t* line, const Between& at, int last) {
    return line[at.source] * at.weights[0] + line[std::min(at.source + 1, last)] * at.weights[1];
  };
  for (int y = 0; y < rows; ++y) {
    const Between& at = down[static_cast<std::size_t>(y)];
    const std::uint8_t* upper = source.row(std::clamp(at.source, 0, source.rows - 1));
    const std::uint8_t* lower = source.row(std::clamp(at.source + 1, 0, source.rows - 1));
    for (int x = 0; x < cols; ++x) {
      const Between& column = across[static_cast<std::size_t>(x)];
      const int a = blend(upper, column, source.cols - 1) >> 4;
      const int b = blend(lower, column, source.cols - 1) >> 4;
      result.row(y)[x] = static_cast<std::uint8_t>(
          (((at.weights[0] * a) >> 16) + ((at.weights[1] * b) >> 16) + 2) >> 2);
    }
  }
  return result;
}

}  // namespace orthoedge
