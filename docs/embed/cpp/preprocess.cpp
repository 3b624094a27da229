#include "preprocess.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "clahe.h"
#include "resize.h"

namespace orthoedge {
namespace {

constexpr int kCoarse = 128;
constexpr int kMarginBright = 178, kMarginDark = 6;
constexpr double kSmallestField = 0.25;

// Rounds halves to even, as Python does, and to at least 1.
int scaled(int length, double scale) {
  return std::max(1, static_cast<int>(std::nearbyint(length * scale)));
}

// The range of lines outside the margins, end exclusive. Each line has `across` pixels.
std::pair<int, int> inside(const std::vector<int>& white, const std::vector<int>& black,
                           int across) {
  const int count = static_cast<int>(white.size());
  const auto is_bright = [&](int line) {
    return white[static_cast<std::size_t>(line)] >= 0.9 * across;
  };
  const auto is_dark = [&](int line) {
    return black[static_cast<std::size_t>(line)] >= 0.99 * across;
  };
  const auto is_rim = [&](int line) {
    return line >= 0 && line < count && white[static_cast<std::size_t>(line)] >= 0.25 * across;
  };
  const auto in_margin = [&](int line) { return is_bright(line) || is_dark(line); };
  int first = 0, last = count;
  while (first < count && in_margin(first)) ++first;
  while (last > first && in_margin(last - 1)) --last;
  if (first == count || last - first < kSmallestField * count) return {0, count};
  if (first > 0 && is_bright(first - 1)) {
    ++first;
    if (is_rim(first)) first += is_rim(first + 1) ? 2 : 1;
  }
  if (last < count && is_bright(last)) {
    --last;
    if (is_rim(last - 1)) last -= is_rim(last - 2) ? 2 : 1;
  }
  if (first >= last) return {0, count};  // only rim would remain
  return {first, last};
}

// Halves the image while the long side is at least `least`; also returns the factor.
std::pair<Grey, int> halved(View pixels, int least) {
  Grey result(0, 0);
  View left = pixels;
  int factor = 1;
  for (; std::max(left.rows, left.cols) >= 2 * least && std::min(left.rows, left.cols) >= 2;
       factor *= 2) {
    result = halve(left);
    left = result.view();
  }
  if (factor == 1) {
    result = Grey(pixels.rows, pixels.cols);
    for (int y = 0; y < pixels.rows; ++y) std::copy_n(pixels.row(y), pixels.cols, result.row(y));
  }
  return {std::move(result), factor};
}

Box find_field(View pixels) {
  if (pixels.rows * pixels.cols <= 4) return {0, 0, pixels.cols, pixels.rows};  // as in Python
  const auto [coarse, factor] = halved(pixels, kCoarse);
  std::vector<int> white_rows(static_cast<std::size_t>(coarse.rows)), black_rows(white_rows);
  std::vector<int> white_cols(static_cast<std::size_t>(coarse.cols)), black_cols(white_cols);
  for (int y = 0; y < coarse.rows; ++y)
    for (int x = 0; x < coarse.cols; ++x) {
      const int level = coarse.view().row(y)[x];
      const auto row = static_cast<std::size_t>(y), column = static_cast<std::size_t>(x);
      white_rows[row] += level >= kMarginBright, white_cols[column] += level >= kMarginBright;
      black_rows[row] += level <= kMarginDark, black_cols[column] += level <= kMarginDark;
    }
  const auto [x0, x1] = inside(white_cols, black_cols, coarse.rows);
  const auto [y0, y1] = inside(white_rows, black_rows, coarse.cols);
  // Lines that halving dropped at the far sides belong to the last line.
  return {x0 * factor, y0 * factor, x1 == coarse.cols ? pixels.cols : x1 * factor,
          y1 == coarse.rows ? pixels.rows : y1 * factor};
}

Box letterbox(View pixels, Grey& model_input) {
  const double scale = static_cast<double>(model_input.rows) / std::max(pixels.rows, pixels.cols);
  const int rows = scaled(pixels.rows, scale), cols = scaled(pixels.cols, scale);
  const Grey fitted = fit(halved(pixels, model_input.rows).first.view(), rows, cols);
  const int x0 = (model_input.cols - cols) / 2, y0 = (model_input.rows - rows) / 2;
  for (int y = 0; y < rows; ++y)
    std::copy_n(fitted.view().row(y), cols, model_input.row(y0 + y) + x0);
  return {x0, y0, x0 + cols, y0 + rows};
}

}  // namespace

Prepared prepare(const Preprocess& settings, View radiograph) {
  using Stage = Preprocess::Stage;
  Prepared result{Grey(settings.size, settings.size), {0, 0, radiograph.cols, radiograph.rows}, {}};
  if (settings.crop_field) result.field = find_field(radiograph);
  const auto [x0, y0, x1, y1] = result.field;
  const View field = radiograph.crop(x0, y0, x1, y1);
  const auto equalized = [&](View pixels) {
    return clahe(pixels, settings.clahe_clip, settings.clahe_tiles);
  };
  if (settings.clahe_stage == Stage::kBefore)
    result.content = letterbox(equalized(field).view(), result.model_input);
  else
    result.content = letterbox(field, result.model_input);
  if (settings.clahe_stage == Stage::kAfter)
    result.model_input = equalized(result.model_input.view());
  return result;
}

}  // namespace orthoedge
