// The choice of the SIMD target.
#include <gtest/gtest.h>

#include <string>

#include "fovea/error.h"
#include "fovea/version.h"

namespace fovea {
namespace {

TEST(Simd, RestrictsToOneTargetAndBack) {
  const std::string before = simd_target();
  ASSERT_FALSE(simd_targets().empty());
  for (const std::string& target : simd_targets()) {
    set_simd_target(target);
    EXPECT_EQ(simd_target(), target);
  }
  set_simd_target("");
  EXPECT_EQ(simd_target(), simd_targets().front());
  set_simd_target(before);
}

TEST(Simd, RefusesAnUnknownTargetAndListsTheOthers) {
  const std::string before = simd_target();
  try {
    set_simd_target("MMX");
    FAIL() << "accepted";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("'MMX'"), std::string::npos) << message;
    EXPECT_NE(message.find(simd_targets().front()), std::string::npos) << message;
  }
  EXPECT_EQ(simd_target(), before);
}

}  // namespace
}  // namespace fovea
