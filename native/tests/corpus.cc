// orthoedge-corpus [INSTRUCTION_SET]
//
// Prepares the radiographs of standard input, as orthoedge's tests write them, and writes the
// results to standard output. Every array is of the exact size in memory of its own, so that a
// sanitizer sees a byte that is read or written outside. Without Python it runs wherever the
// library does, under an emulator too.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "hwy/highway.h"
#include "orthoedge/preparation.h"

namespace {

struct Case {
  std::int32_t rows, cols, stride, size, crop_field, clahe_stage, clahe_tiles, unused;
  double clahe_clip;
};

struct Result {
  std::int32_t field[4], content[4];
  double measures[5];
  float statistics[orthoedge::kStatisticsSize];
};

void write(const void* data, std::size_t size) {
  if (std::fwrite(data, 1, size, stdout) != size) throw std::runtime_error("cannot write");
}

void prepare(const Case& drawn) {
  const auto stride = static_cast<std::ptrdiff_t>(drawn.stride);
  const std::size_t size = static_cast<std::size_t>(std::abs(stride) * (drawn.rows - 1) + drawn.cols);
  const auto pixels = std::make_unique<std::uint8_t[]>(size);
  if (std::fread(pixels.get(), 1, size, stdin) != size) throw std::runtime_error("input is cut");
  const std::uint8_t* first = pixels.get() + (stride < 0 ? -stride * (drawn.rows - 1) : 0);
  const orthoedge::View radiograph{first, drawn.rows, drawn.cols, stride};
  const orthoedge::Preprocess settings{drawn.size, drawn.crop_field != 0,
                                       static_cast<orthoedge::Preprocess::Stage>(drawn.clahe_stage),
                                       drawn.clahe_clip, drawn.clahe_tiles};
  const auto side = static_cast<std::size_t>(drawn.size);
  const auto model_input = std::make_unique<std::uint8_t[]>(side * side);
  const auto placed = orthoedge::prepare(settings, radiograph, model_input.get());
  const auto [x0, y0, x1, y1] = placed.field;
  const auto quality = orthoedge::measure_quality(radiograph.crop(x0, y0, x1, y1));
  const auto statistics = orthoedge::image_statistics(
      {model_input.get(), drawn.size, drawn.size, drawn.size});
  Result result{{},
                {},
                {quality.mean, quality.black_share, quality.white_share,
                 static_cast<double>(quality.levels), quality.negative},
                {}};
  std::copy(placed.field.begin(), placed.field.end(), result.field);
  std::copy(placed.content.begin(), placed.content.end(), result.content);
  std::copy(statistics.begin(), statistics.end(), result.statistics);
  write(&result, sizeof result);
  write(model_input.get(), side * side);
}

void choose(const std::string& name) {
  std::string names;
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    if (name == hwy::TargetName(target)) {
      hwy::SetSupportedTargetsForTest(target);
      return;
    }
    names += std::string(" ") + hwy::TargetName(target);
  }
  throw std::runtime_error("no instruction set " + name + "; has" + names);
}

}  // namespace

int main(int count, char** values) {
  try {
    if (count > 1) choose(values[1]);
    std::fprintf(stderr, "%s\n", orthoedge::instruction_set());
    Case drawn;
    while (std::fread(&drawn, sizeof drawn, 1, stdin) == 1) prepare(drawn);
    return std::fflush(stdout);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "orthoedge-corpus: %s\n", error.what());
    return 2;
  }
}
