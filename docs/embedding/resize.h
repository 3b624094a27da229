// OpenCV's INTER_AREA (shrinking) and INTER_LINEAR (enlarging) on uint8, to the same bytes.
#pragma once

#include "image.h"

namespace orthoedge {

// rows and cols may not exceed those of the source.
Grey shrink(View source, int rows, int cols);

// rows and cols may not be below those of the source.
Grey enlarge(View source, int rows, int cols);

}  // namespace orthoedge
