// runtime/image_statistics.py in C++.
#pragma once

#include <vector>

#include "image.h"

namespace orthoedge {

constexpr std::size_t kStatisticsSize = 22;                                            // L
constexpr std::size_t kStatisticsTerms = kStatisticsSize * (kStatisticsSize + 3) / 2;  // T

// (L,) statistics of the model input, S × S; those of Python to float rounding.
std::vector<float> image_statistics(View model_input);

// (T,): the statistics standardized by mean and standard deviation, (L,), and all products of two.
std::vector<double> statistics_terms(const std::vector<float>& statistics,
                                     const std::vector<double>& means,
                                     const std::vector<double>& deviations);

}  // namespace orthoedge
