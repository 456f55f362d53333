// Which ids may be found.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "base/bits.h"
#include "base/fork.h"

namespace nearbit {

// The slots that a search may report, as they were when it began.
struct Admit {
    Words words;
    size_t count = 0;
};

// A set of ids, for any number of searches. It remembers the slots that it last came to; those hold
// for one state of one index, so later changes can't confuse it.
class Filter {
  public:
    // Any order; repeated and unknown ids do no harm. `poll` is called now and then while many are
    // sorted, and may throw.
    explicit Filter(std::vector<int64_t> ids, const std::function<void()>& poll = {});
    // Bit i: id i is allowed; ids from n up are not.
    Filter(Words bits, size_t n) : bits_(std::move(bits)), n_bits_(n), by_bits_(true) {}

    size_t size() const;
    // Calls visit(id) for the ids begin..end-1 in order of the set (0..size of span()), ascending.
    template <class Visit>
    void for_each(size_t begin, size_t end, Visit visit) const {
        if (by_bits_) {
            for_each_bit(bits_.data(), begin, end, [&](size_t id) { visit(int64_t(id)); });
        } else {
            for (size_t i = begin; i < end; ++i) visit(ids_[i]);
        }
    }
    // How far for_each counts: ids listed, or bits.
    size_t span() const { return by_bits_ ? n_bits_ : ids_.size(); }

    // state: which index, and which of its states (Index::changed).
    struct State {
        const void* of = nullptr;
        uint64_t version = 0;
        bool operator==(const State&) const = default;
    };
    std::shared_ptr<const Admit> remembered(const State& state) const;
    void remember(const State& state, std::shared_ptr<const Admit> admit) const;

  private:
    std::vector<int64_t> ids_;
    Words bits_;
    size_t n_bits_ = 0;
    bool by_bits_ = false;

    struct Memo {
        std::mutex mutex;
        State state;
        std::shared_ptr<const Admit> admit;
    };
    mutable Memo memo_;
    // A child forgets: a thread of the parent may have held the mutex and been about to write the
    // rest, which therefore isn't freed either.
    ForkHook fork_hook_{[](void* filter) { new (&static_cast<Filter*>(filter)->memo_) Memo; },
                        this};
};

}  // namespace nearbit
