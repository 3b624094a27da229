#include "image_statistics.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <stdexcept>

#include "resize.h"

namespace orthoedge {
namespace {

constexpr int kHalvings = 5;
constexpr int kDirected = 4;       // levels with statistics of edge direction
constexpr double kRounding = 0.5;  // the log of a smaller difference is only rounding to uint8
constexpr double kFar = 4;  // standard deviations; beyond it, squares would dominate the score

double mean(View pixels) {
  double sum = 0;
  for (int y = 0; y < pixels.rows; ++y)
    for (int x = 0; x < pixels.cols; ++x) sum += pixels.row(y)[x];
  return sum / pixels.rows / pixels.cols;
}

double variance(View pixels) {
  double square = 0;
  for (int y = 0; y < pixels.rows; ++y)
    for (int x = 0; x < pixels.cols; ++x) square += pixels.row(y)[x] * pixels.row(y)[x];
  const double average = mean(pixels);
  return std::max(square / pixels.rows / pixels.cols - average * average, 0.0);
}

// Sum of |differences| of horizontal (`right`) or vertical neighbours, per pixel.
double edges(View pixels, bool right) {
  const int down = right ? 0 : 1, across = right ? 1 : 0;
  long sum = 0;
  for (int y = 0; y + down < pixels.rows; ++y)
    for (int x = 0; x + across < pixels.cols; ++x)
      sum += std::abs(pixels.row(y + down)[x + across] - pixels.row(y)[x]);
  return static_cast<double>(sum) / pixels.rows / pixels.cols + 0.1;
}

// The mean of each column, or of each row, rounded to uint8 as OpenCV rounds it.
Grey profile(View pixels, bool columns) {
  const int count = columns ? pixels.cols : pixels.rows;
  const int depth = columns ? pixels.rows : pixels.cols;
  Grey result(1, count);
  for (int i = 0; i < count; ++i) {
    int sum = 0;
    for (int j = 0; j < depth; ++j) sum += columns ? pixels.row(j)[i] : pixels.row(i)[j];
    result.row(0)[i] =
        static_cast<std::uint8_t>(std::lrintf(static_cast<float>(sum) * (1.f / depth)));
  }
  return result;
}

}  // namespace

std::vector<float> image_statistics(View model_input) {
  std::vector<Grey> levels{fit(model_input, model_input.rows, model_input.cols)};
  for (int i = 0; i < kHalvings; ++i) levels.push_back(halve(levels.back().view()));
  std::vector<double> statistics, variances;
  for (const Grey& level : levels) variances.push_back(variance(level.view()));
  variances.push_back(0);
  for (std::size_t i = 0; i < levels.size(); ++i)
    statistics.push_back(std::log(std::max(variances[i] - variances[i + 1], 0.0) + kRounding));
  for (std::size_t i = 0; i < kDirected; ++i) {
    const double across = edges(levels[i].view(), true), down = edges(levels[i].view(), false);
    statistics.push_back(std::log(across + down));
    statistics.push_back(std::log(std::min(across, down) / std::max(across, down)));
  }
  for (const bool columns : {true, false})
    statistics.push_back(std::log(variance(profile(levels[1].view(), columns).view()) + kRounding) -
                         std::log(variances[0] + 1));
  const View tiny = levels.back().view();
  const int n = tiny.rows, third = n / 3;
  for (const View part :
       {tiny.crop(0, 0, n, 1), tiny.crop(0, n - 1, n, n), tiny.crop(0, 0, 1, n),
        tiny.crop(n - 1, 0, n, n), tiny.crop(third, third, n - third, n - third), model_input})
    statistics.push_back(mean(part) / 255);
  if (statistics.size() != kStatisticsSize)
    throw std::logic_error("the number of statistics is not kStatisticsSize");
  return {statistics.begin(), statistics.end()};
}

std::vector<double> statistics_terms(const std::vector<float>& statistics,
                                     const std::vector<double>& means,
                                     const std::vector<double>& deviations) {
  std::vector<double> terms;
  for (std::size_t i = 0; i < kStatisticsSize; ++i)
    terms.push_back(std::clamp((statistics.at(i) - means.at(i)) / deviations.at(i), -kFar, kFar));
  for (std::size_t i = 0; i < kStatisticsSize; ++i)
    for (std::size_t j = i; j < kStatisticsSize; ++j) terms.push_back(terms[i] * terms[j]);
  return terms;
}

}  // namespace orthoedge
