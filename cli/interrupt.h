// Ctrl-C and SIGTERM ask the running command to stop at its next block or token.
#pragma once

namespace ilre::cli {

void InstallInterruptHandler();
bool Interrupted();

}  // namespace ilre::cli
