#include "image.h"

#include <cctype>
#include <stdexcept>

#include "files.h"

namespace orthoedge {
namespace {

constexpr long kMaxPixels = 64'000'000;

// Reads the next number of a PGM header after white space and comments.
long header_number(const Bytes& data, std::size_t& at) {
  while (at < data.size() && (std::isspace(data[at]) || data[at] == '#')) {
    if (data[at] == '#')
      while (at < data.size() && data[at] != '\n') ++at;
    else
      ++at;
  }
  long value = 0;
  const std::size_t start = at;
  while (at < data.size() && std::isdigit(data[at]) && value <= kMaxPixels)
    value = value * 10 + (data[at++] - '0');
  if (at == start) throw std::runtime_error("not a binary PGM of 8 bits");
  return value;
}

}  // namespace

Grey read_pgm(const std::string& path) {
  const Bytes data = read_file(path);
  if (data.size() < 2 || data[0] != 'P' || data[1] != '5')
    throw std::runtime_error("not a binary PGM of 8 bits");
  std::size_t at = 2;
  const long cols = header_number(data, at);
  const long rows = header_number(data, at);
  if (header_number(data, at) != 255) throw std::runtime_error("not a binary PGM of 8 bits");
  ++at;  // a single white space precedes the pixels
  if (rows < 1 || cols < 1 || rows > kMaxPixels / cols)
    throw std::runtime_error("empty, or more than 64 million pixels");
  if (data.size() != at + static_cast<std::size_t>(rows * cols))
    throw std::runtime_error("the file is cut, or longer than its header says");
  Grey image(static_cast<int>(rows), static_cast<int>(cols));
  image.pixels.assign(data.begin() + static_cast<std::ptrdiff_t>(at), data.end());
  return image;
}

void write_pgm(const std::string& path, const Grey& image) {
  const std::string header =
      "P5\n" + std::to_string(image.cols) + " " + std::to_string(image.rows) + "\n255\n";
  Bytes data(header.begin(), header.end());
  data.insert(data.end(), image.pixels.begin(), image.pixels.end());
  write_file(path, data);
}

}  // namespace orthoedge
