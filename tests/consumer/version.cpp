// Prints the version of the library it was linked with.
#include <fovea/fovea.h>

#include <iostream>

int main() {
  std::cout << fovea::version() << '\n';
}
