#include "decision.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace orthoedge {
namespace {

constexpr double kFar = 4;  // standard deviations; beyond it, squares would dominate the score

// Guo et al., ICML 2017.
std::vector<double> softmax(const std::vector<float>& logits, double temperature) {
  const double largest = *std::max_element(logits.begin(), logits.end()) / temperature;
  std::vector<double> values;
  for (const float logit : logits) values.push_back(std::exp(logit / temperature - largest));
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  for (double& value : values) value /= sum;
  return values;
}

// The statistics standardized by mean and standard deviation, and all products of two.
std::vector<double> terms_of(const Statistics& statistics, const OutOfDistribution& score) {
  std::vector<double> terms;
  for (std::size_t i = 0; i < kStatisticsSize; ++i)
    terms.push_back(std::clamp((statistics[i] - score.statistics_mean[i]) / score.statistics_std[i],
                               -kFar, kFar));
  for (std::size_t i = 0; i < kStatisticsSize; ++i)
    for (std::size_t j = i; j < kStatisticsSize; ++j) terms.push_back(terms[i] * terms[j]);
  return terms;
}

// Out-of-distribution score: linear in the features, quadratic in the image statistics.
double ood_score(const Prediction& prediction, const OutOfDistribution& score) {
  const std::vector<float>& features = prediction.outputs.feature_vector;
  const std::vector<double> terms = terms_of(prediction.statistics, score);
  const double of_features =
      std::inner_product(features.begin(), features.end(), score.features.begin(), 0.0);
  const double of_statistics =
      std::inner_product(terms.begin(), terms.end(), score.statistics_weights.begin(), 0.0);
  return (of_features + of_statistics + score.offset) / score.threshold;
}

}  // namespace

DecisionInputs decision_inputs(const Bundle& bundle, const Prediction& prediction) {
  const Calibration& calibration = bundle.calibration;
  DecisionInputs inputs{softmax(prediction.outputs.logits, calibration.temperature),
                        {},
                        ood_score(prediction, calibration.out_of_distribution)};
  std::vector<std::size_t> ranked(bundle.labels.size());
  std::iota(ranked.begin(), ranked.end(), std::size_t{0});
  std::stable_sort(ranked.begin(), ranked.end(), [&](std::size_t a, std::size_t b) {
    return inputs.probabilities[a] > inputs.probabilities[b];
  });
  for (const std::size_t i : ranked) {
    const std::string& label = bundle.labels[i];
    const double probability = inputs.probabilities[i];
    const auto& alerts = bundle.alert_labels;
    const bool alert = std::find(alerts.begin(), alerts.end(), label) != alerts.end();
    if (i == ranked.front() || probability >= 1 - calibration.conformal_quantile ||
        (alert && probability >= calibration.operating_points.at(label)))
      inputs.label_set.push_back(label);
  }
  return inputs;
}

}  // namespace orthoedge
