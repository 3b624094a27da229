#include "decision.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "look.h"

namespace orthoedge {
namespace {

// Guo et al., ICML 2017.
std::vector<double> softmax(const std::vector<float>& logits, double temperature) {
  const double largest = *std::max_element(logits.begin(), logits.end()) / temperature;
  std::vector<double> values;
  for (const float logit : logits) values.push_back(std::exp(logit / temperature - largest));
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  for (double& value : values) value /= sum;
  return values;
}

// How unlike the training images: linear in the features, quadratic in the look of the input.
double distance(const Answer& answer, const OutOfDistribution& score) {
  const std::vector<float>& features = answer.outputs.feature_vector;
  const std::vector<double> terms = look_terms(look(answer.prepared.square.view()),
                                               score.statistics_mean, score.statistics_std);
  const double of_features =
      std::inner_product(features.begin(), features.end(), score.features.begin(), 0.0);
  const double of_look =
      std::inner_product(terms.begin(), terms.end(), score.statistics_weights.begin(), 0.0);
  return (of_features + of_look + score.offset) / score.threshold;
}

}  // namespace

DecisionInputs decision_inputs(const Bundle& bundle, const Answer& answer) {
  const Calibration& calibration = bundle.calibration;
  DecisionInputs found{softmax(answer.outputs.logits, calibration.temperature),
                       {},
                       distance(answer, calibration.out_of_distribution)};
  std::vector<std::size_t> ranked(bundle.labels.size());
  std::iota(ranked.begin(), ranked.end(), std::size_t{0});
  std::stable_sort(ranked.begin(), ranked.end(), [&](std::size_t a, std::size_t b) {
    return found.probabilities[a] > found.probabilities[b];
  });
  for (const std::size_t i : ranked) {
    const std::string& label = bundle.labels[i];
    const double probability = found.probabilities[i];
    const auto& alerts = bundle.alert_labels;
    const bool alert = std::find(alerts.begin(), alerts.end(), label) != alerts.end();
    if (i == ranked.front() || probability >= 1 - calibration.conformal_quantile ||
        (alert && probability >= calibration.operating_points.at(label)))
      found.label_set.push_back(label);
  }
  return found;
}

}  // namespace orthoedge
