#include "field.h"

#include <utility>
#include <vector>

namespace orthoedge {
namespace {

constexpr int kBright = 178;  // unexposed film is white in the right polarity
constexpr int kDark = 6;      // a shutter drawn by the unit is black
constexpr double kWhiteShare = 0.9, kBlackShare = 0.99;  // of a line that belongs to such a margin
constexpr double kRimShare = 0.25;       // of a line that a white margin partly covers
constexpr double kSmallestField = 0.25;  // of a side; a smaller one is a false detection

// White and black pixels of a line.
struct Margin {
  int white = 0, black = 0;

  void add(int level) { white += level >= kBright, black += level <= kDark; }
  bool is_white(int pixels) const { return white >= kWhiteShare * pixels; }
  bool is_margin(int pixels) const { return is_white(pixels) || black >= kBlackShare * pixels; }
};

// The range of lines outside the margins, end exclusive. Each line has `across` pixels.
std::pair<int, int> inside(const std::vector<Margin>& lines, int across) {
  const int count = static_cast<int>(lines.size());
  const auto line = [&](int at) -> const Margin& { return lines[static_cast<std::size_t>(at)]; };
  const auto is_rim = [&](int at) {
    return at >= 0 && at < count && line(at).white >= kRimShare * across;
  };
  int first = 0, last = count;
  while (first < count && line(first).is_margin(across)) ++first;
  while (last > first && line(last - 1).is_margin(across)) --last;
  if (last - first < kSmallestField * count || first == count) return {0, count};
  // The line next to a white margin is part margin, part field, and with a slightly rotated
  // collimator the next two are.
  const bool white_before = first > 0 && line(first - 1).is_white(across);
  const bool white_after = last < count && line(last).is_white(across);
  if (white_before) {
    ++first;
    if (is_rim(first)) first += is_rim(first + 1) ? 2 : 1;
  }
  if (white_after) {
    --last;
    if (is_rim(last - 1)) last -= is_rim(last - 2) ? 2 : 1;
  }
  if (first >= last) return {0, count};  // only rim would remain
  return {first, last};
}

bool has_margin(View pixels) {
  Margin sides[4];
  for (int x = 0; x < pixels.cols; ++x) {
    sides[0].add(pixels.row(0)[x]);
    sides[1].add(pixels.row(pixels.rows - 1)[x]);
  }
  for (int y = 0; y < pixels.rows; ++y) {
    sides[2].add(pixels.row(y)[0]);
    sides[3].add(pixels.row(y)[pixels.cols - 1]);
  }
  return sides[0].is_margin(pixels.cols) || sides[1].is_margin(pixels.cols) ||
         sides[2].is_margin(pixels.rows) || sides[3].is_margin(pixels.rows);
}

}  // namespace

Box find_field(View coarse, int factor, int rows, int cols) {
  const bool is_scalar = coarse.rows <= 4 && coarse.cols <= 4 && coarse.rows * coarse.cols <= 4;
  if (is_scalar || !has_margin(coarse)) return {0, 0, cols, rows};
  thread_local std::vector<Margin> across, down;
  across.assign(static_cast<std::size_t>(coarse.cols), {});
  down.assign(static_cast<std::size_t>(coarse.rows), {});
  for (int y = 0; y < coarse.rows; ++y)
    for (int x = 0; x < coarse.cols; ++x) {
      const int level = coarse.row(y)[x];
      across[static_cast<std::size_t>(x)].add(level);
      down[static_cast<std::size_t>(y)].add(level);
    }
  const auto [x0, x1] = inside(across, coarse.rows);
  const auto [y0, y1] = inside(down, coarse.cols);
  // Lines that halving dropped at the far sides belong to the last line.
  return {x0 * factor, y0 * factor, x1 == coarse.cols ? cols : x1 * factor,
          y1 == coarse.rows ? rows : y1 * factor};
}

}  // namespace orthoedge
