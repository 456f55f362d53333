#include "codecs/pq.h"

#include <algorithm>
#include <cmath>

namespace nearbit {
namespace {

// What the largest sum of table entries may come to: they and their sums fit an int32.
constexpr double kLargestSum = 1 << 30;

class PqQueries final : public QuantisedQueries {
  public:
    PqQueries(const PqCodebooks& codebooks, const float* z, size_t n)
        : kernels_(kernels().codes),
          m_(codebooks.m),
          k_(codebooks.k()),
          n_bytes_(codebooks.code_bytes()),
          n_(n),
          products_(n * m_ * k_),
          gains_(n),
          scan_gains_(n),
          scan_offsets_(n) {
        if (k_ == 16) nibbles_ = Memory(n * n_bytes_ * 32);
        for (size_t q = 0; q < n; ++q) prepare(q, codebooks, z + q * codebooks.dim);
    }

    void values(size_t q, const uint8_t* payloads, size_t stride, size_t n,
                double* values) const override {
        const int32_t* const tables = products_.data() + q * m_ * k_;
        for (size_t i = 0; i < n; ++i) {
            const uint8_t* const code = payloads + i * stride;
            int32_t sum = 0;
            for (size_t s = 0; s < m_; ++s) {
                const uint32_t number = k_ == 256    ? code[s]
                                        : s % 2 == 0 ? code[s / 2] & 15u
                                                     : code[s / 2] >> 4;
                sum += tables[s * k_ + number];
            }
            values[i] = gains_[q] * double(sum);
        }
    }

    void scan(const CodesBlock& block, const float* bounds, Sink* sink) const override {
        const auto* const nibbles = reinterpret_cast<const uint8_t*>(nibbles_.data());
        const float *const gains = scan_gains_.data(), *const offsets = scan_offsets_.data();
        if (k_ == 256 && n_ == 1) {
            kernels_.byte_scan({products_.data(), n_bytes_, 0, gains[0], offsets[0]}, block, bounds,
                               sink);
        } else if (k_ == 256) {
            kernels_.byte_tile(
                {products_.data(), m_ * k_, n_bytes_, 0, gains, offsets, bounds, uint32_t(n_)},
                block, sink);
        } else if (n_ == 1) {
            kernels_.nibble_scan({nibbles, n_bytes_, 0, gains[0], offsets[0], false}, block, bounds,
                                 sink);
        } else {
            kernels_.nibble_tile(
                {nibbles, n_bytes_ * 32, n_bytes_, 0, gains, offsets, bounds, uint32_t(n_), false},
                block, sink);
        }
    }

    double largest(size_t q) const override {
        return gains_[q] * kLargestSum + std::abs(double(scan_offsets_[q])) +
               double(scan_gains_[q]) * 255 * double(m_);
    }

  private:
    // Products with all centroids, as whole numbers of one size, so that sums are exact in any
    // order.
    void prepare(size_t q, const PqCodebooks& codebooks, const float* z) {
        std::vector<double> products(m_ * k_);
        double most = 0;
        for (size_t s = 0; s < m_; ++s) {
            const size_t width = codebooks.width(s);
            const float* centroid = codebooks.of_subspace(s);
            double largest_here = 0;
            for (size_t c = 0; c < k_; ++c, centroid += width) {
                double product = 0;
                for (size_t j = 0; j < width; ++j) {
                    product += double(z[codebooks.starts[s] + j]) * double(centroid[j]);
                }
                products[s * k_ + c] = product;
                largest_here = std::max(largest_here, std::abs(product));
            }
            most += largest_here;
        }
        gains_[q] = most / (kLargestSum - double(m_));
        int32_t* const tables = products_.data() + q * m_ * k_;
        for (size_t i = 0; most > 0 && i < m_ * k_; ++i) {
            tables[i] = int32_t(std::lround(products[i] / gains_[q]));
        }
        scan_gains_[q] = float(gains_[q]);
        if (k_ == 16) prepare_nibbles(q, tables);
    }

    // The same less each table's least, in steps that make the widest fit a byte, rounded up: a sum
    // of entries then is an upper bound.
    void prepare_nibbles(size_t q, const int32_t* tables) {
        int64_t widest = 1, offset = 0;
        for (size_t s = 0; s < m_; ++s) {
            const auto [least, most] = std::minmax_element(tables + 16 * s, tables + 16 * (s + 1));
            widest = std::max(widest, int64_t(*most) - *least);
        }
        const int64_t step = (widest + 254) / 255;
        auto* const out = reinterpret_cast<uint8_t*>(nibbles_.data()) + q * n_bytes_ * 32;
        for (size_t s = 0; s < m_; ++s) {
            const int32_t least = *std::min_element(tables + 16 * s, tables + 16 * (s + 1));
            offset += least;
            for (size_t c = 0; c < 16; ++c) {
                out[16 * s + c] = uint8_t((int64_t(tables[16 * s + c]) - least + step - 1) / step);
            }
        }
        scan_gains_[q] = float(gains_[q] * double(step));
        scan_offsets_[q] = float(gains_[q] * double(offset));
    }

    const CodesKernels& kernels_;
    const size_t m_, k_, n_bytes_, n_;
    std::vector<int32_t> products_;
    std::vector<double> gains_;  // of a whole sum
    std::vector<float> scan_gains_, scan_offsets_;
    Memory nibbles_;
};

class Pq final : public Quantiser {
  public:
    explicit Pq(PqCodebooks codebooks) : codebooks_(std::move(codebooks)), encoder_(codebooks_) {}

    size_t dim() const override { return codebooks_.dim; }
    size_t payload_bytes() const override { return codebooks_.code_bytes(); }

    void encode(const float* r, uint8_t* payload, float* y) const override {
        encoder_.encode(r, 1, payload);
        decode(payload, y);
    }

    void decode(const uint8_t* payload, float* y) const override {
        decode_pq(codebooks_, payload, 1, y);
    }

    std::unique_ptr<QuantisedQueries> prepare(const float* z, size_t n) const override {
        return std::make_unique<PqQueries>(codebooks_, z, n);
    }

    void write(Fields& fields) const override {
        fields.put(uint32_t(codebooks_.dim));
        fields.put(uint32_t(codebooks_.m));
        fields.put(uint32_t(codebooks_.nbits));
        for (size_t s = 0; s < codebooks_.m; ++s) fields.put(uint32_t(codebooks_.width(s)));
        for (const float number : codebooks_.centroids) fields.put(number);
    }

  private:
    const PqCodebooks codebooks_;
    const PqEncoder encoder_;
};

}  // namespace

std::unique_ptr<const Quantiser> make_pq(PqCodebooks codebooks) {
    return std::make_unique<Pq>(std::move(codebooks));
}

std::unique_ptr<const Quantiser> read_pq(Cursor& fields) {
    PqCodebooks read{};
    read.dim = fields.read<uint32_t>();
    read.m = fields.read<uint32_t>();
    read.nbits = fields.read<uint32_t>();
    if (read.dim < 1 || read.dim > kMaxDim || read.m < 1 || read.m > read.dim ||
        (read.nbits != 4 && read.nbits != 8)) {
        fields.refuse("expected a product quantiser's dimensions, parts and bits, got " +
                      std::to_string(read.dim) + ", " + std::to_string(read.m) + " and " +
                      std::to_string(read.nbits));
    }
    read.starts.push_back(0);
    for (size_t s = 0; s < read.m; ++s) {
        const size_t width = fields.read<uint32_t>(), left = read.dim - read.starts[s];
        // Each of those that follow has a dimension at least; the last has all that are left.
        if (width < 1 || width > left || (s + 1 == read.m && width != left)) {
            fields.refuse("expected parts of " + std::to_string(read.dim) +
                          " dimensions in all, got one of " + std::to_string(width) + " where " +
                          std::to_string(left) + " are left");
        }
        read.starts.push_back(read.starts[s] + width);
    }
    for (size_t i = 0; i < read.dim * read.k(); ++i) {
        read.centroids.push_back(fields.read<float>());
        if (!std::isfinite(read.centroids[i])) fields.refuse("expected finite centroids");
    }
    return make_pq(std::move(read));
}

}  // namespace nearbit
