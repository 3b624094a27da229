// Read a bundle folder. Every file that manifest.json lists is hashed before any of it is used.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "image.h"

namespace orthoedge {

struct Graph {
  int size, classes, features, map_height, map_width;
  int mask_height, mask_width;  // of the lesion mask; 0: the bundle has none
};

// Weights of the out-of-distribution score. It is divided by `threshold`; above `reject` the image
// is not a radiograph.
struct OutOfDistribution {
  std::vector<double> features, statistics_mean, statistics_std, statistics_weights;
  double offset, threshold, reject;
};

struct Calibration {
  double temperature, conformal_coverage, conformal_quantile;
  std::map<std::string, double> operating_points;
  OutOfDistribution out_of_distribution;
};

// Largest allowed |difference| over the standard deviation of the expected tensor. Bundles without
// a lesion mask have 0 there.
struct Tolerance {
  double logits, saliency_map, feature_vector, lesion_mask;
};

struct Bundle {
  std::string name, version, precision, intended_use;
  std::string model;  // int8_cpu where the bundle has INT8 for CPU engines, else the precision
  std::string sha256;  // of manifest.json, which holds the hash of every other file
  std::vector<std::string> labels, alert_labels;
  Preprocess preprocess;
  Graph graph;
  Calibration calibration;
  Tolerance tolerance;
  std::map<std::string, Bytes> files;  // in memory, so that nothing changes after the check
};

// Reads only the field `preprocess` of a manifest and validates nothing else.
Preprocess read_preprocess(const std::string& manifest_path);

// precision: "int8" or "fp32". Throws std::runtime_error with one line if a field is missing or
// invalid, or a file does not match its SHA-256.
Bundle read_bundle(const std::string& folder, const std::string& precision);

}  // namespace orthoedge
