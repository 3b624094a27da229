// The inner loops, compiled once for each instruction set. No pointer may overlap another.
#pragma once

#include <cstddef>
#include <cstdint>

#include "orthoedge/preparation.h"

namespace orthoedge {

// Averages 2 × 2 pixels of two lines, halves rounded up: `count` results of 2 × `count` pixels.
void halve_lines(const std::uint8_t* upper, const std::uint8_t* lower, std::uint8_t* result,
                 int count);

// Eight results of horizontal interpolation from 16 neighbouring source pixels.
struct InterpolatedBlock {
  int source;                    // of the 16 pixels
  int target;                    // of the 8 results
  std::uint8_t taps[16];         // left, then right source pixel of each result
  std::int16_t right_weight[8];  // of 2048; the left one has the rest
};

void interpolate_blocks(const std::uint8_t* line, const InterpolatedBlock* blocks,
                        std::size_t count, std::int16_t* result);

// Interpolates between two lines of `interpolate_blocks`, with weights of 2048.
void interpolate_lines(const std::int16_t* upper, const std::int16_t* lower, int upper_weight,
                       int lower_weight, std::uint8_t* result, int count);

// Takes from each of 256 counts what exceeds the limit, and returns how much that was.
std::int32_t clip_counts(std::int32_t* counts, std::int32_t limit);

// Rounds sum × scale to 0…255, halves to even, for 256 sums.
void scale_sums(const std::int32_t* sums, float scale, std::uint8_t* table);

// Puts the entries of four tables of 256 next to each other: upper left, upper right, lower left,
// lower right.
void interleave_tables(const std::uint8_t* const tables[4], std::uint32_t* result);

// Looks `count` pixels up in such a table and interpolates between the four entries.
void interpolate_tables(const std::uint8_t* pixels, const std::uint32_t* table,
                        const float* left_weights, const float* right_weights, float upper_weight,
                        float lower_weight, std::uint8_t* result, int count);

struct Moments {
  std::int64_t sum, squares;
};

Moments moments(View pixels);

// Sum of |a - b| over two views of the same shape.
std::int64_t sum_of_differences(View a, View b);

}  // namespace orthoedge
