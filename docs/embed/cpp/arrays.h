// The parts of NumPy's .npy and .npz formats that the golden files and the maps use.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "image.h"

namespace orthoedge {

struct Array {
  std::string type;  // NumPy's type string, such as <f4, |u1 or <U15
  std::vector<std::size_t> shape;
  Bytes data;  // C order, little endian

  std::vector<float> floats() const;       // requires <f4
  std::vector<std::string> texts() const;  // requires <U and ASCII
};

// Both throw std::runtime_error if the content is malformed.
Array parse_npy(const Bytes& content);
std::map<std::string, Array> parse_npz(const Bytes& content);

// Encodes format version 1.0.
Bytes to_npy(const std::vector<float>& values, const std::vector<std::size_t>& shape);

}  // namespace orthoedge
