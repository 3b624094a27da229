// OpenCV's INTER_AREA by two and INTER_LINEAR on uint8, to the same bytes.
#pragma once

#include "image.h"

namespace orthoedge {

// Means of 2×2 pixels, halves rounded up; an odd last row or column is left out.
Grey halve(View source);

// To any size of at least half the source's.
Grey fit(View source, int rows, int cols);

}  // namespace orthoedge
