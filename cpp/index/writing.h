// A call that keeps writers out.
#pragma once

#include "base/error.h"
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
        if (applying_) index_.writer_.end_apply();
        index_.writer_.unlock();
    }
    Writing(const Writing&) = delete;
    Writing& operator=(const Writing&) = delete;

    // From here to its end the call can't fail, and a child forked meanwhile can't use the index.
    void apply() {
        index_.writer_.begin_apply();
        applying_ = true;
    }

  private:
    const Index& index_;
    bool applying_ = false;
};

}  // namespace nearbit
