// Resizing with the arithmetic of OpenCV's INTER_AREA and INTER_LINEAR on uint8.
#pragma once

#include <array>
#include <cstdint>

#include "scratch.h"

namespace orthoedge {

// How often the image is halved while its long side is at least `least` afterwards.
int count_halvings(int rows, int cols, int least);

// The halvings of an image, all made in one pass over it.
class Halvings {
 public:
  // Makes `count` halvings; only those from number `first` on are kept.
  void make(View image, int first, int count);
  // The image itself for 0, and the halvings kept by the last `make`.
  View level(int number) const;
  int first() const { return first_; }
  int count() const { return count_; }

 private:
  static constexpr int kMost = 31;
  View image_{nullptr, 0, 0, 0};
  int first_ = 0, count_ = 0;
  std::array<Plane, kMost + 1> levels_;
};

// INTER_LINEAR into rows × cols pixels, `stride` bytes from one row of `result` to the next.
void resize_linear(View source, int rows, int cols, std::uint8_t* result, std::ptrdiff_t stride);

// INTER_AREA into side × side pixels without padding.
void resize_area(View source, int side, std::uint8_t* result);

}  // namespace orthoedge
