// orthoedge-classify BUNDLE int8|fp32 OUT IMAGE.pgm...
//
// Checks the bundle, runs its golden images, then prints one line of JSON per radiograph and writes
// OUT/IMAGE.pgm.map.npy, float32 (C, h, w), and where the bundle has a lesion mask
// OUT/IMAGE.pgm.mask.npy, float32 (h', w'). Exit code 1: an image could not be read, the others
// were; 2: no image was classified. Each error is one line on stderr.
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "arrays.h"
#include "classifier.h"
#include "decision.h"
#include "files.h"

namespace {

using namespace orthoedge;
using Json = nlohmann::ordered_json;

// A file name need not be UTF-8, but JSON must be: U+FFFD replaces invalid bytes.
void print(const Json& line) {
  std::cout << line.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
}

template <typename Values>
Json by_label(const Bundle& bundle, const Values& values) {
  Json object;
  for (std::size_t i = 0; i < values.size(); ++i) object[bundle.labels[i]] = values[i];
  return object;
}

Json start_line(const Bundle& bundle, const Classifier& classifier) {
  const Tolerance& golden = classifier.golden();
  return {{"provenance",
           {{"bundle", bundle.name},
            {"bundle_version", bundle.version},
            {"bundle_sha256", bundle.sha256},
            {"engine", "openvino"},
            {"engine_version", Classifier::engine_version()},
            {"precision", bundle.precision},
            {"isa", classifier.instruction_set()}}},
          {"notice", bundle.intended_use},
          {"golden",
           {{"logits", golden.logits},
            {"saliency_map", golden.saliency_map},
            {"feature_vector", golden.feature_vector}}}};
}

Json result_line(const std::string& path, const Bundle& bundle, const Prediction& prediction) {
  const DecisionInputs inputs = decision_inputs(bundle, prediction);
  const Quality& quality = prediction.quality;
  return {{"path", path},
          {"logits", by_label(bundle, prediction.outputs.logits)},
          {"probabilities", by_label(bundle, inputs.probabilities)},
          {"label_set", inputs.label_set},
          {"out_of_distribution", inputs.out_of_distribution},
          {"quality",
           {{"mean", quality.mean},
            {"black_share", quality.black_share},
            {"white_share", quality.white_share},
            {"levels", quality.levels},
            {"negative", quality.negative}}},
          {"field", prediction.placement.field},
          {"content", prediction.placement.content}};
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() < 4)
    throw std::runtime_error("usage: orthoedge-classify BUNDLE int8|fp32 OUT IMAGE.pgm...");
  const Bundle bundle = read_bundle(arguments[0], arguments[1]);
  Classifier classifier(bundle, 1);
  print(start_line(bundle, classifier));
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
      if (graph.mask_height > 0)
        write_file(out / (name + ".mask.npy"),
                   to_npy(prediction.outputs.lesion_mask,
                          {static_cast<std::size_t>(graph.mask_height),
                           static_cast<std::size_t>(graph.mask_width)}));
      print(result_line(path, bundle, prediction));
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
