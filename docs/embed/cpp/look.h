// runtime/look.py in C++: what the network's input looks like at a glance.
#pragma once

#include <vector>

#include "image.h"

namespace orthoedge {

constexpr std::size_t kLookSize = 22;
constexpr std::size_t kLookTerms = kLookSize * (kLookSize + 3) / 2;

// Of the network's input, size × size: (L,), the same numbers to float rounding.
std::vector<float> look(View square);

// A look in spreads from its centre, both (L,), and all products of two: (T,).
std::vector<double> look_terms(const std::vector<float>& look, const std::vector<double>& centre,
                               const std::vector<double>& spread);

}  // namespace orthoedge
