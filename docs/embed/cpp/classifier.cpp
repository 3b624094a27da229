#include "classifier.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "arrays.h"

namespace orthoedge {
namespace {

// OpenVINO's messages begin with positions in its source; the last line states the error.
std::string last_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  const std::size_t at = text.rfind('\n');
  return at == std::string::npos ? text : text.substr(at + 1);
}

std::vector<float> copy(const ov::Tensor& tensor, std::size_t expected, const std::string& name) {
  if (tensor.get_element_type() != ov::element::f32 || tensor.get_size() != expected)
    throw std::runtime_error("openvino: the shape of " + name + " differs from the manifest");
  // The next call overwrites the request's tensors.
  return {tensor.data<const float>(), tensor.data<const float>() + expected};
}

// Largest |difference| over the standard deviation of `expected`, as in orthoedge verify.
double deviation(const std::vector<float>& actual, const std::vector<float>& expected) {
  if (actual.size() != expected.size() || actual.empty()) return INFINITY;
  const auto count = static_cast<double>(expected.size());
  const double mean = std::accumulate(expected.begin(), expected.end(), 0.0) / count;
  double largest = 0, square = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double difference = std::abs(static_cast<double>(actual[i]) - expected[i]);
    if (!(difference <= largest)) largest = difference;  // also if it is not a number
    square += (expected[i] - mean) * (expected[i] - mean);
  }
  return largest / std::max(std::sqrt(square / count), 1e-12);
}

void append(std::vector<float>& all, const std::vector<float>& part) {
  all.insert(all.end(), part.begin(), part.end());
}

}  // namespace

Classifier::Classifier(const Bundle& bundle, int threads)
    : bundle_(bundle), model_input_(bundle.graph.size, bundle.graph.size) {
  const Bytes& model = bundle.files.at("model." + bundle.model + ".onnx");
  try {
    ov::Core core;
    // Without this hint OpenVINO runs "fp32" in bf16 on processors that have it.
    const std::shared_ptr<ov::Model> network =
        core.read_model(std::string(model.begin(), model.end()), ov::Tensor());
    network->reshape(ov::PartialShape{1, 1, bundle.graph.size, bundle.graph.size});
    compiled_ = core.compile_model(network, "CPU", ov::hint::inference_precision(ov::element::f32),
                                   ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                                   ov::inference_num_threads(threads));
    request_ = compiled_.create_infer_request();
  } catch (const ov::Exception& error) {
    throw std::runtime_error("openvino refused the model: " + last_line(error.what()));
  }
  check_kernels();
  check_golden();
}

Prediction Classifier::operator()(View radiograph) {
  std::uint8_t* const pixels = model_input_.pixels.data();
  Prediction prediction{};
  prediction.placement = prepare(bundle_.preprocess, radiograph, pixels);
  const auto [x0, y0, x1, y1] = prediction.placement.field;
  prediction.quality = measure_quality(radiograph.crop(x0, y0, x1, y1));
  prediction.statistics = image_statistics(model_input_.view());
  prediction.outputs = run(pixels);
  for (const float logit : prediction.outputs.logits)
    if (!std::isfinite(logit)) throw std::runtime_error("openvino: logits are not finite");
  return prediction;
}

Outputs Classifier::run(const std::uint8_t* image) {
  const Graph& graph = bundle_.graph;
  const auto side = static_cast<std::size_t>(graph.size);
  const auto classes = static_cast<std::size_t>(graph.classes);
  // OpenVINO only reads from an input, but its C++ API takes no pointer to const.
  const ov::Tensor input(ov::element::u8, {1, 1, side, side}, const_cast<std::uint8_t*>(image));
  try {
    request_.set_tensor("image", input);
    request_.infer();
  } catch (const ov::Exception& error) {
    throw std::runtime_error("openvino failed: " + last_line(error.what()));
  }
  const auto cells = static_cast<std::size_t>(graph.map_height * graph.map_width);
  Outputs outputs{copy(request_.get_tensor("logits"), classes, "logits"),
                  copy(request_.get_tensor("saliency_map"), classes * cells, "saliency_map"),
                  copy(request_.get_tensor("feature_vector"),
                       static_cast<std::size_t>(graph.features), "feature_vector"),
                  {}};
  const auto mask = static_cast<std::size_t>(graph.mask_height * graph.mask_width);
  if (mask > 0)
    outputs.lesion_mask = copy(request_.get_tensor("lesion_mask"), mask, "lesion_mask");
  return outputs;
}

// Looks at the convolutions, which take most of the time. A kernel is named like jit_avx2_1x1_i8.
void Classifier::check_kernels() {
  const std::vector<std::string> widest{"avx512_amx", "avx512", "avx2", "avx", "sse42"};
  std::size_t best = widest.size();
  bool integer = false;
  for (const auto& node : compiled_.get_runtime_model()->get_ops()) {
    const auto& info = node->get_rt_info();
    if (!info.count("primitiveType") || !info.count("layerType")) continue;
    if (info.at("layerType").as<std::string>() != "Convolution") continue;
    const std::string kernel = info.at("primitiveType").as<std::string>();
    const std::string suffix = kernel.size() < 3 ? "" : kernel.substr(kernel.size() - 3);
    integer = integer || suffix == "_i8" || suffix == "_I8" || suffix == "_u8" || suffix == "_U8";
    for (std::size_t i = 0; i < best; ++i)
      if (kernel.find(widest[i]) != std::string::npos) best = i;
  }
  if (best < widest.size()) instruction_set_ = widest[best];
  if (integer != (bundle_.precision == "int8"))
    throw std::runtime_error("openvino compiled the " + bundle_.precision + " model with" +
                             (integer ? "" : "out") + " integer kernels: model." +
                             bundle_.model + ".onnx contains " + (integer ? "" : "no ") +
                             "quantized layers");
}

void Classifier::check_golden() {
  const Array images = parse_npy(bundle_.files.at("golden/images.npy"));
  const auto expected = parse_npz(bundle_.files.at("golden/" + bundle_.model + ".npz"));
  const auto side = static_cast<std::size_t>(bundle_.graph.size);
  if (images.type != "|u1" || images.shape.size() != 4 || images.shape[0] < 1 ||
      images.shape[1] != 1 || images.shape[2] != side || images.shape[3] != side)
    throw std::runtime_error("golden/images.npy does not hold model inputs of the manifest's size");
  const bool has_mask = bundle_.graph.mask_height > 0;
  std::vector<std::string> names{"labels", "logits", "saliency_map", "feature_vector"};
  if (has_mask) names.push_back("lesion_mask");
  for (const std::string& name : names)
    if (!expected.count(name)) throw std::runtime_error("the golden outputs lack " + name);
  if (expected.at("labels").texts() != bundle_.labels)
    throw std::runtime_error("the manifest's labels are not those of the golden outputs");
  Outputs all;
  for (std::size_t i = 0; i < images.shape[0]; ++i) {
    const Outputs outputs = run(images.data.data() + i * side * side);
    append(all.logits, outputs.logits);
    append(all.saliency_map, outputs.saliency_map);
    append(all.feature_vector, outputs.feature_vector);
    append(all.lesion_mask, outputs.lesion_mask);
  }
  golden_ = {deviation(all.logits, expected.at("logits").floats()),
             deviation(all.saliency_map, expected.at("saliency_map").floats()),
             deviation(all.feature_vector, expected.at("feature_vector").floats()),
             has_mask ? deviation(all.lesion_mask, expected.at("lesion_mask").floats()) : 0};
  const Tolerance& limit = bundle_.tolerance;
  const bool within_limits = golden_.logits <= limit.logits &&
                             golden_.saliency_map <= limit.saliency_map &&
                             golden_.feature_vector <= limit.feature_vector &&
                             golden_.lesion_mask <= limit.lesion_mask;
  if (!within_limits)
    throw std::runtime_error("golden outputs are not reproduced: logits off by " +
                             std::to_string(golden_.logits) + " (limit " +
                             std::to_string(limit.logits) + "), saliency_map by " +
                             std::to_string(golden_.saliency_map) + ", feature_vector by " +
                             std::to_string(golden_.feature_vector) + ", lesion_mask by " +
                             std::to_string(golden_.lesion_mask));
}

std::string Classifier::engine_version() { return ov::get_openvino_version().buildNumber; }

}  // namespace orthoedge
