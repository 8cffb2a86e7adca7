// What every picture in SVG begins with and is made of.
#pragma once

#include <string>

namespace fovea::explain {

// For text and attributes.
std::string escaped(const std::string& text);

// The opening of a picture of this size on white. Text is centred; its classes are small, left and
// right. </svg> closes it.
std::string svg_start(double width, double height);

}  // namespace fovea::explain
