#include "codecs/half.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "codecs/dense.h"
#include "kernels/kernels.h"

namespace nearbit {
namespace {

[[noreturn]] void refuse(const float* row, const Half* halves, const char* argument, size_t at) {
    constexpr Half kExponent = 0x7c00;
    size_t j = 0;
    while ((halves[j] & kExponent) != kExponent) ++j;
    throw InvalidArgument(std::string(argument) + ": expected " +
                          (std::isfinite(row[j]) ? "numbers from -65504 to 65504 for codec "
                                                   "'float16', got "
                                                 : "finite numbers, got ") +
                          number_text(row[j], at, j));
}

class Float16 final : public Codec {
  public:
    Float16(size_t dim, Metric metric) : Codec(dim, metric) {}
    const char* name() const override { return "float16"; }
    InputType input() const override { return InputType::kFloat32; }
    InputType output() const override { return InputType::kFloat32; }
    size_t code_bytes() const override { return dim_ * sizeof(Half); }
    bool has_factors() const override { return true; }

    float encode(const std::byte* rows, size_t n, std::byte* codes, float* factors,
                 const char* argument, size_t first_row) const override {
        const size_t at_once = std::max<size_t>(1, 8192 / dim_);
        std::vector<float> copy(at_once * dim_), widened(at_once * dim_);
        std::vector<double> squared_norms(at_once);
        for (size_t begin = 0; begin < n; begin += at_once) {
            const size_t m = std::min(at_once, n - begin);
            Half* const halves = reinterpret_cast<Half*>(codes + begin * code_bytes());
            std::memcpy(copy.data(), rows + begin * input_bytes(), m * input_bytes());
            kernels().half.narrow(copy.data(), m * dim_, halves);
            kernels().half.widen(halves, m * dim_, widened.data());
            kernels().dense.squared_norms(widened.data(), m, dim_, squared_norms.data());
            for (size_t i = 0; i < m; ++i) {
                const size_t at = first_row + begin + i;
                if (!std::isfinite(squared_norms[i])) {
                    refuse(copy.data() + i * dim_, halves + i * dim_, argument, at);
                }
                factors[begin + i] = factor_of(metric_, squared_norms[i], argument, at);
            }
        }
        return 0;
    }

    void decode(const std::byte* codes, size_t n, std::byte* rows) const override {
        kernels().half.widen(reinterpret_cast<const Half*>(codes), n * dim_,
                             reinterpret_cast<float*>(rows));
    }

    std::unique_ptr<Scorer> prepare(const std::byte* queries, size_t n, const char* argument,
                                    size_t first_row) const override {
        return make_half_scorer(metric_, dim_, queries, n, argument, first_row);
    }
};

}  // namespace

std::shared_ptr<const Codec> make_float16(size_t dim, Metric metric) {
    return std::make_shared<Float16>(dim, metric);
}

}  // namespace nearbit
