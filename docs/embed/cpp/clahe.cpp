#include "clahe.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace orthoedge {
namespace {

constexpr int kLevels = 256;
using Table = std::array<std::uint8_t, kLevels>;

// Extends the source at its right and lower edge by reflection, to a multiple of the tile count.
Grey whole_tiles(View source, int tiles) {
  const bool fits = source.rows % tiles == 0 && source.cols % tiles == 0;
  // If only one side needs padding, OpenCV pads the other by a full `tiles` lines, not by none.
  const int rows = source.rows + (fits ? 0 : tiles - source.rows % tiles);
  const int cols = source.cols + (fits ? 0 : tiles - source.cols % tiles);
  const auto mirror = [](int at, int count) {
    while (count > 1 && at >= count) at = std::abs(2 * (count - 1) - at);
    return count > 1 ? at : 0;
  };
  Grey result(rows, cols);
  for (int y = 0; y < rows; ++y)
    for (int x = 0; x < cols; ++x)
      result.row(y)[x] = source.row(mirror(y, source.rows))[mirror(x, source.cols)];
  return result;
}

Table equalize(View tile, double clip) {
  std::array<int, kLevels> counts{};
  for (int y = 0; y < tile.rows; ++y)
    for (int x = 0; x < tile.cols; ++x) ++counts[tile.row(y)[x]];
  const int area = tile.rows * tile.cols;
  const int limit = std::max(static_cast<int>(clip * area / kLevels), 1);
  int excess = 0;
  for (int& count : counts) {
    excess += std::max(count - limit, 0);
    count = std::min(count, limit);
  }
  const int rest = excess % kLevels;
  for (int& count : counts) count += excess / kLevels;
  const int step = rest > 0 ? std::max(kLevels / rest, 1) : kLevels;
  for (int level = 0, left = rest; level < kLevels && left > 0; level += step, --left)
    ++counts[static_cast<std::size_t>(level)];
  Table table;
  const float scale = static_cast<float>(kLevels - 1) / static_cast<float>(area);
  int sum = 0;
  for (std::size_t level = 0; level < counts.size(); ++level) {
    sum += counts[level];
    table[level] = static_cast<std::uint8_t>(
        std::clamp<long>(std::lrintf(static_cast<float>(sum) * scale), 0, 255));
  }
  return table;
}

// The two tiles whose tables are interpolated at a position, and their weights.
struct Interpolation {
  std::size_t low, high;
  float low_weight, high_weight;
};

std::vector<Interpolation> interpolations(int count, int tile, int tiles) {
  std::vector<Interpolation> lines;
  const float scale = 1.f / static_cast<float>(tile);
  for (int at = 0; at < count; ++at) {
    const float place = static_cast<float>(at) * scale - 0.5f;
    const int low = static_cast<int>(std::floor(place));
    const float weight = place - static_cast<float>(low);
    lines.push_back({static_cast<std::size_t>(std::max(low, 0)),
                     static_cast<std::size_t>(std::min(low + 1, tiles - 1)), 1.f - weight, weight});
  }
  return lines;
}

}  // namespace

Grey clahe(View source, double clip, int tiles) {
  const Grey whole = whole_tiles(source, tiles);
  const int high = whole.rows / tiles, wide = whole.cols / tiles;
  std::vector<Table> tables;
  for (int j = 0; j < tiles; ++j)
    for (int i = 0; i < tiles; ++i)
      tables.push_back(
          equalize(whole.view().crop(i * wide, j * high, (i + 1) * wide, (j + 1) * high), clip));
  const std::vector<Interpolation> down = interpolations(source.rows, high, tiles);
  const std::vector<Interpolation> across = interpolations(source.cols, wide, tiles);
  Grey result(source.rows, source.cols);
  for (int y = 0; y < source.rows; ++y) {
    const Interpolation& row = down[static_cast<std::size_t>(y)];
    const Table* upper = tables.data() + row.low * static_cast<std::size_t>(tiles);
    const Table* lower = tables.data() + row.high * static_cast<std::size_t>(tiles);
    for (int x = 0; x < source.cols; ++x) {
      const Interpolation& column = across[static_cast<std::size_t>(x)];
      const std::uint8_t level = source.row(y)[x];
      const float above = static_cast<float>(upper[column.low][level]) * column.low_weight +
                          static_cast<float>(upper[column.high][level]) * column.high_weight;
      const float below = static_cast<float>(lower[column.low][level]) * column.low_weight +
                          static_cast<float>(lower[column.high][level]) * column.high_weight;
      const float value = above * row.low_weight + below * row.high_weight;
      result.row(y)[x] = static_cast<std::uint8_t>(std::clamp<long>(std::lrintf(value), 0, 255));
    }
  }
  return result;
}

}  // namespace orthoedge
