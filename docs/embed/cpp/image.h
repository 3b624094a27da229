// 8-bit grey images: a view of memory owned elsewhere, and an image that owns its pixels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace orthoedge {

using Bytes = std::vector<std::uint8_t>;

struct View {
  const std::uint8_t* data;
  int rows, cols;
  std::ptrdiff_t stride;  // bytes from one row to the next

  const std::uint8_t* row(int y) const { return data + y * stride; }
  View crop(int x0, int y0, int x1, int y1) const {
    return {data + y0 * stride + x0, y1 - y0, x1 - x0, stride};
  }
};

struct Grey {
  int rows = 0, cols = 0;
  Bytes pixels;  // rows × cols, no padding

  Grey(int rows, int cols)
      : rows(rows), cols(cols), pixels(static_cast<std::size_t>(rows) * cols, 0) {}
  std::uint8_t* row(int y) { return pixels.data() + static_cast<std::ptrdiff_t>(y) * cols; }
  View view() const { return {pixels.data(), rows, cols, cols}; }
};

// Reads a binary PGM (P5) of 8 bits. Throws std::runtime_error for any other or truncated file.
Grey read_pgm(const std::string& path);
void write_pgm(const std::string& path, const Grey& image);

}  // namespace orthoedge
