// Whether the SIMD target that is being compiled has 32 vector registers, and not 16: how large a
// tile may be. To be asked where HWY_TARGET is a target's, below hwy/foreach_target.h.
#pragma once

#include "hwy/highway.h"

#define FOVEA_MANY_REGISTERS \
  (HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_ARCH_ARM_A64)
