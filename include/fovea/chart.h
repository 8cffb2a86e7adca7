// Charts as pictures in SVG.
#pragma once

#include <string>
#include <vector>

#include "fovea/export.h"

namespace fovea::explain {

struct ChartPoint {
  double x = 0;
  double y = 0;
  bool marked = false;    // by a ring
  std::string note = {};  // shown by a viewer that points at it
};
// In the order of its points.
struct ChartLine {
  std::string name = {};
  std::vector<ChartPoint> points = {};
  std::vector<double> expected = {};  // of each point: a dashed line beside; may be empty
};
struct ChartPanel {
  std::string title = {};
  std::string x = {}, y = {};  // what the axes show
  std::vector<ChartLine> lines = {};
};

// Panels in rows of three, every axis logarithmic. Lines of one name have one colour. `legend` says
// what dashes and rings stand for. Throws Error unless every number is positive.
FOVEA_API std::string chart_svg(const std::string& title, const std::vector<ChartPanel>& panels,
                                const std::vector<std::string>& legend);

}  // namespace fovea::explain
