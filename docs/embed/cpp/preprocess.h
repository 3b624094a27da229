// runtime/preprocess.py in C++, with the same bytes: collimated field, letterbox, CLAHE.
#pragma once

#include <array>
#include <string>

#include "image.h"

namespace orthoedge {

// The manifest's `preprocess`.
struct Preprocess {
  int size = 0;
  bool crop_field = false;
  enum class Stage { kAfter, kBefore, kNone } clahe_stage = Stage::kNone;
  double clahe_clip = 0;
  int clahe_tiles = 0;
};

using Box = std::array<int, 4>;  // x0, y0, x1, y1, end exclusive

struct Prepared {
  Grey model_input;  // size × size
  Box field;         // the collimated field on the radiograph
  Box content;       // that field inside the model input
};

// radiograph: 8 bits, bone bright on dark, at least one pixel.
Prepared prepare(const Preprocess& settings, View radiograph);

}  // namespace orthoedge
