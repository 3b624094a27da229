// orthoedge-classify BUNDLE int8|fp32 OUT IMAGE.pgm...
//
// Checks the bundle, runs its golden images, then prints one line of JSON per radiograph and writes
// OUT/IMAGE.pgm.map.npy, float32 (C, h, w). Exit code 1: an image could not be read, the others
// were; 2: no image was classified. Each error is one line on stderr.
#include <filesystem>
#include <iostream>
#include <sstream>

#include "arrays.h"
#include "classifier.h"
#include "decision.h"
#include "files.h"
#include "json.h"

namespace {

using namespace orthoedge;

template <typename Values>
std::string by_label(const Bundle& bundle, const Values& values) {
  std::ostringstream text;
  text.precision(17);  // enough for a double to come back as it was
  for (std::size_t i = 0; i < values.size(); ++i)
    text << (i ? "," : "{") << quoted(bundle.labels[i]) << ":" << values[i];
  return text.str() + "}";
}

std::string box(const Box& at) {
  std::ostringstream text;
  text << "[" << at[0] << "," << at[1] << "," << at[2] << "," << at[3] << "]";
  return text.str();
}

std::string provenance(const Bundle& bundle, const Classifier& classifier) {
  return "{\"bundle\":" + quoted(bundle.name) + ",\"bundle_version\":" + quoted(bundle.version) +
         ",\"bundle_sha256\":" + quoted(bundle.sha256) + ",\"engine\":\"openvino\"" +
         ",\"engine_version\":" + quoted(Classifier::engine_version()) +
         ",\"precision\":" + quoted(bundle.precision) +
         ",\"isa\":" + quoted(classifier.instruction_set()) + "}";
}

void print_start(const Bundle& bundle, const Classifier& classifier) {
  const Tolerance& golden = classifier.golden();
  std::cout.precision(9);
  std::cout << "{\"provenance\":" << provenance(bundle, classifier)
            << ",\"notice\":" << quoted(bundle.intended_use)
            << ",\"golden\":{\"logits\":" << golden.logits
            << ",\"saliency_map\":" << golden.saliency_map
            << ",\"feature_vector\":" << golden.feature_vector << "}}" << std::endl;
}

void print_result(const std::string& path, const Bundle& bundle, const Prediction& prediction) {
  const DecisionInputs inputs = decision_inputs(bundle, prediction);
  std::cout << "{\"path\":" << quoted(path)
            << ",\"logits\":" << by_label(bundle, prediction.outputs.logits)
            << ",\"probabilities\":" << by_label(bundle, inputs.probabilities)
            << ",\"label_set\":[";
  for (std::size_t i = 0; i < inputs.label_set.size(); ++i)
    std::cout << (i ? "," : "") << quoted(inputs.label_set[i]);
  std::cout.precision(17);
  std::cout << "],\"out_of_distribution\":" << inputs.out_of_distribution
            << ",\"field\":" << box(prediction.prepared.field)
            << ",\"content\":" << box(prediction.prepared.content) << "}" << std::endl;
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() < 4)
    throw std::runtime_error("usage: orthoedge-classify BUNDLE int8|fp32 OUT IMAGE.pgm...");
  const Bundle bundle = read_bundle(arguments[0], arguments[1]);
  Classifier classifier(bundle, 1);
  print_start(bundle, classifier);
  const std::filesystem::path out = arguments[2];
  std::filesystem::create_directories(out);
  const Graph& graph = bundle.graph;
  const std::vector<std::size_t> shape{static_cast<std::size_t>(graph.classes),
                                       static_cast<std::size_t>(graph.map_height),
                                       static_cast<std::size_t>(graph.map_width)};
  int status = 0;
  for (std::size_t i = 3; i < arguments.size(); ++i) {
    const std::string& path = arguments[i];
    try {
      const Grey radiograph = read_pgm(path);
      const Prediction prediction = classifier(radiograph.view());
      const std::string name = std::filesystem::path(path).filename().string();
      write_file(out / (name + ".map.npy"), to_npy(prediction.outputs.saliency_map, shape));
      print_result(path, bundle, prediction);
    } catch (const std::runtime_error& error) {
      std::cerr << "orthoedge-classify: " << path << ": " << error.what() << std::endl;
      status = 1;
    }
  }
  return status;
}

}  // namespace

int main(int count, char** values) {
  try {
    return run({values + 1, values + count});
  } catch (const std::exception& error) {
    std::cerr << "orthoedge-classify: " << error.what() << std::endl;
    return 2;
  }
}
