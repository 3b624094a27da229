#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "resize.h"

namespace orthoedge {
namespace {

constexpr int kSamples = 64;  // along the longer side, without averaging, so that noise remains
constexpr int kBlack = 5, kWhite = 250;
constexpr int kCells = 8;  // per side of the grid that separates rim and middle

template <std::size_t N>
double median(std::array<std::uint8_t, N> values) {
  static_assert(N % 2 == 0);
  std::sort(values.begin(), values.end());
  return (values[N / 2 - 1] + values[N / 2]) / 2.0;
}

double add_rim_less_middle(double mean, View sample) {
  std::array<std::uint8_t, kCells * kCells> cells;
  resize_area(sample, kCells, cells.data());
  std::array<std::uint8_t, 4 * kCells - 4> rim;
  std::array<std::uint8_t, kCells * kCells / 4> middle;
  std::size_t in_rim = 0, in_middle = 0;
  const auto is_outer = [](int at) { return at == 0 || at == kCells - 1; };
  const auto is_inner = [](int at) { return at >= kCells / 4 && at < kCells - kCells / 4; };
  for (int y = 0; y < kCells; ++y)
    for (int x = 0; x < kCells; ++x) {
      const std::uint8_t level = cells[static_cast<std::size_t>(y * kCells + x)];
      if (is_outer(y) || is_outer(x))
        rim[in_rim++] = level;
      else if (is_inner(y) && is_inner(x))
        middle[in_middle++] = level;
    }
  return mean + median(rim) - median(middle);
}

}  // namespace

Quality measure_quality(View field) {
  thread_local Plane sample;
  const int step = (std::max(field.rows, field.cols) + kSamples - 1) / kSamples;
  sample.resize((field.rows - 1) / step + 1, (field.cols - 1) / step + 1);
  std::array<int, 256> below{};  // first the pixels of each level, then those up to it
  for (int y = 0; y < sample.rows(); ++y) {
    const std::uint8_t* line = field.row(y * step);
    std::uint8_t* sampled = sample.row(y);
    for (int x = 0; x < sample.cols(); ++x) {
      sampled[x] = line[static_cast<std::ptrdiff_t>(x) * step];
      ++below[sampled[x]];
    }
  }
  const int count = sample.rows() * sample.cols();
  int sum = 0, sum_below = 0;
  for (int level = 1; level < 256; ++level) sum += level * below[static_cast<std::size_t>(level)];
  for (std::size_t level = 1; level < 256; ++level) below[level] += below[level - 1];
  for (const int pixels : below) sum_below += pixels;
  const auto percentile = [&](double share) {
    return static_cast<int>(
        std::lower_bound(below.begin(), below.end(), share * count) - below.begin());
  };
  return {256 - static_cast<double>(sum_below) / count,
          static_cast<double>(below[kBlack]) / count,
          1 - static_cast<double>(below[kWhite - 1]) / count,
          percentile(0.98) - percentile(0.02),
          add_rim_less_middle(sum * (1.0 / count), sample.view())};
}

}  // namespace orthoedge
