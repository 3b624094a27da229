// One model of a bundle, compiled by OpenVINO for the CPU.
#pragma once

#include <memory>
#include <openvino/openvino.hpp>
#include <string>
#include <vector>

#include "bundle.h"

namespace orthoedge {

struct Outputs {
  std::vector<float> logits;          // (C,), before temperature
  std::vector<float> saliency_map;    // (C, h, w), Grad-CAM++ of each label, not negative
  std::vector<float> feature_vector;  // (K,), pooled features
  std::vector<float> lesion_mask;     // (h', w'), probabilities; empty where a bundle has no mask
};

struct Prediction {
  Placement placement;    // position of the model input on the radiograph
  Quality quality;        // measures that runtime/image_quality.py compares with its limits
  Statistics statistics;  // of the model input
  Outputs outputs;
};

class Classifier {
 public:
  // Compiles the model and runs the golden images. Throws std::runtime_error with one line if
  // OpenVINO refuses the model or a golden output differs by more than the manifest allows.
  // The bundle must outlive the classifier.
  Classifier(const Bundle& bundle, int threads);

  // radiograph: 8 bits, bone bright on dark. Call from one thread at a time.
  Prediction operator()(View radiograph);

  // Deviations of the golden outputs, in the units of the tolerance.
  const Tolerance& golden() const { return golden_; }
  const std::string& instruction_set() const { return instruction_set_; }
  static std::string engine_version();

 private:
  Outputs run(const std::uint8_t* image);
  void check_kernels();
  void check_golden();

  const Bundle& bundle_;
  ov::CompiledModel compiled_;
  ov::InferRequest request_;
  Grey model_input_;  // size × size
  Tolerance golden_{};
  std::string instruction_set_ = "not reported";
};

}  // namespace orthoedge
