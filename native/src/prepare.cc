#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "field.h"
#include "resize.h"

namespace orthoedge {
namespace {

void check(const Preprocess& settings, View radiograph) {
  if (settings.size < 32 || settings.size > 1024)
    throw std::invalid_argument("size: expected 32 to 1024 pixels");
  if (!(settings.clahe_clip > 0 && settings.clahe_clip <= 40))
    throw std::invalid_argument("clahe_clip: expected 0 to 40");
  if (settings.clahe_tiles < 1 || settings.clahe_tiles > 32)
    throw std::invalid_argument("clahe_tiles: expected 1 to 32");
  if (radiograph.rows < 1 || radiograph.cols < 1) throw std::invalid_argument("no pixels");
}

// Rounds halves to even, as Python does, and to at least 1.
int scaled(int length, double scale) {
  return std::max(1, static_cast<int>(std::nearbyint(length * scale)));
}

// The field, and the halving of it that is resized to the model input.
struct Source {
  Box field;
  View near;
};

// Halves a view while its long side is at least `size` afterwards.
View halved(View pixels, int size, Halvings& halvings) {
  const int count = count_halvings(pixels.rows, pixels.cols, size);
  halvings.make(pixels, count, count);
  return halvings.level(count);
}

Source find_source(const Preprocess& settings, View radiograph) {
  thread_local Halvings halvings, of_field;
  const int rows = radiograph.rows, cols = radiograph.cols;
  const int near = count_halvings(rows, cols, settings.size);
  const Box all{0, 0, cols, rows};
  if (!settings.crop_field) return {all, halved(radiograph, settings.size, halvings)};
  const int coarse = count_halvings(rows, cols, kCoarse);
  halvings.make(radiograph, std::min(near, coarse), std::max(near, coarse));
  const Box field = find_field(halvings.level(coarse), 1 << coarse, rows, cols);
  if (field == all) return {all, halvings.level(near)};
  const auto [x0, y0, x1, y1] = field;
  const int number = count_halvings(y1 - y0, x1 - x0, settings.size);
  // A field begins at a whole pixel of the coarse copy, so a halving of it is part of a halving of
  // all.
  if (number >= halvings.first() && number <= coarse) {
    const int x = x0 >> number, y = y0 >> number;
    return {field, halvings.level(number).crop(x, y, x + ((x1 - x0) >> number),
                                               y + ((y1 - y0) >> number))};
  }
  return {field, halved(radiograph.crop(x0, y0, x1, y1), settings.size, of_field)};
}

// Fits `near`, a halving of the field, into the model input, centred on zeros.
Box letterbox(const Box& field, View near, int size, std::uint8_t* model_input) {
  const int cols = field[2] - field[0], rows = field[3] - field[1];
  const double scale = static_cast<double>(size) / std::max(rows, cols);
  const int new_rows = scaled(rows, scale), new_cols = scaled(cols, scale);
  const int x0 = (size - new_cols) / 2, y0 = (size - new_rows) / 2;
  std::memset(model_input, 0, static_cast<std::size_t>(size) * static_cast<std::size_t>(size));
  resize_linear(near, new_rows, new_cols, model_input + y0 * size + x0, size);
  return {x0, y0, x0 + new_cols, y0 + new_rows};
}

}  // namespace

Placement prepare(const Preprocess& settings, View radiograph, std::uint8_t* model_input) {
  using Stage = Preprocess::Stage;
  check(settings, radiograph);
  thread_local Halvings halvings;
  thread_local Plane fitted;
  if (settings.clahe_stage == Stage::kBefore) {
    const Box all{0, 0, radiograph.cols, radiograph.rows};
    const Box field = settings.crop_field ? find_collimated_field(radiograph) : all;
    const View part = radiograph.crop(field[0], field[1], field[2], field[3]);
    Plane equalized;
    equalized.resize(part.rows, part.cols);
    clahe(part, settings.clahe_clip, settings.clahe_tiles, equalized.row(0));
    const View near = halved(equalized.view(), settings.size, halvings);
    return {field, letterbox(field, near, settings.size, model_input)};
  }
  const auto [field, near] = find_source(settings, radiograph);
  if (settings.clahe_stage == Stage::kNone)
    return {field, letterbox(field, near, settings.size, model_input)};
  fitted.resize(settings.size, settings.size);
  const Box content = letterbox(field, near, settings.size, fitted.row(0));
  clahe(fitted.view(), settings.clahe_clip, settings.clahe_tiles, model_input);
  return {field, content};
}

Box find_collimated_field(View radiograph) {
  thread_local Halvings halvings;
  const int count = count_halvings(radiograph.rows, radiograph.cols, kCoarse);
  halvings.make(radiograph, count, count);
  return find_field(halvings.level(count), 1 << count, radiograph.rows, radiograph.cols);
}

}  // namespace orthoedge
