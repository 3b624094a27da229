#include "bundle.h"

#include <stdexcept>

#include "files.h"
#include "json.h"
#include "look.h"

namespace orthoedge {
namespace {

constexpr int kSchema = 3;

void require(bool kept, const std::string& why) {
  if (!kept) throw std::runtime_error(why);
}

Json parse(const Bytes& data) { return Json::parse(std::string(data.begin(), data.end())); }

Preprocess preprocess_of(const Json& json) {
  Preprocess found;
  found.size = json.at("size").integer();
  found.clahe_clip = json.at("clahe_clip").number();
  found.clahe_tiles = json.at("clahe_tiles").integer();
  const std::string field = json.at("field").text(), stage = json.at("clahe_stage").text();
  require(field == "crop" || field == "keep", "preprocess.field: " + field + " is unknown");
  require(stage == "after" || stage == "before" || stage == "none",
          "preprocess.clahe_stage: " + stage + " is unknown");
  found.crop_field = field == "crop";
  found.clahe_stage = stage == "after"    ? Preprocess::Stage::kAfter
                      : stage == "before" ? Preprocess::Stage::kBefore
                                          : Preprocess::Stage::kNone;
  require(found.size >= 32 && found.size <= 1024, "preprocess.size is not 32 to 1024");
  require(found.clahe_clip > 0 && found.clahe_clip <= 40, "preprocess.clahe_clip is not 0 to 40");
  require(found.clahe_tiles >= 1 && found.clahe_tiles <= 32, "preprocess.clahe_tiles not 1 to 32");
  return found;
}

Calibration calibration_of(const Json& json, const Bundle& bundle) {
  const Json& score = json.at("out_of_distribution");
  Calibration found{json.at("temperature").number(),
                    json.at("conformal_quantile").number(),
                    {},
                    score.at("features").numbers(),
                    score.at("look").numbers(),
                    score.at("offset").number(),
                    score.at("threshold").number(),
                    score.at("reject").number()};
  for (const std::string& label : bundle.labels)
    found.operating_points[label] = json.at("operating_points").at(label).number();
  const auto count = static_cast<std::size_t>(bundle.graph.features);
  require(found.temperature > 0, "calibration: temperature is not above 0");
  require(found.threshold > 0, "calibration: out_of_distribution.threshold is not above 0");
  require(found.reject >= 1, "calibration: out_of_distribution.reject is not 1 or more");
  require(found.feature_weights.size() == count && found.look_weights.size() == kLookSize,
          "calibration: out_of_distribution does not have a weight per feature and number of look");
  return found;
}

void describe(Bundle& bundle, const Json& json) {
  const int schema = json.at("schema").integer();
  require(schema == kSchema, "schema " + std::to_string(schema) + ", this program reads " +
                                 std::to_string(kSchema));
  bundle.name = json.at("name").text();
  bundle.version = json.at("version").text();
  bundle.intended_use = json.at("intended_use").text();
  bundle.labels = json.at("labels").texts();
  bundle.alert_labels = json.at("alert_labels").texts();
  bundle.preprocess = preprocess_of(json.at("preprocess"));
  const Json& graph = json.at("graph");
  bundle.graph = {graph.at("size").integer(), graph.at("classes").integer(),
                  graph.at("features").integer(), graph.at("map_height").integer(),
                  graph.at("map_width").integer()};
  require(bundle.labels.size() == static_cast<std::size_t>(bundle.graph.classes),
          "labels and graph.classes differ");
  require(bundle.preprocess.size == bundle.graph.size, "preprocess.size and graph.size differ");
  bundle.calibration = calibration_of(json.at("calibration").at(bundle.precision), bundle);
  const Json& tolerance = json.at("golden").at("tolerance").at(bundle.precision);
  bundle.tolerance = {tolerance.at("logits").number(), tolerance.at("saliency_map").number(),
                      tolerance.at("feature_vector").number()};
}

void read_files(Bundle& bundle, const std::string& folder, const Json& json) {
  for (const auto& [name, record] : json.at("files").members()) {
    Bytes content = read_file(folder + "/" + name);
    require(content.size() == record.at("bytes").number() &&
                sha256(content) == record.at("sha256").text(),
            folder + ": " + name + " is not the file the manifest describes (SHA-256 differs)");
    bundle.files.emplace(name, std::move(content));
  }
  for (const std::string& name : {"model." + bundle.precision + ".onnx",
                                  "golden/" + bundle.precision + ".npz",
                                  std::string("golden/images.npy")})
    require(bundle.files.count(name) == 1, folder + ": manifest.json does not list " + name);
}

}  // namespace

Preprocess read_preprocess(const std::string& manifest_path) {
  return preprocess_of(parse(read_file(manifest_path)).at("preprocess"));
}

Bundle read_bundle(const std::string& folder, const std::string& precision) {
  require(precision == "int8" || precision == "fp32",
          "precision " + precision + " is unknown: int8 or fp32");
  const std::string path = folder + "/manifest.json";
  const Bytes data = read_file(path);
  Bundle bundle{};
  bundle.precision = precision;
  bundle.sha256 = sha256(data);
  const Json json = [&] {
    try {
      const Json found = parse(data);
      describe(bundle, found);
      return found;
    } catch (const std::runtime_error& error) {
      throw std::runtime_error(path + ": " + error.what());
    }
  }();
  read_files(bundle, folder, json);
  return bundle;
}

}  // namespace orthoedge
