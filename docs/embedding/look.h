// runtime/look.py in C++: what the network's input looks like at a glance.
#pragma once

#include <vector>

#include "image.h"

namespace orthoedge {

constexpr std::size_t kLookSize = 22;

// Of the network's input, size × size: (L,), the same numbers to float rounding.
std::vector<float> look(View square);

}  // namespace orthoedge
