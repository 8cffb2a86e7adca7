// The subcommand of `fovea data`.
#pragma once

#include "commands.h"

namespace cli {

Action data_preview_command(CLI::App& app);

}  // namespace cli
