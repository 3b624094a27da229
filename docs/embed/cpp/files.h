// Whole files in and out, and their SHA-256.
#pragma once

#include <string>

#include "image.h"

namespace orthoedge {

// Both throw std::runtime_error with the path in it.
Bytes read_file(const std::string& path);
void write_file(const std::string& path, const Bytes& data);

// 64 lower-case hex digits.
std::string sha256(const Bytes& data);

}  // namespace orthoedge
