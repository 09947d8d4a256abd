// Standard input, output and error.
#pragma once

namespace ilre {

// Opens /dev/null in place of those that this process was started without: else the next file that is opened, one of a
// store perhaps, gets the number, and what is printed ends up in that file. First thing in main.
void HoldStandardFiles();

}  // namespace ilre
