// Contrast-limited adaptive histogram equalization: Zuiderveld, Graphics Gems IV (1994), 474-485,
// with the same bytes as OpenCV's.
#pragma once

#include "image.h"

namespace orthoedge {

// clip: above 0. tiles: per side, 1 or more.
Grey clahe(View source, double clip, int tiles);

}  // namespace orthoedge
