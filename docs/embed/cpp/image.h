// An 8-bit grey image that owns its pixels. `View` of orthoedge-native is one that does not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "orthoedge/preparation.h"

namespace orthoedge {

using Bytes = std::vector<std::uint8_t>;

struct Grey {
  int rows = 0, cols = 0;
  Bytes pixels;  // rows × cols, no padding

  Grey(int rows, int cols)
      : rows(rows), cols(cols), pixels(static_cast<std::size_t>(rows) * cols, 0) {}
  View view() const { return {pixels.data(), rows, cols, cols}; }
};

// Reads a binary PGM (P5) of 8 bits. Throws std::runtime_error for any other or truncated file.
Grey read_pgm(const std::string& path);
void write_pgm(const std::string& path, const Grey& image);

}  // namespace orthoedge
