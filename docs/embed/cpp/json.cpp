#include "json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

namespace orthoedge {

class JsonReader {
 public:
  explicit JsonReader(const std::string& text) : text_(text) {}

  Json document() {
    Json value = read("", 0);
    skip();
    if (at_ != text_.size()) fail("something follows the document");
    return value;
  }

 private:
  static constexpr int kDeepest = 32;

  [[noreturn]] void fail(const std::string& why) const {
    throw std::runtime_error("no JSON at byte " + std::to_string(at_) + ": " + why);
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip() {
    at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size());
  }
  bool take(char wanted) {
    skip();
    if (peek() != wanted) return false;
    ++at_;
    return true;
  }
  void need(char wanted) {
    if (!take(wanted)) fail(std::string("expected ") + wanted);
  }

  Json read(const std::string& name, int depth) {
    if (depth > kDeepest) fail("nested too deeply");
    skip();
    Json value;
    value.name_ = name;
    const char first = peek();
    if (first == '{')
      read_object(value, depth);
    else if (first == '[')
      read_array(value, depth);
    else if (first == '"')
      value.kind_ = Json::Kind::kText, value.text_ = read_text();
    else if (first == '-' || (first >= '0' && first <= '9'))
      value.kind_ = Json::Kind::kNumber, value.number_ = read_number();
    else
      read_word(value);
    return value;
  }

  void read_object(Json& value, int depth) {
    value.kind_ = Json::Kind::kObject;
    need('{');
    if (take('}')) return;
    do {
      skip();
      const std::string key = read_text();
      for (const auto& member : value.members_)
        if (member.first == key) fail(key + " is given twice");
      need(':');
      const std::string name = value.name_.empty() ? key : value.name_ + "." + key;
      value.members_.emplace_back(key, read(name, depth + 1));
    } while (take(','));
    need('}');
  }

  void read_array(Json& value, int depth) {
    value.kind_ = Json::Kind::kArray;
    need('[');
    if (take(']')) return;
    do {
      value.items_.push_back(read(value.name_, depth + 1));
    } while (take(','));
    need(']');
  }

  void read_word(Json& value) {
    for (const char* word : {"true", "false", "null"})
      if (text_.compare(at_, std::char_traits<char>::length(word), word) == 0) {
        at_ += std::char_traits<char>::length(word);
        value.kind_ = word[0] == 'n' ? Json::Kind::kNull : Json::Kind::kBool;
        return;
      }
    fail("expected a value");
  }

  // Unlike strtod, from_chars is the same in every locale; what JSON forbids is refused before.
  double read_number() {
    const std::size_t digits = at_ + (peek() == '-' ? 1 : 0);
    if (digits >= text_.size() || text_[digits] < '0' || text_[digits] > '9')
      fail("expected a digit");
    if (text_[digits] == '0' && digits + 1 < text_.size() && text_[digits + 1] >= '0' &&
        text_[digits + 1] <= '9')
      fail("a number begins with 0");
    double value = 0;
    const char* begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (error != std::errc()) fail("a number out of range");
    at_ += static_cast<std::size_t>(end - begin);
    return value;
  }

  std::string read_text() {
    need('"');
    std::string value;
    while (peek() != '"') {
      if (at_ == text_.size() || static_cast<unsigned char>(peek()) < 0x20)
        fail("a string is not closed");
      value += peek() == '\\' ? read_escape() : std::string(1, text_[at_++]);
    }
    ++at_;
    return value;
  }

  std::string read_escape() {
    ++at_;
    const char code = peek();
    ++at_;
    if (code == 'u') return utf8(read_unit());
    const std::string codes = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
    const std::size_t which = codes.find(code);
    if (code == '\0' || which == std::string::npos) fail("an unknown escape");
    return std::string(1, meanings[which]);
  }

  unsigned read_unit() {
    unsigned unit = 0;
    const char* begin = text_.data() + at_;
    if (at_ + 4 > text_.size() || std::from_chars(begin, begin + 4, unit, 16).ptr != begin + 4)
      fail("\\u needs four hex digits");
    at_ += 4;
    if (unit >= 0xD800 && unit < 0xE000) fail("surrogate pairs are not read");
    return unit;
  }

  static std::string utf8(unsigned unit) {
    const auto tail = [](unsigned bits) { return static_cast<char>(0x80 | (bits & 0x3F)); };
    if (unit < 0x80) return {static_cast<char>(unit)};
    if (unit < 0x800) return {static_cast<char>(0xC0 | (unit >> 6)), tail(unit)};
    return {static_cast<char>(0xE0 | (unit >> 12)), tail(unit >> 6), tail(unit)};
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

Json Json::parse(const std::string& text) { return JsonReader(text).document(); }

void Json::expect(Kind kind, const char* what) const {
  if (kind_ != kind) throw std::runtime_error(name_ + " is not " + what);
}

const Json& Json::at(const std::string& name) const {
  expect(Kind::kObject, "an object");
  for (const auto& member : members_)
    if (member.first == name) return member.second;
  throw std::runtime_error((name_.empty() ? name : name_ + "." + name) + " is missing");
}

const std::string& Json::text() const {
  expect(Kind::kText, "a string");
  return text_;
}

double Json::number() const {
  expect(Kind::kNumber, "a number");
  return number_;
}

int Json::integer() const {
  const double value = number();
  if (value != std::floor(value) || std::abs(value) > 1e9)
    throw std::runtime_error(name_ + " is not a whole number");
  return static_cast<int>(value);
}

std::vector<std::string> Json::texts() const {
  expect(Kind::kArray, "an array");
  std::vector<std::string> found;
  for (const Json& item : items_) found.push_back(item.text());
  return found;
}

std::vector<double> Json::numbers() const {
  expect(Kind::kArray, "an array");
  std::vector<double> found;
  for (const Json& item : items_) found.push_back(item.number());
  return found;
}

const std::vector<std::pair<std::string, Json>>& Json::members() const {
  expect(Kind::kObject, "an object");
  return members_;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char letter : text) {
    const auto code = static_cast<unsigned char>(letter);
    if (letter == '"' || letter == '\\') result += '\\';
    if (code >= 0x20) {
      result += letter;
      continue;
    }
    result += "\\u00";
    result += "0123456789abcdef"[code >> 4];
    result += "0123456789abcdef"[code & 15];
  }
  return result + '"';
}

}  // namespace orthoedge
