// OpenCV's INTER_AREA by two and INTER_LINEAR on uint8, with the same bytes.
#pragma once

#include "image.h"

namespace orthoedge {

// Averages 2×2 pixels, halves rounded up; an odd last row or column is dropped.
Grey halve(View source);

// Resizes to at least half the size of the source.
Grey fit(View source, int rows, int cols);

}  // namespace orthoedge
