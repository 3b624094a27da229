// The numbers that runtime/decision.py compares with its thresholds. The decision itself, and the
// limits of the image quality before it, are left to your program.
#pragma once

#include <string>
#include <vector>

#include "bundle.h"
#include "classifier.h"

namespace orthoedge {

struct DecisionInputs {
  std::vector<double> probabilities;   // calibrated, in the order of the labels; they sum to 1
  std::vector<std::string> label_set;  // labels that cannot be ruled out, most probable first
  double out_of_distribution;  // 0 = the median of calibration images, 1 = the threshold to refer
};

DecisionInputs decision_inputs(const Bundle& bundle, const Prediction& prediction);

}  // namespace orthoedge
