// What gRPC orders between the threads that a reactor's calls and reactions run on, told to the thread sanitizer:
// Debian's gRPC is built without it, so that it sees no order there. Nothing in other builds.
#pragma once

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

namespace ilre {

// Lives through a reaction (OnWriteDone, OnCancel, ...): it comes after what was done before the call that leads to it,
// and before OnDone.
class Reaction {
 public:
  explicit Reaction(void* reactor) : reactor_(reactor) { Begins(reactor); }
  ~Reaction() { Leads(reactor_); }
  Reaction(const Reaction&) = delete;
  Reaction& operator=(const Reaction&) = delete;

  // For OnDone, which ends the reactor's life.
  static void Begins(void* reactor) {
#ifdef __SANITIZE_THREAD__
    __tsan_acquire(reactor);
#endif
  }
  // Right before a call that leads to a reaction: StartRead, StartWrite, Finish.
  static void Leads(void* reactor) {
#ifdef __SANITIZE_THREAD__
    __tsan_release(reactor);
#endif
  }

 private:
  void* const reactor_;
};

}  // namespace ilre
