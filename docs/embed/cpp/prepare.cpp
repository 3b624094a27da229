// orthoedge-prepare BUNDLE OUT IMAGE.pgm...
//
// Writes the model input of each radiograph as OUT/IMAGE.pgm and prints its position: x0, y0, x1,
// y1 of the collimated field on the radiograph, then inside the model input. It checks no hash.
#include <filesystem>
#include <iostream>

#include "bundle.h"

int main(int count, char** values) {
  using namespace orthoedge;
  try {
    if (count < 4) throw std::runtime_error("usage: orthoedge-prepare BUNDLE OUT IMAGE.pgm...");
    const Preprocess settings = read_preprocess(std::string(values[1]) + "/manifest.json");
    std::filesystem::create_directories(values[2]);
    for (int i = 3; i < count; ++i) {
      const Grey radiograph = read_pgm(values[i]);
      Grey model_input(settings.size, settings.size);
      const Placement placed = prepare(settings, radiograph.view(), model_input.pixels.data());
      const std::filesystem::path path = values[i];
      write_pgm(std::filesystem::path(values[2]) / path.filename(), model_input);
      for (const Box& box : {placed.field, placed.content})
        for (const int edge : box) std::cout << edge << ' ';
      std::cout << path.string() << '\n';
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "orthoedge-prepare: " << error.what() << std::endl;
    return 2;
  }
}
