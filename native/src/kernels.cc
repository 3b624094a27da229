#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels.cc"
#include "hwy/foreach_target.h"  // must come before highway.h
#include "hwy/highway.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "kernels.h"

HWY_BEFORE_NAMESPACE();
namespace orthoedge {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void HalveLines(const std::uint8_t* HWY_RESTRICT upper, const std::uint8_t* HWY_RESTRICT lower,
                std::uint8_t* HWY_RESTRICT result, int count) {
  int x = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<std::uint8_t> d8;
  const hn::RepartitionToWide<decltype(d8)> d16;
  const int lanes = static_cast<int>(hn::Lanes(d8));
  const auto low_byte = hn::Set(d16, 0xFF), two = hn::Set(d16, 2);
  const auto pairs = [&](const std::uint8_t* at) HWY_ATTR {
    const auto both = hn::BitCast(d16, hn::LoadU(d8, at));
    return hn::Add(hn::And(both, low_byte), hn::ShiftRight<8>(both));
  };
  const auto average = [&](int x) HWY_ATTR {
    const auto sum = hn::Add(pairs(upper + x), pairs(lower + x));
    return hn::BitCast(d8, hn::ShiftRight<2>(hn::Add(sum, two)));
  };
  const auto store = [&](int x) HWY_ATTR {
    hn::StoreU(hn::ConcatEven(d8, average(2 * x + lanes), average(2 * x)), d8, result + x);
  };
  for (; x + lanes <= count; x += lanes) store(x);
  if (x < count && count >= lanes) {
    store(count - lanes);  // some results once more, rather than one by one
    return;
  }
#endif
  for (; x < count; ++x)
    result[x] = static_cast<std::uint8_t>(
        (upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1] + 2) >> 2);
}

void InterpolateBlocks(const std::uint8_t* HWY_RESTRICT line,
                       const InterpolatedBlock* HWY_RESTRICT blocks, std::size_t count,
                       std::int16_t* HWY_RESTRICT result) {
#if HWY_TARGET == HWY_SCALAR
  for (const InterpolatedBlock* block = blocks; block != blocks + count; ++block)
    for (int i = 0; i < 8; ++i) {
      const int left = line[block->source + block->taps[i]];
      const int right = line[block->source + block->taps[8 + i]];
      result[block->target + i] = static_cast<std::int16_t>(
          (left * 2048 + (right - left) * block->right_weight[i]) >> 4);
    }
#else
  const hn::FixedTag<std::uint8_t, 16> d8;
  const hn::FixedTag<std::int16_t, 8> d16;
  const hn::FixedTag<std::uint16_t, 8> du16;
  for (const InterpolatedBlock* block = blocks; block != blocks + count; ++block) {
    const auto taps = hn::TableLookupBytes(hn::LoadU(d8, line + block->source),
                                           hn::LoadU(d8, block->taps));
    const auto left = hn::PromoteTo(d16, hn::LowerHalf(taps));
    const auto right = hn::PromoteTo(d16, hn::UpperHalf(hn::Half<decltype(d8)>(), taps));
    const auto difference = hn::Sub(right, left);
    const auto weight = hn::LoadU(d16, block->right_weight);
    // (left × (2048 - weight) + right × weight) >> 4, from both halves of the 32-bit product.
    const auto low = hn::BitCast(
        d16, hn::ShiftRight<4>(hn::BitCast(du16, hn::Mul(difference, weight))));
    const auto high = hn::ShiftLeft<12>(hn::MulHigh(difference, weight));
    hn::StoreU(hn::Add(hn::ShiftLeft<7>(left), hn::Or(high, low)), d16, result + block->target);
  }
#endif
}

void InterpolateLines(const std::int16_t* HWY_RESTRICT upper,
                      const std::int16_t* HWY_RESTRICT lower, int upper_weight, int lower_weight,
                      std::uint8_t* HWY_RESTRICT result, int count) {
  const hn::ScalableTag<std::int16_t> d16;
  const hn::Rebind<std::uint8_t, decltype(d16)> d8;
  const int lanes = static_cast<int>(hn::Lanes(d16));
  const auto high = hn::Set(d16, static_cast<std::int16_t>(upper_weight));
  const auto low = hn::Set(d16, static_cast<std::int16_t>(lower_weight));
  const auto two = hn::Set(d16, 2);
  const auto store = [&](int x) HWY_ATTR {
    const auto sum = hn::Add(hn::MulHigh(hn::LoadU(d16, upper + x), high),
                             hn::MulHigh(hn::LoadU(d16, lower + x), low));
    hn::StoreU(hn::DemoteTo(d8, hn::ShiftRight<2>(hn::Add(sum, two))), d8, result + x);
  };
  int x = 0;
  for (; x + lanes <= count; x += lanes) store(x);
  if (x < count && count >= lanes) {
    store(count - lanes);
    return;
  }
  for (; x < count; ++x)
    result[x] = static_cast<std::uint8_t>(
        (((upper_weight * upper[x]) >> 16) + ((lower_weight * lower[x]) >> 16) + 2) >> 2);
}

std::int32_t ClipCounts(std::int32_t* counts, std::int32_t limit) {
  const hn::ScalableTag<std::int32_t> d32;
  const auto most = hn::Set(d32, limit);
  auto excess = hn::Zero(d32);
  for (std::size_t level = 0; level < 256; level += hn::Lanes(d32)) {
    const auto count = hn::LoadU(d32, counts + level), kept = hn::Min(count, most);
    excess = hn::Add(excess, hn::Sub(count, kept));
    hn::StoreU(kept, d32, counts + level);
  }
  return hn::GetLane(hn::SumOfLanes(d32, excess));
}

void ScaleSums(const std::int32_t* HWY_RESTRICT sums, float scale,
               std::uint8_t* HWY_RESTRICT table) {
  const hn::ScalableTag<float> df;
  const hn::RebindToSigned<decltype(df)> d32;
  const hn::Rebind<std::uint8_t, decltype(df)> d8;
  const auto factor = hn::Set(df, scale);
  for (std::size_t level = 0; level < 256; level += hn::Lanes(df)) {
    const auto value = hn::Mul(hn::ConvertTo(df, hn::LoadU(d32, sums + level)), factor);
    hn::StoreU(hn::DemoteTo(d8, hn::NearestInt(value)), d8, table + level);
  }
}

void InterleaveTables(const std::uint8_t* const tables[4], std::uint32_t* HWY_RESTRICT result) {
#if HWY_TARGET == HWY_SCALAR
  for (std::size_t level = 0; level < 256; ++level)
    for (std::size_t i = 0; i < 4; ++i)
      reinterpret_cast<std::uint8_t*>(result + level)[i] = tables[i][level];
#else
  const hn::FixedTag<std::uint8_t, 16> d8;
  for (std::size_t level = 0; level < 256; level += 16)
    hn::StoreInterleaved4(hn::LoadU(d8, tables[0] + level), hn::LoadU(d8, tables[1] + level),
                          hn::LoadU(d8, tables[2] + level), hn::LoadU(d8, tables[3] + level), d8,
                          reinterpret_cast<std::uint8_t*>(result + level));
#endif
}

void InterpolateTables(const std::uint8_t* HWY_RESTRICT pixels,
                       const std::uint32_t* HWY_RESTRICT table,
                       const float* HWY_RESTRICT left_weights,
                       const float* HWY_RESTRICT right_weights, float upper_weight,
                       float lower_weight, std::uint8_t* HWY_RESTRICT result, int count) {
  const hn::CappedTag<float, 8> df;  // the first and last segments are short
  const hn::RebindToUnsigned<decltype(df)> du32;
  const hn::RebindToSigned<decltype(df)> d32;
  const hn::Rebind<std::uint8_t, decltype(df)> d8;
  const int lanes = static_cast<int>(hn::Lanes(df));
  const auto byte = hn::Set(du32, 0xFF);
  const auto upper = hn::Set(df, upper_weight), lower = hn::Set(df, lower_weight);
  const auto real = [&](decltype(byte) value) HWY_ATTR {
    return hn::ConvertTo(df, hn::BitCast(d32, value));
  };
  // All look-ups of some pixels come before the first vector is loaded, which would wait for them.
  constexpr int kMost = 64;
  HWY_ALIGN std::uint32_t entries[kMost];
  const auto store = [&](int first, int x) HWY_ATTR {
    const auto four = hn::LoadU(du32, entries + x);
    x += first;
    const auto left = hn::LoadU(df, left_weights + x), right = hn::LoadU(df, right_weights + x);
    const auto above = hn::Add(hn::Mul(real(hn::And(four, byte)), left),
                               hn::Mul(real(hn::And(hn::ShiftRight<8>(four), byte)), right));
    const auto below = hn::Add(hn::Mul(real(hn::And(hn::ShiftRight<16>(four), byte)), left),
                               hn::Mul(real(hn::ShiftRight<24>(four)), right));
    const auto value = hn::Add(hn::Mul(above, upper), hn::Mul(below, lower));
    hn::StoreU(hn::DemoteTo(d8, hn::NearestInt(value)), d8, result + x);
  };
  int first = 0;
  for (; count - first >= lanes; first += std::min(count - first, kMost)) {
    const int some = std::min(count - first, kMost);
    for (int x = 0; x < some; ++x) entries[x] = table[pixels[first + x]];
    int x = 0;
    for (; x + lanes <= some; x += lanes) store(first, x);
    if (x < some) store(first, some - lanes);
  }
  for (int x = first; x < count; ++x) {
    const std::uint32_t four = table[pixels[x]];
    const float above = static_cast<float>(four & 0xFF) * left_weights[x] +
                        static_cast<float>(four >> 8 & 0xFF) * right_weights[x];
    const float below = static_cast<float>(four >> 16 & 0xFF) * left_weights[x] +
                        static_cast<float>(four >> 24) * right_weights[x];
    result[x] = static_cast<std::uint8_t>(
        std::min(std::lrintf(above * upper_weight + below * lower_weight), 255L));
  }
}

// Of one line of at most 2^15 pixels, so that no 32-bit sum overflows.
Moments LineMoments(const std::uint8_t* HWY_RESTRICT line, int count) {
  std::int64_t sum = 0, squares = 0;
  int x = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<std::int16_t> d16;
  const hn::RepartitionToWide<decltype(d16)> d32;
  const hn::Rebind<std::uint8_t, decltype(d16)> d8;
  const int lanes = static_cast<int>(hn::Lanes(d16));
  const auto ones = hn::Set(d16, 1);
  auto sum0 = hn::Zero(d32), sum1 = hn::Zero(d32), square0 = hn::Zero(d32), square1 = sum0;
  for (; x + lanes <= count; x += lanes) {
    const auto values = hn::PromoteTo(d16, hn::LoadU(d8, line + x));
    sum0 = hn::ReorderWidenMulAccumulate(d32, values, ones, sum0, sum1);
    square0 = hn::ReorderWidenMulAccumulate(d32, values, values, square0, square1);
  }
  sum = hn::GetLane(hn::SumOfLanes(d32, hn::Add(sum0, sum1)));
  squares = hn::GetLane(hn::SumOfLanes(d32, hn::Add(square0, square1)));
#endif
  for (; x < count; ++x) sum += line[x], squares += line[x] * line[x];
  return {sum, squares};
}

Moments PlaneMoments(const View& pixels) {
  constexpr int kMost = 1 << 15;
  Moments total{0, 0};
  for (int y = 0; y < pixels.rows; ++y)
    for (int x = 0; x < pixels.cols; x += kMost) {
      const Moments line = LineMoments(pixels.row(y) + x, std::min(pixels.cols - x, kMost));
      total.sum += line.sum, total.squares += line.squares;
    }
  return total;
}

std::int64_t SumOfDifferences(const View& a, const View& b) {
  std::int64_t total = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<std::uint8_t> d8;
  const hn::RepartitionToWide<hn::RepartitionToWide<hn::RepartitionToWide<decltype(d8)>>> d64;
  const int lanes = static_cast<int>(hn::Lanes(d8));
  auto sums = hn::Zero(d64);
#endif
  for (int y = 0; y < a.rows; ++y) {
    const std::uint8_t *HWY_RESTRICT p = a.row(y), *HWY_RESTRICT q = b.row(y);
    int x = 0;
#if HWY_TARGET != HWY_SCALAR
    for (; x + lanes <= a.cols; x += lanes) {
      const auto left = hn::LoadU(d8, p + x), right = hn::LoadU(d8, q + x);
      sums = hn::Add(sums, hn::SumsOf8(hn::Sub(hn::Max(left, right), hn::Min(left, right))));
    }
#endif
    for (; x < a.cols; ++x) total += std::abs(p[x] - q[x]);
  }
#if HWY_TARGET != HWY_SCALAR
  total += static_cast<std::int64_t>(hn::GetLane(hn::SumOfLanes(d64, sums)));
#endif
  return total;
}

const char* TargetName() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace orthoedge
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace orthoedge {

HWY_EXPORT(HalveLines);
HWY_EXPORT(InterpolateBlocks);
HWY_EXPORT(InterpolateLines);
HWY_EXPORT(ClipCounts);
HWY_EXPORT(ScaleSums);
HWY_EXPORT(InterleaveTables);
HWY_EXPORT(InterpolateTables);
HWY_EXPORT(PlaneMoments);
HWY_EXPORT(SumOfDifferences);
HWY_EXPORT(TargetName);

void halve_lines(const std::uint8_t* upper, const std::uint8_t* lower, std::uint8_t* result,
                 int count) {
  HWY_DYNAMIC_DISPATCH(HalveLines)(upper, lower, result, count);
}

void interpolate_blocks(const std::uint8_t* line, const InterpolatedBlock* blocks,
                        std::size_t count, std::int16_t* result) {
  HWY_DYNAMIC_DISPATCH(InterpolateBlocks)(line, blocks, count, result);
}

void interpolate_lines(const std::int16_t* upper, const std::int16_t* lower, int upper_weight,
                       int lower_weight, std::uint8_t* result, int count) {
  HWY_DYNAMIC_DISPATCH(InterpolateLines)
  (upper, lower, upper_weight, lower_weight, result, count);
}

std::int32_t clip_counts(std::int32_t* counts, std::int32_t limit) {
  return HWY_DYNAMIC_DISPATCH(ClipCounts)(counts, limit);
}

void scale_sums(const std::int32_t* sums, float scale, std::uint8_t* table) {
  HWY_DYNAMIC_DISPATCH(ScaleSums)(sums, scale, table);
}

void interleave_tables(const std::uint8_t* const tables[4], std::uint32_t* result) {
  HWY_DYNAMIC_DISPATCH(InterleaveTables)(tables, result);
}

void interpolate_tables(const std::uint8_t* pixels, const std::uint32_t* table,
                        const float* left_weights, const float* right_weights, float upper_weight,
                        float lower_weight, std::uint8_t* result, int count) {
  HWY_DYNAMIC_DISPATCH(InterpolateTables)
  (pixels, table, left_weights, right_weights, upper_weight, lower_weight, result, count);
}

Moments moments(View pixels) { return HWY_DYNAMIC_DISPATCH(PlaneMoments)(pixels); }

std::int64_t sum_of_differences(View a, View b) {
  return HWY_DYNAMIC_DISPATCH(SumOfDifferences)(a, b);
}

const char* instruction_set() { return HWY_DYNAMIC_DISPATCH(TargetName)(); }

}  // namespace orthoedge
#endif
