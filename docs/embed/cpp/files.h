// Reading, writing and hashing whole files.
#pragma once

#include <string>

#include "image.h"

namespace orthoedge {

// Both throw std::runtime_error, which names the path.
Bytes read_file(const std::string& path);
void write_file(const std::string& path, const Bytes& data);

// 64 lower-case hex digits.
std::string sha256(const Bytes& data);

}  // namespace orthoedge
