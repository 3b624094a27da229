#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "kernels.h"
#include "resize.h"

namespace orthoedge {
namespace {

constexpr int kHalvings = 5;
constexpr int kDirected = 4;       // levels with statistics of edge direction
constexpr double kRounding = 0.5;  // the log of a smaller difference is only rounding to uint8

struct MeanAndVariance {
  double mean, variance;
};

MeanAndVariance mean_and_variance(View pixels) {
  const Moments sums = moments(pixels);
  const double scale = 1.0 / (static_cast<double>(pixels.rows) * pixels.cols);
  const double mean = static_cast<double>(sums.sum) * scale;
  const double deviation =
      std::sqrt(std::max(static_cast<double>(sums.squares) * scale - mean * mean, 0.0));
  return {mean, std::pow(deviation, 2.0)};
}

// Mean |difference| of horizontal (`right`) or vertical neighbours.
double edges(View pixels, bool right) {
  const int x = right ? 1 : 0, y = right ? 0 : 1;
  const View later = pixels.crop(x, y, pixels.cols, pixels.rows);
  const View earlier = pixels.crop(0, 0, pixels.cols - x, pixels.rows - y);
  const double count = static_cast<double>(pixels.rows) * pixels.cols;
  return static_cast<double>(sum_of_differences(later, earlier)) / count + 0.1;
}

double mean_of(View pixels) {
  int sum = 0;
  for (int y = 0; y < pixels.rows; ++y)
    for (int x = 0; x < pixels.cols; ++x) sum += pixels.row(y)[x];
  return static_cast<double>(sum) / (pixels.rows * pixels.cols);
}

// The means of the columns and of the rows, rounded to uint8 as OpenCV rounds them.
void profiles(View pixels, Plane& columns, Plane& rows) {
  columns.resize(1, pixels.cols);
  rows.resize(1, pixels.rows);
  thread_local std::vector<int> sums;
  sums.assign(static_cast<std::size_t>(pixels.cols), 0);
  const auto average = [](int sum, int count) {
    const float scale = static_cast<float>(1.0 / count);
    return static_cast<std::uint8_t>(std::lrintf(static_cast<float>(sum) * scale));
  };
  for (int y = 0; y < pixels.rows; ++y) {
    const std::uint8_t* line = pixels.row(y);
    int sum = 0;
    for (int x = 0; x < pixels.cols; ++x)
      sum += line[x], sums[static_cast<std::size_t>(x)] += line[x];
    rows.row(0)[y] = average(sum, pixels.cols);
  }
  for (int x = 0; x < pixels.cols; ++x)
    columns.row(0)[x] = average(sums[static_cast<std::size_t>(x)], pixels.rows);
}

}  // namespace

Statistics image_statistics(View model_input) {
  if (model_input.rows != model_input.cols || model_input.rows < 1 << kHalvings)
    throw std::invalid_argument("expected a square of at least 32 pixels a side");
  thread_local Halvings halvings;
  thread_local Plane columns, rows;
  halvings.make(model_input, 1, kHalvings);
  Statistics result;
  auto next = result.begin();
  const auto add = [&](double value) { *next++ = static_cast<float>(value); };

  const double mean = mean_and_variance(model_input).mean;
  std::array<double, kHalvings + 2> variances{};
  for (int i = 0; i <= kHalvings; ++i)
    variances[static_cast<std::size_t>(i)] = mean_and_variance(halvings.level(i)).variance;
  for (std::size_t i = 0; i <= kHalvings; ++i)
    add(std::log(std::max(variances[i] - variances[i + 1], 0.0) + kRounding));
  for (int i = 0; i < kDirected; ++i) {
    const double across = edges(halvings.level(i), true), down = edges(halvings.level(i), false);
    add(std::log(across + down));
    add(std::log(std::min(across, down) / std::max(across, down)));
  }
  profiles(halvings.level(1), columns, rows);
  const double whole = std::log(variances[0] + 1);
  for (const Plane* profile : {&columns, &rows})
    add(std::log(mean_and_variance(profile->view()).variance + kRounding) - whole);
  const View tiny = halvings.level(kHalvings);
  const int n = tiny.rows, third = n / 3;
  for (const View part :
       {tiny.crop(0, 0, n, 1), tiny.crop(0, n - 1, n, n), tiny.crop(0, 0, 1, n),
        tiny.crop(n - 1, 0, n, n), tiny.crop(third, third, n - third, n - third)})
    add(mean_of(part) / 255);
  add(mean / 255);
  return result;
}

}  // namespace orthoedge
