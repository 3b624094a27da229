#include "look.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <stdexcept>

#include "resize.h"

namespace orthoedge {
namespace {

constexpr int kHalvings = 5, kDirected = 4;
constexpr double kRounding = 0.5;
constexpr double kFar = 4;  // spreads: beyond, how far says nothing any more

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

// Sum of |differences| between neighbours, `right` or down, over the number of pixels.
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

std::vector<float> look(View square) {
  std::vector<Grey> levels{fit(square, square.rows, square.cols)};
  for (int i = 0; i < kHalvings; ++i) levels.push_back(halve(levels.back().view()));
  std::vector<double> found, spread;
  for (const Grey& level : levels) spread.push_back(variance(level.view()));
  spread.push_back(0);
  for (std::size_t i = 0; i < levels.size(); ++i)
    found.push_back(std::log(std::max(spread[i] - spread[i + 1], 0.0) + kRounding));
  for (std::size_t i = 0; i < kDirected; ++i) {
    const double across = edges(levels[i].view(), true), down = edges(levels[i].view(), false);
    found.push_back(std::log(across + down));
    found.push_back(std::log(std::min(across, down) / std::max(across, down)));
  }
  for (const bool columns : {true, false})
    found.push_back(std::log(variance(profile(levels[1].view(), columns).view()) + kRounding) -
                    std::log(spread[0] + 1));
  const View tiny = levels.back().view();
  const int n = tiny.rows, third = n / 3;
  for (const View part : {tiny.crop(0, 0, n, 1), tiny.crop(0, n - 1, n, n), tiny.crop(0, 0, 1, n),
                          tiny.crop(n - 1, 0, n, n), tiny.crop(third, third, n - third, n - third),
                          square})
    found.push_back(mean(part) / 255);
  if (found.size() != kLookSize) throw std::logic_error("look and kLookSize differ");
  return {found.begin(), found.end()};
}

std::vector<double> look_terms(const std::vector<float>& look, const std::vector<double>& centre,
                               const std::vector<double>& spread) {
  std::vector<double> terms;
  for (std::size_t i = 0; i < kLookSize; ++i)
    terms.push_back(std::clamp((look.at(i) - centre.at(i)) / spread.at(i), -kFar, kFar));
  for (std::size_t i = 0; i < kLookSize; ++i)
    for (std::size_t j = i; j < kLookSize; ++j) terms.push_back(terms[i] * terms[j]);
  return terms;
}

}  // namespace orthoedge
