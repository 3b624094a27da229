// The same bytes need OpenCV's arithmetic: float weights, rounded to fixed point.
#include "resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels.h"

namespace orthoedge {
namespace {

constexpr int kOne = 2048;  // weights in 11-bit fixed point

// A result between two neighbouring source pixels.
struct Interpolation {
  int source;
  int weights[2];
};

// `enlarge` takes the weights that INTER_AREA has where it enlarges.
Interpolation interpolation(int source, int target, int at, bool enlarge) {
  const double inverse = static_cast<double>(target) / source, scale = 1.0 / inverse;
  float place;
  int s;
  if (enlarge) {
    s = static_cast<int>(std::floor(at * scale));
    place = static_cast<float>((at + 1) - (s + 1) * inverse);
    place = place <= 0 ? 0.f : place - std::floor(place);
  } else {
    place = static_cast<float>((at + 0.5) * scale - 0.5);
    s = static_cast<int>(std::floor(place));
    place -= static_cast<float>(s);
  }
  return {s,
          {static_cast<int>(std::lrintf((1.f - place) * kOne)),
           static_cast<int>(std::lrintf(place * kOne))}};
}

// Horizontal interpolation of whole lines; kept from image to image, since shapes repeat.
class LineInterpolation {
 public:
  void plan(int source, int target, bool enlarge) {
    if (source == source_ && target == target_ && enlarge == enlarge_) return;
    source_ = source, target_ = target, enlarge_ = enlarge;
    columns_.clear();
    for (int x = 0; x < target; ++x) {
      Interpolation column = interpolation(source, target, x, enlarge);
      if (column.source < 0) column = {0, {kOne, 0}};
      if (column.source >= source - 1) column = {source - 1, {kOne, 0}};
      columns_.push_back(column);
    }
    plan_blocks();
  }

  void run(const std::uint8_t* line, std::int16_t* result) const {
    if (!blocks_.empty()) {
      interpolate_blocks(line, blocks_.data(), blocks_.size(), result);
      return;
    }
    for (int x = 0; x < target_; ++x) {
      const auto& [source, weights] = columns_[static_cast<std::size_t>(x)];
      result[x] = static_cast<std::int16_t>(
          (line[source] * weights[0] + line[std::min(source + 1, source_ - 1)] * weights[1]) >> 4);
    }
  }

 private:
  // Blocks of eight results whose source pixels are within 16; none where that is not so.
  void plan_blocks() {
    blocks_.clear();
    if (source_ < 16 || target_ < 8) return;
    for (int start = 0; start < target_; start += 8) {
      InterpolatedBlock block{};
      block.target = std::min(start, target_ - 8);
      const Interpolation* columns = columns_.data() + block.target;
      block.source = std::min(columns[0].source, source_ - 16);
      for (int i = 0; i < 8; ++i) {
        const int left = columns[i].source - block.source;
        const int right = std::min(columns[i].source + 1, source_ - 1) - block.source;
        if (right > 15 || columns[i].weights[0] + columns[i].weights[1] != kOne) {
          blocks_.clear();
          return;
        }
        block.taps[i] = static_cast<std::uint8_t>(left);
        block.taps[8 + i] = static_cast<std::uint8_t>(right);
        block.right_weight[i] = static_cast<std::int16_t>(columns[i].weights[1]);
      }
      blocks_.push_back(block);
    }
  }

  int source_ = 0, target_ = 0;
  bool enlarge_ = false;
  std::vector<Interpolation> columns_;
  std::vector<InterpolatedBlock> blocks_;
};

void interpolate(View source, int rows, int cols, bool enlarge, std::uint8_t* result,
                 std::ptrdiff_t stride) {
  if (rows == source.rows && cols == source.cols) {
    for (int y = 0; y < rows; ++y)
      std::memcpy(result + y * stride, source.row(y), static_cast<std::size_t>(cols));
    return;
  }
  thread_local LineInterpolation across;
  thread_local std::vector<std::int16_t> memory;
  across.plan(source.cols, cols, enlarge);
  memory.resize(2 * static_cast<std::size_t>(cols));
  std::int16_t *upper = memory.data(), *lower = upper + cols;
  int upper_at = -1, lower_at = -1;  // source rows that they hold
  for (int y = 0; y < rows; ++y) {
    const auto [at, weights] = interpolation(source.rows, rows, y, enlarge);
    const int first = std::clamp(at, 0, source.rows - 1);
    const int second = std::clamp(at + 1, 0, source.rows - 1);
    if (lower_at == first && upper_at != first) {
      std::swap(upper, lower);
      std::swap(upper_at, lower_at);
    }
    if (upper_at != first) across.run(source.row(first), upper), upper_at = first;
    if (lower_at != second) across.run(source.row(second), lower), lower_at = second;
    interpolate_lines(upper, lower, weights[0], weights[1], result + y * stride, cols);
  }
}

// The part of a source pixel in a result of INTER_AREA.
struct Share {
  int source, target;
  float weight;
};

std::vector<Share> shares(int source, int target) {
  constexpr double kNothing = 1e-3;
  const double scale = 1.0 / (static_cast<double>(target) / source);
  std::vector<Share> parts;
  for (int at = 0; at < target; ++at) {
    const double begin = at * scale, end = begin + scale;
    const double width = std::min(scale, source - begin);
    const int last = std::min(static_cast<int>(std::floor(end)), source - 1);
    const int first = std::min(static_cast<int>(std::ceil(begin)), last);
    if (first - begin > kNothing)
      parts.push_back({first - 1, at, static_cast<float>((first - begin) / width)});
    for (int s = first; s < last; ++s) parts.push_back({s, at, static_cast<float>(1.0 / width)});
    if (end - last > kNothing)
      parts.push_back(
          {last, at, static_cast<float>(std::min(std::min(end - last, 1.0), width) / width)});
  }
  return parts;
}

std::uint8_t rounded(float value) {
  return static_cast<std::uint8_t>(std::clamp(std::lrintf(value), 0L, 255L));
}

void average_shares(View source, int side, std::uint8_t* result) {
  const std::vector<Share> across = shares(source.cols, side);
  std::vector<float> line(static_cast<std::size_t>(side)), sum(line.size());
  int target = 0;
  for (const Share& row : shares(source.rows, side)) {
    std::fill(line.begin(), line.end(), 0.f);
    const std::uint8_t* pixels = source.row(row.source);
    for (const Share& column : across)
      line[static_cast<std::size_t>(column.target)] +=
          static_cast<float>(pixels[column.source]) * column.weight;
    if (row.target != target) {
      for (int x = 0; x < side; ++x)
        result[target * side + x] = rounded(sum[static_cast<std::size_t>(x)]);
      std::fill(sum.begin(), sum.end(), 0.f);
      target = row.target;
    }
    for (std::size_t x = 0; x < line.size(); ++x) sum[x] += row.weight * line[x];
  }
  for (int x = 0; x < side; ++x)
    result[target * side + x] = rounded(sum[static_cast<std::size_t>(x)]);
}

void average_blocks(View source, int side, std::uint8_t* result) {
  const int high = source.rows / side, wide = source.cols / side;
  const float scale = 1.f / static_cast<float>(high * wide);
  for (int y = 0; y < side; ++y)
    for (int x = 0; x < side; ++x) {
      int sum = 0;
      for (int j = 0; j < high; ++j) {
        const std::uint8_t* pixels = source.row(y * high + j) + x * wide;
        for (int i = 0; i < wide; ++i) sum += pixels[i];
      }
      result[y * side + x] = high == 2 && wide == 2 ? static_cast<std::uint8_t>((sum + 2) >> 2)
                                                    : rounded(static_cast<float>(sum) * scale);
    }
}

}  // namespace

int count_halvings(int rows, int cols, int least) {
  int count = 0;
  for (; std::max(rows, cols) >= 2 * least && std::min(rows, cols) >= 2; ++count)
    rows /= 2, cols /= 2;
  return count;
}

void Halvings::make(View image, int first, int count) {
  image_ = image, first_ = first, count_ = count;
  for (int number = 1; number <= count; ++number) {
    Plane& level = levels_[static_cast<std::size_t>(number)];
    // Of a level that is not kept, the next one needs two rows at a time.
    level.resize(number < first ? 2 : image.rows >> number, image.cols >> number);
  }
  const auto line = [&](int number, int y) {
    return levels_[static_cast<std::size_t>(number)].row(number < first ? y % 2 : y);
  };
  if (count == 0) return;
  for (int y = 0; y + 1 < image.rows; y += 2) {
    int at = y / 2, number = 1;
    halve_lines(image.row(y), image.row(y + 1), line(1, at), image.cols >> 1);
    for (; at % 2 == 1 && number < count; at /= 2, ++number)
      halve_lines(line(number, at - 1), line(number, at), line(number + 1, at / 2),
                  image.cols >> (number + 1));
  }
}

View Halvings::level(int number) const {
  return number == 0 ? image_ : levels_[static_cast<std::size_t>(number)].view();
}

void resize_linear(View source, int rows, int cols, std::uint8_t* result, std::ptrdiff_t stride) {
  interpolate(source, rows, cols, false, result, stride);
}

void resize_area(View source, int side, std::uint8_t* result) {
  if (source.rows < side || source.cols < side)
    interpolate(source, side, side, true, result, side);
  else if (source.rows % side == 0 && source.cols % side == 0)
    average_blocks(source, side, result);
  else
    average_shares(source, side, result);
}

}  // namespace orthoedge
