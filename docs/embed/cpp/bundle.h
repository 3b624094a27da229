// A bundle folder: every file that manifest.json lists is hashed before anything is used.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "preprocess.h"

namespace orthoedge {

struct Graph {
  int size, classes, features, map_height, map_width;
};

// Weights of the score: its `threshold` is 1, beyond `reject` an image is no radiograph.
struct OutOfDistribution {
  std::vector<double> features, statistics_mean, statistics_std, statistics_weights;
  double offset, threshold, reject;
};

struct Calibration {
  double temperature, conformal_coverage, conformal_quantile;
  std::map<std::string, double> operating_points;
  OutOfDistribution out_of_distribution;
};

// Largest allowed |difference| over the standard deviation of the expected tensor.
struct Tolerance {
  double logits, saliency_map, feature_vector;
};

struct Bundle {
  std::string name, version, precision, intended_use;
  std::string sha256;  // of manifest.json, which holds the hash of every other file
  std::vector<std::string> labels, alert_labels;
  Preprocess preprocess;
  Graph graph;
  Calibration calibration;
  Tolerance tolerance;
  std::map<std::string, Bytes> files;  // held in memory: nothing changes after the check
};

// The field `preprocess` of a manifest alone, unchecked otherwise.
Preprocess read_preprocess(const std::string& manifest_path);

// precision: "int8" or "fp32". Throws std::runtime_error, one line, where a field is missing or a
// file is not what the manifest says.
Bundle read_bundle(const std::string& folder, const std::string& precision);

}  // namespace orthoedge
