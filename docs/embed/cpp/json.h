// JSON (RFC 8259) as far as a manifest needs it: read whole, asked by name, strict.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace orthoedge {

class Json {
 public:
  // Throws std::runtime_error with the place of what is no JSON; a name given twice is refused.
  static Json parse(const std::string& text);

  // Each throws std::runtime_error that names the field where it is missing or of another kind.
  const Json& at(const std::string& name) const;
  const std::string& text() const;
  double number() const;
  int integer() const;
  std::vector<std::string> texts() const;
  std::vector<double> numbers() const;
  const std::vector<std::pair<std::string, Json>>& members() const;

 private:
  friend class JsonReader;
  enum class Kind { kNull, kBool, kNumber, kText, kArray, kObject };
  void expect(Kind kind, const char* what) const;

  Kind kind_ = Kind::kNull;
  std::string name_;  // where it lies in the document, for messages
  std::string text_;
  double number_ = 0;
  std::vector<Json> items_;
  std::vector<std::pair<std::string, Json>> members_;
};

// A string as a JSON string, quotes included.
std::string quoted(const std::string& text);

}  // namespace orthoedge
