// NumPy's .npy and .npz, as far as the golden files and the maps need them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "image.h"

namespace orthoedge {

struct Array {
  std::string type;  // NumPy's name, such as <f4, |u1 or <U15
  std::vector<std::size_t> shape;
  Bytes data;  // C order, little endian

  std::vector<float> floats() const;       // of <f4
  std::vector<std::string> texts() const;  // of <U; ASCII only
};

// Both throw std::runtime_error where the content is anything else.
Array parse_npy(const Bytes& content);
std::map<std::string, Array> parse_npz(const Bytes& content);

// Format version 1.0.
Bytes to_npy(const std::vector<float>& values, const std::vector<std::size_t>& shape);

}  // namespace orthoedge
