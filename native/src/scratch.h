// Memory that a thread keeps from one radiograph to the next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "orthoedge/preparation.h"

namespace orthoedge {

// An image that keeps its memory when its shape changes. New pixels have no defined value.
class Plane {
 public:
  void resize(int rows, int cols) {
    rows_ = rows, cols_ = cols;
    const std::size_t size = static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
    if (pixels_.size() < size) pixels_.resize(size);
  }
  int rows() const { return rows_; }
  int cols() const { return cols_; }
  std::uint8_t* row(int y) { return pixels_.data() + static_cast<std::ptrdiff_t>(y) * cols_; }
  View view() const { return {pixels_.data(), rows_, cols_, cols_}; }

 private:
  int rows_ = 0, cols_ = 0;
  std::vector<std::uint8_t> pixels_;
};

}  // namespace orthoedge
