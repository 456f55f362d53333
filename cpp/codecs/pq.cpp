#include "codecs/pq.h"

#include <algorithm>
#include <cmath>

namespace nearbit {
namespace {

// What the largest sum of table entries comes to but for rounding: it and its parts fit an int32.
constexpr double kLargestSum = 1 << 30;

// Codebooks in the form that queries want.
struct Columns {
    std::vector<float> numbers;   // dimension by dimension, of all centroids
    std::vector<double> longest;  // of each subspace's centroids, the largest norm

    explicit Columns(const PqCodebooks& codebooks)
        : numbers(codebooks.centroids.size()), longest(codebooks.m) {
        const size_t k = codebooks.k();
        for (size_t s = 0; s < codebooks.m; ++s) {
            const size_t width = codebooks.width(s);
            const float* centroid = codebooks.of_subspace(s);
            float* const columns = numbers.data() + codebooks.starts[s] * k;
            for (size_t c = 0; c < k; ++c, centroid += width) {
                double squares = 0;
                for (size_t j = 0; j < width; ++j) {
                    columns[j * k + c] = centroid[j];
                    squares += double(centroid[j]) * double(centroid[j]);
                }
                longest[s] = std::max(longest[s], std::sqrt(squares));
            }
        }
    }
};

class PqQueries final : public QuantisedQueries {
  public:
    PqQueries(const PqCodebooks& codebooks, const Columns& columns, const float* z, size_t n)
        : kernels_(kernels().codes),
          m_(codebooks.m),
          k_(codebooks.k()),
          n_bytes_(codebooks.code_bytes()),
          n_(n),
          products_(n * m_ * k_),
          gains_(n),
          scan_gains_(n),
          scan_offsets_(n),
          stride_(n_bytes_ * (k_ == 16 ? 32 : 256)),
          tables_(n * stride_) {
        for (size_t q = 0; q < n; ++q) prepare(q, codebooks, columns, z + q * codebooks.dim);
    }

    void values(size_t q, const uint8_t* const* codes, size_t payload_at, size_t n,
                double* values) const override {
        for (size_t i = 0; i < n; ++i) {
            const uint8_t* const code = codes[i] + payload_at;
            const int32_t* table = products_.data() + q * m_ * k_;
            int32_t sum = 0;
            if (k_ == 256) {
                for (size_t s = 0; s < m_; ++s, table += 256) sum += table[code[s]];
            } else {
                for (size_t s = 0; s + 1 < m_; s += 2, table += 32) {
                    sum += table[code[s / 2] & 15] + table[16 + (code[s / 2] >> 4)];
                }
                if (m_ % 2 != 0) sum += table[code[m_ / 2] & 15];
            }
            values[i] = gains_[q] * double(sum);
        }
    }

    void scan(const CodesBlock& block, const float* bounds, Sink* sink) const override {
        const auto* const tables = reinterpret_cast<const uint8_t*>(tables_.data());
        const float *const gains = scan_gains_.data(), *const offsets = scan_offsets_.data();
        if (k_ == 256 && n_ == 1) {
            kernels_.byte_scan({tables, n_bytes_, 0, gains[0], offsets[0]}, block, bounds, sink);
        } else if (k_ == 256) {
            kernels_.byte_tile({tables, stride_, n_bytes_, 0, gains, offsets, bounds, uint32_t(n_)},
                               block, sink);
        } else if (n_ == 1) {
            kernels_.nibble_scan({tables, n_bytes_, 0, gains[0], offsets[0], {}}, block, bounds,
                                 sink);
        } else {
            kernels_.nibble_tile(
                {tables, stride_, n_bytes_, 0, gains, offsets, bounds, uint32_t(n_), {}}, block,
                sink);
        }
    }

    double largest(size_t q) const override {
        return gains_[q] * kLargestSum + std::abs(double(scan_offsets_[q])) +
               double(scan_gains_[q]) * 255 * double(m_);
    }

  private:
    // Products with all centroids, as whole numbers of one size, so that sums are exact in any
    // order.
    void prepare(size_t q, const PqCodebooks& codebooks, const Columns& columns, const float* z) {
        double most = 0;
        for (size_t s = 0; s < m_; ++s) {
            double squares = 0;
            for (size_t j = codebooks.starts[s]; j < codebooks.starts[s + 1]; ++j) {
                squares += double(z[j]) * double(z[j]);
            }
            most += std::sqrt(squares) * columns.longest[s];
        }
        gains_[q] = most / kLargestSum;
        const double to_whole = most > 0 ? 1 / gains_[q] : 0;
        int32_t* const tables = products_.data() + q * m_ * k_;
        const float* column = columns.numbers.data();
        for (size_t s = 0; s < m_; ++s) {
            double products[256] = {};
            for (size_t j = codebooks.starts[s]; j < codebooks.starts[s + 1]; ++j, column += k_) {
                const double number = double(z[j]) * to_whole;
                for (size_t c = 0; c < k_; ++c) products[c] += number * double(column[c]);
            }
            for (size_t c = 0; c < k_; ++c) tables[s * k_ + c] = int32_t(products[c]);
        }
        prepare_scan(q, tables);
    }

    // The same less each subspace's least, in steps that make the widest fit a byte (of 4 bits, the
    // widest two that share one), rounded up: a sum of entries then is an upper bound.
    void prepare_scan(size_t q, const int32_t* products) {
        std::vector<int32_t> least(m_);
        std::vector<int64_t> widths(n_bytes_);  // by the bytes of codes
        int64_t offset = 0;
        for (size_t s = 0; s < m_; ++s) {
            const int32_t* const here = products + k_ * s;
            int32_t low = here[0], high = here[0];
            for (size_t c = 1; c < k_; ++c) {
                low = std::min(low, here[c]);
                high = std::max(high, here[c]);
            }
            least[s] = low;
            offset += low;
            widths[k_ == 256 ? s : s / 2] += int64_t(high) - low;
        }
        // So no byte's entries come to 253 steps before they are rounded, and 2^31 * 2^-52 can't
        // change that.
        const int64_t step = *std::max_element(widths.begin(), widths.end()) / 253 + 1;
        const double to_steps = 1 / double(step);
        auto* table = reinterpret_cast<uint8_t*>(tables_.data()) + q * stride_;
        for (size_t s = 0; s < m_; ++s, table += k_, products += k_) {
            const double low = least[s];
            for (size_t c = 0; c < k_; ++c) {
                table[c] = uint8_t(1 + int32_t((double(products[c]) - low) * to_steps));
            }
        }
        // Rounded up, also where it is too small for a float.
        scan_gains_[q] = std::nextafter(float(gains_[q] * double(step)), kInfinity);
        scan_offsets_[q] = float(gains_[q] * double(offset));
    }

    const CodesKernels& kernels_;
    const size_t m_, k_, n_bytes_, n_;
    std::vector<int32_t> products_;
    std::vector<double> gains_;  // of a whole sum
    std::vector<float> scan_gains_, scan_offsets_;
    const size_t stride_;  // of a query's tables
    Memory tables_;        // for the scan
};

class Pq final : public Quantiser {
  public:
    explicit Pq(PqCodebooks codebooks)
        : codebooks_(std::move(codebooks)), encoder_(codebooks_), columns_(codebooks_) {}

    size_t dim() const override { return codebooks_.dim; }
    size_t payload_bytes() const override { return codebooks_.code_bytes(); }

    void encode(const float* r, size_t n, uint8_t* payloads, size_t stride,
                float* y) const override {
        const size_t bytes = payload_bytes();
        std::vector<uint8_t> codes(n * bytes);
        encoder_.encode(r, n, codes.data());
        decode_pq(codebooks_, codes.data(), n, y);
        for (size_t i = 0; i < n; ++i) {
            std::copy_n(codes.data() + i * bytes, bytes, payloads + i * stride);
        }
    }

    void decode(const uint8_t* payload, float* y) const override {
        decode_pq(codebooks_, payload, 1, y);
    }

    std::unique_ptr<QuantisedQueries> prepare(const float* z, size_t n) const override {
        return std::make_unique<PqQueries>(codebooks_, columns_, z, n);
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
    const Columns columns_;
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
