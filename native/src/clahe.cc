// Zuiderveld, Graphics Gems IV (1994), 474-485, with OpenCV's arithmetic.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels.h"
#include "scratch.h"

namespace orthoedge {
namespace {

constexpr int kLevels = 256;
using Table = std::array<std::uint8_t, kLevels>;
using Counts = std::array<std::int32_t, kLevels>;

int mirrored(int at, int count) {
  if (count == 1) return 0;
  while (at >= count) at = std::abs(2 * (count - 1) - at);
  return at;
}

// Extends the source at its right and lower edge by reflection, to a multiple of the tile count.
void extend(View source, int tiles, Plane& whole) {
  // If only one side needs it, OpenCV extends the other by a full `tiles` lines, not by none.
  whole.resize(source.rows + tiles - source.rows % tiles, source.cols + tiles - source.cols % tiles);
  for (int y = 0; y < whole.rows(); ++y) {
    const std::uint8_t* line = source.row(mirrored(y, source.rows));
    std::memcpy(whole.row(y), line, static_cast<std::size_t>(source.cols));
    for (int x = source.cols; x < whole.cols(); ++x)
      whole.row(y)[x] = line[mirrored(x, source.cols)];
  }
}

Counts count_levels(View tile) {
  std::array<Counts, 4> parts{};  // neighbours are often equal: one counter would wait for itself
  for (int y = 0; y < tile.rows; ++y) {
    const std::uint8_t* line = tile.row(y);
    int x = 0;
    for (; x + 4 <= tile.cols; x += 4) {
      ++parts[0][line[x]], ++parts[1][line[x + 1]];
      ++parts[2][line[x + 2]], ++parts[3][line[x + 3]];
    }
    for (; x < tile.cols; ++x) ++parts[0][line[x]];
  }
  for (std::size_t level = 0; level < kLevels; ++level)
    parts[0][level] += parts[1][level] + parts[2][level] + parts[3][level];
  return parts[0];
}

void equalize(View tile, double clip, Table& table) {
  Counts counts = count_levels(tile);
  const int area = tile.rows * tile.cols;
  const int limit = std::max(static_cast<int>(clip * area / kLevels), 1);
  const int excess = clip_counts(counts.data(), limit);
  const int rest = excess % kLevels;
  const int step = rest > 0 ? std::max(kLevels / rest, 1) : kLevels;
  for (std::int32_t& count : counts) count += excess / kLevels;
  for (int level = 0, left = rest; level < kLevels && left > 0; level += step, --left)
    ++counts[static_cast<std::size_t>(level)];
  int sum = 0;
  for (std::int32_t& count : counts) count = sum += count;
  scale_sums(counts.data(), static_cast<float>(kLevels - 1) / static_cast<float>(area),
             table.data());
}

// Pixels of one side that lie between the same two tiles.
struct Segment {
  int begin, end, tile;  // `tile` is the one before them, -1 at the rim
};

// For each pixel of one side its weights for the tiles before and after it, and the segments.
struct Interpolation {
  std::vector<float> before, after;
  std::vector<Segment> segments;

  void plan(int count, int tile) {
    before.resize(static_cast<std::size_t>(count));
    after.resize(before.size());
    segments.clear();
    const float scale = 1.f / static_cast<float>(tile);
    for (int at = 0; at < count; ++at) {
      const float place = static_cast<float>(at) * scale - 0.5f;
      const int low = static_cast<int>(std::floor(place));
      const float weight = place - static_cast<float>(low);
      before[static_cast<std::size_t>(at)] = 1.f - weight;
      after[static_cast<std::size_t>(at)] = weight;
      if (segments.empty() || segments.back().tile != low) segments.push_back({at, at, low});
      segments.back().end = at + 1;
    }
  }
};

struct Memory {
  std::vector<Table> tables;
  Interpolation down, across;
  std::vector<std::array<std::uint32_t, kLevels>> between;
};

}  // namespace

void clahe(View pixels, double clip, int tiles, std::uint8_t* result) {
  thread_local Memory memory;
  Plane extended;
  View whole = pixels;
  if (pixels.rows % tiles != 0 || pixels.cols % tiles != 0) {
    extend(pixels, tiles, extended);
    whole = extended.view();
  }
  const int high = whole.rows / tiles, wide = whole.cols / tiles;
  memory.tables.resize(static_cast<std::size_t>(tiles * tiles));
  for (int j = 0; j < tiles; ++j)
    for (int i = 0; i < tiles; ++i)
      equalize(whole.crop(i * wide, j * high, (i + 1) * wide, (j + 1) * high), clip,
               memory.tables[static_cast<std::size_t>(j * tiles + i)]);
  memory.down.plan(pixels.rows, high);
  memory.across.plan(pixels.cols, wide);
  memory.between.resize(memory.across.segments.size());
  const auto table = [&](int j, int i) {
    const int row = std::clamp(j, 0, tiles - 1), column = std::clamp(i, 0, tiles - 1);
    return memory.tables[static_cast<std::size_t>(row * tiles + column)].data();
  };
  for (const Segment& rows : memory.down.segments) {
    auto between = memory.between.begin();
    for (const Segment& columns : memory.across.segments) {
      const std::uint8_t* const corners[4] = {
          table(rows.tile, columns.tile), table(rows.tile, columns.tile + 1),
          table(rows.tile + 1, columns.tile), table(rows.tile + 1, columns.tile + 1)};
      interleave_tables(corners, (between++)->data());
    }
    for (int y = rows.begin; y < rows.end; ++y) {
      std::uint8_t* line = result + static_cast<std::ptrdiff_t>(y) * pixels.cols;
      between = memory.between.begin();
      for (const Segment& columns : memory.across.segments) {
        const int x = columns.begin;
        interpolate_tables(pixels.row(y) + x, (between++)->data(), memory.across.before.data() + x,
                           memory.across.after.data() + x,
                           memory.down.before[static_cast<std::size_t>(y)],
                           memory.down.after[static_cast<std::size_t>(y)], line + x,
                           columns.end - x);
      }
    }
  }
}

}  // namespace orthoedge
