// What the machine can do at best: the two limits that every measurement is compared with.
#pragma once

#include "fovea/dtype.h"
#include "fovea/export.h"

namespace fovea {

struct MachineSpeed {
  double peak_gflops = 0;  // fused multiply-adds that stay in registers, two operations each
  double copy_gbytes = 0;  // 10^9 bytes per second, read and written, of a copy beyond all caches
};

// Measured now, in under a second, with num_threads() threads on the SIMD target in use; takes
// 512 MiB for the time. Throws Error unless `dtype` is a floating type, or if memory is short.
FOVEA_API MachineSpeed measure_machine(DType dtype = DType::float32);

}  // namespace fovea
