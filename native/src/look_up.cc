#include <cstring>

#include "orthoedge/preparation.h"

namespace orthoedge {

// A word holds four samples or eight pixels, the first in its lowest bits as on all processors that
// this library knows: single loads and stores would take longer than the look-up itself.
void look_up(const std::uint16_t* samples, std::size_t count, const std::uint8_t* table,
             std::uint8_t* pixels) {
  std::size_t at = 0;
  for (; at + 8 <= count; at += 8) {
    std::uint64_t word = 0;
    for (int half = 0; half < 2; ++half) {
      std::uint64_t four;
      std::memcpy(&four, samples + at + 4 * half, sizeof four);
      for (int i = 0; i < 4; ++i)
        word |= std::uint64_t{table[four >> 16 * i & 0xffff]} << (32 * half + 8 * i);
    }
    std::memcpy(pixels + at, &word, sizeof word);
  }
  for (; at < count; ++at) pixels[at] = table[samples[at]];
}

}  // namespace orthoedge
