// Fields of a JSON document. Every error names its field, such as calibration.int8.temperature.
#pragma once

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace orthoedge {

using Json = nlohmann::json;

// Parses strictly. nlohmann/json alone keeps the last value of a duplicated name, stops at a NUL
// byte and accepts any depth.
inline Json parse_json(const std::string& text) {
  if (text.find('\0') != std::string::npos) throw std::runtime_error("not JSON: a NUL byte");
  std::vector<std::set<std::string>> names;  // of each object that is still open
  return Json::parse(text, [&names](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > 32) throw std::runtime_error("nested more than 32 levels deep");
    if (event == Json::parse_event_t::object_start) names.emplace_back();
    if (event == Json::parse_event_t::object_end) names.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto name = parsed.get<std::string>();
      if (!names.back().insert(name).second) throw std::runtime_error(name + " is duplicated");
    }
    return true;
  });
}

// A value and its path in the document, which must outlive the field. Every method but `has` throws
// std::runtime_error if the value is missing or of a different type.
class Field {
 public:
  explicit Field(const Json& value, std::string path = "")
      : value_(value), path_(std::move(path)) {}

  bool has(const std::string& name) const { return value_.contains(name); }
  Field at(const std::string& name) const {
    expect(value_.is_object(), "an object");
    const std::string path = path_.empty() ? name : path_ + "." + name;
    if (!has(name)) throw std::runtime_error(path + " is missing");
    return Field(value_.at(name), path);
  }
  std::map<std::string, Field> members() const {
    expect(value_.is_object(), "an object");
    std::map<std::string, Field> fields;
    for (const auto& item : value_.items()) fields.emplace(item.key(), at(item.key()));
    return fields;
  }
  std::string text() const {
    expect(value_.is_string(), "a string");
    return value_.get<std::string>();
  }
  double number() const {
    expect(value_.is_number(), "a number");
    return value_.get<double>();
  }
  int integer() const {
    const double value = number();
    expect(value == std::floor(value) && std::abs(value) <= 1e9, "a whole number");
    return static_cast<int>(value);
  }
  std::vector<std::string> texts() const { return items(&Field::text); }
  std::vector<double> numbers() const { return items(&Field::number); }

 private:
  void expect(bool holds, const char* type) const {
    if (!holds)
      throw std::runtime_error((path_.empty() ? "the document" : path_) + " is not " + type);
  }
  template <typename Value>
  std::vector<Value> items(Value (Field::*read)() const) const {
    expect(value_.is_array(), "an array");
    std::vector<Value> values;
    for (const Json& item : value_) values.push_back((Field(item, path_).*read)());
    return values;
  }

  const Json& value_;
  std::string path_;
};

}  // namespace orthoedge
