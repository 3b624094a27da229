#include "orthoedge/preparation.h"

namespace orthoedge {

void look_up(const std::uint16_t* samples, std::size_t count, const std::uint8_t* table,
             std::uint8_t* pixels) {
  for (std::size_t at = 0; at < count; ++at) pixels[at] = table[samples[at]];
}

}  // namespace orthoedge
