// TrainProbe by way of the library that has libtorch; see probe_trainer.cc for the training itself.
#include "cli/calibrate/probe_trainer.h"
#include "common/base/status_macros.h"
#include "common/model/torch_backend.h"

namespace ilre::cli {

absl::StatusOr<RetrievalHead> TrainProbe(const std::vector<WeightedPool>& pools, int layer,
                                         const ProbeTrainingOptions& options,
                                         const std::function<void(int step, double loss)>& report) {
  ILRE_ASSIGN_OR_RETURN(void* const function, TorchBackendFunction("IlreTrainProbe"));
  absl::StatusOr<RetrievalHead> head;
  reinterpret_cast<TrainProbeFunction*>(function)(&pools, layer, &options, &report, &head);
  return head;
}

}  // namespace ilre::cli
