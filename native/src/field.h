#pragma once

#include "orthoedge/preparation.h"

namespace orthoedge {

// The field is detected on a copy of less than twice this many pixels a side.
constexpr int kCoarse = 128;

// Finds the collimated field of a radiograph of rows × cols pixels on a copy of it, whose pixels
// are `factor` times as wide.
Box find_field(View coarse, int factor, int rows, int cols);

}  // namespace orthoedge
