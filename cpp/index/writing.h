// A call that keeps writers out.
#pragma once

#include "base/error.h"
#include "base/fork.h"
#include "index/index.h"

namespace nearbit {

class Index::Writing {
  public:
    enum Purpose { kChanges, kReads };

    Writing(const Index& index, Watch* watch, Purpose purpose = kChanges) : index_(index) {
        if (purpose == kChanges && index.read_only_) {
            throw InvalidArgument(
                "index: expected one that can be changed, got a read-only one, "
                "mapped from a file (load it without mmap=True)");
        }
        index_.writer_.lock(watch);
    }
    ~Writing() {
        if (fork_ != fork_generation()) return;  // the child's lock is another call's, or nobody's
        if (applying_) index_.writer_.end_apply();
        index_.writer_.unlock();
    }
    Writing(const Writing&) = delete;
    Writing& operator=(const Writing&) = delete;

    // From here to its end the call can't fail, and a child forked meanwhile can't use the index.
    void apply() {
        check_not_forked();
        index_.writer_.begin_apply();
        applying_ = true;
    }

    // A step before apply() that may fail, but must not be cut in two by a fork either.
    class Step {
      public:
        explicit Step(const Writing& writing) : writer_(writing.index_.writer_) {
            writing.check_not_forked();
            writer_.begin_apply();
        }
        ~Step() { writer_.end_apply(); }
        Step(const Step&) = delete;
        Step& operator=(const Step&) = delete;

      private:
        WriterMutex& writer_;
    };

  private:
    // In a child that a callback of this call forked, others may have changed the index since.
    void check_not_forked() const {
        if (fork_ != fork_generation()) throw forked_in_callback();
    }

    const Index& index_;
    const uint32_t fork_ = fork_generation();
    bool applying_ = false;
};

}  // namespace nearbit
