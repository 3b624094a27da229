#include "bundle.h"

#include <algorithm>
#include <set>
#include <stdexcept>

#include "files.h"
#include "json_fields.h"

namespace orthoedge {
namespace {

constexpr int kOldestSchema = 3, kSchema = 5;
constexpr std::size_t kTerms = kStatisticsSize * (kStatisticsSize + 3) / 2;

void require(bool holds, const std::string& why) {
  if (!holds) throw std::runtime_error(why);
}

Json parse(const Bytes& data) { return parse_json(std::string(data.begin(), data.end())); }

// Some fields have a different name in schema 3.
Field renamed(const Field& json, const std::string& name, const std::string& schema_3_name) {
  return json.at(json.has(schema_3_name) ? schema_3_name : name);
}

Preprocess decode_preprocess(const Field& json) {
  Preprocess preprocess;
  preprocess.size = json.at("size").integer();
  preprocess.clahe_clip = json.at("clahe_clip").number();
  preprocess.clahe_tiles = json.at("clahe_tiles").integer();
  const std::string field = renamed(json, "collimated_field", "field").text();
  const std::string stage = json.at("clahe_stage").text();
  require(field == "crop" || field == "keep",
          "preprocess.collimated_field: " + field + " is unknown");
  require(stage == "after" || stage == "before" || stage == "none",
          "preprocess.clahe_stage: " + stage + " is unknown");
  preprocess.crop_field = field == "crop";
  preprocess.clahe_stage = stage == "after"    ? Preprocess::Stage::kAfter
                           : stage == "before" ? Preprocess::Stage::kBefore
                                               : Preprocess::Stage::kNone;
  require(preprocess.size >= 32 && preprocess.size <= 1024, "preprocess.size is not 32 to 1024");
  require(preprocess.clahe_clip > 0 && preprocess.clahe_clip <= 40,
          "preprocess.clahe_clip is not 0 to 40");
  require(preprocess.clahe_tiles >= 1 && preprocess.clahe_tiles <= 32,
          "preprocess.clahe_tiles is not 1 to 32");
  return preprocess;
}

void require_fraction(double value, const std::string& name) {
  require(value >= 0 && value <= 1, "calibration: " + name + " is not 0 to 1");
}

OutOfDistribution decode_score(const Field& json, std::size_t features) {
  OutOfDistribution score{json.at("features").numbers(),
                          renamed(json, "statistics_mean", "look_centre").numbers(),
                          renamed(json, "statistics_std", "look_spread").numbers(),
                          renamed(json, "statistics_weights", "look_terms").numbers(),
                          json.at("offset").number(),
                          json.at("threshold").number(),
                          json.at("reject").number()};
  const auto hold = [](const std::vector<double>& values, const char* name, std::size_t size) {
    require(values.size() == size, std::string("calibration: out_of_distribution.") + name +
                                       " does not hold " + std::to_string(size) + " numbers");
  };
  hold(score.features, "features", features);
  hold(score.statistics_mean, "statistics_mean", kStatisticsSize);
  hold(score.statistics_std, "statistics_std", kStatisticsSize);
  hold(score.statistics_weights, "statistics_weights", kTerms);
  require(*std::min_element(score.statistics_std.begin(), score.statistics_std.end()) > 0,
          "calibration: out_of_distribution.statistics_std is not above 0");
  require(score.threshold > 0, "calibration: out_of_distribution.threshold is not above 0");
  require(score.reject >= 1, "calibration: out_of_distribution.reject is not 1 or more");
  return score;
}

Calibration decode_calibration(const Field& json, const Bundle& bundle) {
  Calibration calibration{json.at("temperature").number(),
                          json.at("conformal_coverage").number(),
                          json.at("conformal_quantile").number(),
                          {},
                          decode_score(json.at("out_of_distribution"),
                                       static_cast<std::size_t>(bundle.graph.features))};
  for (const auto& [label, point] : json.at("operating_points").members()) {
    require_fraction(point.number(), "operating_points." + label);
    calibration.operating_points[label] = point.number();
  }
  bool complete = calibration.operating_points.size() == bundle.labels.size();
  for (const std::string& label : bundle.labels)
    complete = complete && calibration.operating_points.count(label) == 1;
  require(complete, "calibration: operating_points does not name every label");
  require(calibration.temperature > 0, "calibration: temperature is not above 0");
  require_fraction(calibration.conformal_coverage, "conformal_coverage");
  require_fraction(calibration.conformal_quantile, "conformal_quantile");
  return calibration;
}

void check_labels(const Bundle& bundle) {
  const std::set<std::string> labels(bundle.labels.begin(), bundle.labels.end());
  require(labels.size() >= 2 && labels.size() == bundle.labels.size(),
          "labels are not two or more distinct names");
  require(labels.size() == static_cast<std::size_t>(bundle.graph.classes),
          "labels and graph.classes differ");
  for (const std::string& label : bundle.alert_labels)
    require(labels.count(label) == 1, "alert_labels: " + label + " is not a label");
}

void decode_manifest(Bundle& bundle, const Field& json) {
  const int schema = json.at("schema").integer();
  require(schema >= kOldestSchema && schema <= kSchema,
          "schema " + std::to_string(schema) + ", this program reads " +
              std::to_string(kOldestSchema) + " to " + std::to_string(kSchema));
  bundle.name = json.at("name").text();
  bundle.version = json.at("version").text();
  bundle.intended_use = json.at("intended_use").text();
  bundle.labels = json.at("labels").texts();
  bundle.alert_labels = json.at("alert_labels").texts();
  bundle.preprocess = decode_preprocess(json.at("preprocess"));
  const Field graph = json.at("graph");
  bundle.graph = {graph.at("size").integer(), graph.at("classes").integer(),
                  graph.at("features").integer(), graph.at("map_height").integer(),
                  graph.at("map_width").integer(),
                  graph.has("mask_height") ? graph.at("mask_height").integer() : 0,
                  graph.has("mask_width") ? graph.at("mask_width").integer() : 0};
  const int side = bundle.graph.size;
  require(bundle.graph.mask_height >= 0 && bundle.graph.mask_height <= side &&
              bundle.graph.mask_width >= 0 && bundle.graph.mask_width <= side &&
              (bundle.graph.mask_height > 0) == (bundle.graph.mask_width > 0),
          "graph.mask_height and mask_width are not both 0, or both 1 to graph.size");
  check_labels(bundle);
  require(bundle.preprocess.size == bundle.graph.size, "preprocess.size and graph.size differ");
  require(bundle.graph.features >= 1, "graph.features is not 1 or more");
  const std::vector<std::string> targets =
      json.has("int8_cpu") ? json.at("int8_cpu").texts() : std::vector<std::string>{};
  const bool has_cpu_file = std::count(targets.begin(), targets.end(), "x86") > 0;
  bundle.model = bundle.precision == "int8" && has_cpu_file ? "int8_cpu" : bundle.precision;
  std::vector<std::string> models{"fp32", "int8"};
  if (!targets.empty()) models.push_back("int8_cpu");
  // The models that do not run are validated too.
  for (const std::string& model : models) {
    const Calibration calibration = decode_calibration(json.at("calibration").at(model), bundle);
    json.at("metrics").at(model).members();
    const Field limit = json.at("golden").at("tolerance").at(model);
    const Tolerance tolerance{limit.at("logits").number(), limit.at("saliency_map").number(),
                              limit.at("feature_vector").number(),
                              bundle.graph.mask_height > 0 ? limit.at("lesion_mask").number() : 0};
    if (model != bundle.model) continue;
    bundle.calibration = calibration;
    bundle.tolerance = tolerance;
  }
}

void read_files(Bundle& bundle, const std::string& folder, const Field& json) {
  for (const auto& [name, record] : json.at("files").members()) {
    Bytes content = read_file(folder + "/" + name);
    require(content.size() == record.at("bytes").number() &&
                sha256(content) == record.at("sha256").text(),
            folder + ": " + name + " is not the file the manifest describes (SHA-256 differs)");
    bundle.files.emplace(name, std::move(content));
  }
  for (const std::string& name :
       {"model." + bundle.model + ".onnx", "golden/" + bundle.model + ".npz",
        std::string("golden/images.npy")})
    require(bundle.files.count(name) == 1, folder + ": manifest.json does not list " + name);
}

}  // namespace

Preprocess read_preprocess(const std::string& manifest_path) {
  const Json document = parse(read_file(manifest_path));
  return decode_preprocess(Field(document).at("preprocess"));
}

Bundle read_bundle(const std::string& folder, const std::string& precision) {
  require(precision == "int8" || precision == "fp32",
          "precision " + precision + " is unknown: int8 or fp32");
  const std::string path = folder + "/manifest.json";
  const Bytes data = read_file(path);
  Bundle bundle{};
  bundle.precision = precision;
  bundle.sha256 = sha256(data);
  Json document;
  try {
    document = parse(data);
    decode_manifest(bundle, Field(document));
  } catch (const std::exception& error) {
    throw std::runtime_error(path + ": " + error.what());
  }
  read_files(bundle, folder, Field(document));
  return bundle;
}

}  // namespace orthoedge
