#include "common/base/standard_files.h"

#include <fcntl.h>
#include <unistd.h>

namespace ilre {

void HoldStandardFiles() {
  int fd = 0;
  do {
    fd = open("/dev/null", O_RDWR);  // gets the lowest free number
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

}  // namespace ilre
