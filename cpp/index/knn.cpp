#include "index/knn.h"

#include <algorithm>

#include "base/error.h"
#include "base/threads.h"

namespace nearbit {
namespace {

constexpr size_t kPieceBytes = size_t(256) << 10;  // encoded at once: stays in the cache

class Rows final : public Searched {
  public:
    Rows(const Codec& codec, const Input& base) : codec_(codec), base_(base) {}

    size_t n_rows() const override { return base_.n; }
    std::shared_ptr<const Admit> admit(const Filter*) const override { return nullptr; }
    Best collector(size_t k, float radius) const override { return Best(k, radius, nullptr); }

    void scan(const Scorer& scorer, size_t, size_t begin, size_t end, const Admit*,
              Collector* const* collectors, Memory& scratch) const override {
        const size_t at_once = std::max<size_t>(1, kPieceBytes / codec_.code_bytes());
        Memory codes(at_once * codec_.code_bytes()), converted;
        std::vector<float> factors(at_once);
        for (; begin < end; begin += at_once) {
            const size_t n = std::min(end - begin, at_once);
            codec_.encode(base_.rows(begin, n, converted), n, codes.data(), factors.data(),
                          base_.argument, begin);
            const Block block = {.codes = codes.data(),
                                 .factors = codec_.has_factors() ? factors.data() : nullptr,
                                 .admit = nullptr,
                                 .slots = nullptr,
                                 .first_slot = uint32_t(begin),
                                 .n = uint32_t(n)};
            scorer.scan(block, collectors, scratch);
        }
    }

  private:
    const Codec& codec_;
    const Input& base_;
};

}  // namespace

void knn(const Codec& codec, const Input& base, const SearchRequest& request,
         const TakeHits& take) {
    if (base.n > kMaxSlots) {
        throw InvalidArgument(std::string(base.argument) + ": expected at most " +
                              std::to_string(kMaxSlots) + " rows, got " + std::to_string(base.n));
    }
    run_search(Rows(codec, base), codec, request, take);
}

}  // namespace nearbit
