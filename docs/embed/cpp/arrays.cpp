#include "arrays.h"

#include <zlib.h>

#include <cstring>
#include <stdexcept>

namespace orthoedge {
namespace {

[[noreturn]] void fail() { throw std::runtime_error("not a valid .npy or .npz file"); }

std::size_t number(const Bytes& data, std::size_t at, int bytes) {
  if (at + static_cast<std::size_t>(bytes) > data.size()) fail();
  std::size_t value = 0;
  for (int i = bytes - 1; i >= 0; --i) value = value << 8 | data[at + static_cast<std::size_t>(i)];
  return value;
}

Bytes slice(const Bytes& data, std::size_t at, std::size_t count) {
  if (at > data.size() || count > data.size() - at) fail();
  const auto begin = data.begin() + static_cast<std::ptrdiff_t>(at);
  return Bytes(begin, begin + static_cast<std::ptrdiff_t>(count));
}

Bytes inflate(Bytes packed, std::size_t size) {
  Bytes data(size + 1);  // one byte more, to detect content longer than stated
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) fail();
  stream.next_in = packed.data();
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = data.data();
  stream.avail_out = static_cast<uInt>(data.size());
  const int status = ::inflate(&stream, Z_FINISH);
  inflateEnd(&stream);
  if (status != Z_STREAM_END || stream.total_out != size) fail();
  data.pop_back();
  return data;
}

// The text between `open` and `close` after a key of the header's dictionary.
std::string entry(const std::string& header, const std::string& key, char open, char close) {
  const std::size_t at = header.find("'" + key + "':");
  const std::size_t from = at == std::string::npos ? at : header.find(open, at + key.size() + 3);
  const std::size_t to = from == std::string::npos ? from : header.find(close, from + 1);
  if (to == std::string::npos) fail();
  return header.substr(from + 1, to - from - 1);
}

std::size_t item_size(const std::string& type) {
  if (type == "|u1") return 1;
  if (type == "<f4") return 4;
  if (type.rfind("<U", 0) == 0) return 4 * std::stoul(type.substr(2));
  throw std::runtime_error("an array of unsupported type " + type);
}

}  // namespace

Array parse_npy(const Bytes& content) {
  if (content.size() < 10 || std::memcmp(content.data(), "\x93NUMPY\x01\x00", 8) != 0) fail();
  const std::size_t length = number(content, 8, 2);
  const Bytes raw = slice(content, 10, length);
  const std::string header(raw.begin(), raw.end());
  if (header.find("'fortran_order': False") == std::string::npos) fail();
  Array array{entry(header, "descr", '\'', '\''), {}, {}};
  std::size_t bytes = item_size(array.type);
  const std::string shape = entry(header, "shape", '(', ')');
  for (std::size_t at = 0; at < shape.size();) {
    std::size_t used = 0;
    array.shape.push_back(std::stoul(shape.substr(at), &used));
    bytes *= array.shape.back();
    at = shape.find_first_of("0123456789", at + used);
  }
  if (content.size() != 10 + length + bytes) fail();
  array.data = slice(content, 10 + length, bytes);
  return array;
}

std::map<std::string, Array> parse_npz(const Bytes& content) {
  constexpr std::size_t kEnd = 22, kEntry = 46, kLocal = 30;  // sizes of the zip records
  if (content.size() < kEnd) fail();
  const std::size_t end = content.size() - kEnd;  // NumPy writes no archive comment
  if (number(content, end, 4) != 0x06054b50) fail();
  std::map<std::string, Array> arrays;
  std::size_t at = number(content, end + 16, 4);
  for (std::size_t left = number(content, end + 10, 2); left > 0; --left) {
    if (number(content, at, 4) != 0x02014b50) fail();
    const std::size_t method = number(content, at + 10, 2), packed = number(content, at + 20, 4);
    const std::size_t size = number(content, at + 24, 4), place = number(content, at + 42, 4);
    const std::size_t name_length = number(content, at + 28, 2);
    const Bytes name = slice(content, at + kEntry, name_length);
    const std::size_t data =
        place + kLocal + number(content, place + 26, 2) + number(content, place + 28, 2);
    if ((method != 0 && method != 8) || size > 1 << 30) fail();
    Bytes member = slice(content, data, packed);
    std::string key(name.begin(), name.end());
    key = key.substr(0, key.rfind(".npy"));
    arrays[key] = parse_npy(method == 0 ? member : inflate(std::move(member), size));
    at += kEntry + name_length + number(content, at + 30, 2) + number(content, at + 32, 2);
  }
  return arrays;
}

std::vector<float> Array::floats() const {
  if (type != "<f4") throw std::runtime_error("expected an array of <f4, got " + type);
  std::vector<float> values(data.size() / 4);
  std::memcpy(values.data(), data.data(), data.size());
  return values;
}

std::vector<std::string> Array::texts() const {
  if (type.rfind("<U", 0) != 0) throw std::runtime_error("expected an array of text, got " + type);
  std::vector<std::string> texts;
  for (std::size_t at = 0; at < data.size(); at += item_size(type)) {
    texts.emplace_back();
    for (std::size_t i = at; i < at + item_size(type); i += 4) {
      const std::size_t code = number(data, i, 4);
      if (code > 127) throw std::runtime_error("a label is not ASCII");
      if (code != 0) texts.back() += static_cast<char>(code);
    }
  }
  return texts;
}

Bytes to_npy(const std::vector<float>& values, const std::vector<std::size_t>& shape) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (const std::size_t side : shape) header += std::to_string(side) + ", ";
  header += "), }";
  while ((header.size() + 11) % 64 != 0) header += ' ';
  header += '\n';
  const std::string magic("\x93NUMPY\x01\x00", 8);
  Bytes content(magic.begin(), magic.end());
  content.push_back(static_cast<std::uint8_t>(header.size() & 255));
  content.push_back(static_cast<std::uint8_t>(header.size() >> 8));
  content.insert(content.end(), header.begin(), header.end());
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(values.data());
  content.insert(content.end(), bytes, bytes + values.size() * sizeof(float));
  return content;
}

}  // namespace orthoedge
