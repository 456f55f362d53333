// Dense kernels in plain C++, for rows of float32 and float16: the reference that every other
// instruction set is tested against, and what runs where there is no better one.

// Eight sums side by side: an eighth of the rounding errors of one (DenseTile counts on that), and
// compilers may use what vectors there are.
template <class Term>
inline float sum_of(size_t dim, Term term) {
    float sums[8] = {};
    size_t j = 0;
    for (; j + 8 <= dim; j += 8) {
        for (size_t lane = 0; lane < 8; ++lane) sums[lane] += term(j + lane);
    }
    for (size_t lane = 0; j < dim; ++j, ++lane) sums[lane] += term(j);
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
           ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

inline float float_of_bits(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}
inline uint32_t bits_of(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

inline float widened(float x) {
    return x;
}
// The product with 2^112 takes a half's exponent to a float's, those of denormals too.
inline float widened(Half half) {
    const uint32_t magnitude = uint32_t(half & 0x7fff) << 13, sign = uint32_t(half & 0x8000) << 16;
    const uint32_t bits = magnitude < 0x7c00u << 13
                              ? bits_of(float_of_bits(magnitude) * float_of_bits(239u << 23))
                              : magnitude | 255u << 23;
    return float_of_bits(bits | sign);
}

// To nearest, ties to even.
inline Half narrowed(float x) {
    const uint32_t bits = bits_of(x), magnitude = bits & 0x7fffffff;
    const Half sign = Half(bits >> 16 & 0x8000);
    if (magnitude > 255u << 23) return Half(sign | 0x7e00);  // NaN
    if (magnitude >= 143u << 23) return Half(sign | 0x7c00);
    if (magnitude < 113u << 23) {  // a denormal half: the sum with 0.5 rounds at 2^-24
        const float half = float_of_bits(126u << 23);
        return Half(sign | (bits_of(float_of_bits(magnitude) + half) - bits_of(half)));
    }
    const uint32_t rounded = magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1);
    return Half(sign | rounded >> 13);
}

template <class Number>
inline float dot(const float* q, const Number* x, size_t dim) {
    return sum_of(dim, [=](size_t j) { return q[j] * widened(x[j]); });
}

template <class Number>
inline float l2(const float* q, const Number* x, size_t dim) {
    return sum_of(dim, [=](size_t j) {
        const float difference = widened(x[j]) - q[j];
        return difference * difference;
    });
}

template <class Number>
inline float distance(DenseForm form, const float* q, const Number* x, size_t dim,
                      const float* factor) {
    if (form == DenseForm::kL2) return l2(q, x, dim);
    if (form == DenseForm::kIp) return -dot(q, x, dim);
    const float cosine_distance = 1.0f - *factor * dot(q, x, dim);
    return cosine_distance > 0 ? cosine_distance : 0.0f;
}

void dense_squared_norms(const float* rows, size_t n, size_t dim, double* out) {
    for (size_t i = 0; i < n; ++i) {
        double sum = 0;
        for (size_t j = 0; j < dim; ++j) sum += double(rows[i * dim + j]) * rows[i * dim + j];
        out[i] = sum;
    }
}

template <class Number>
void dense_gather(DenseForm form, const float* query, size_t dim, const Number* rows,
                  const float* factors, const uint32_t* which, size_t n, float* out) {
    for (size_t i = 0; i < n; ++i) {
        const size_t row = which ? which[i] : i;
        out[i] = distance(form, query, rows + row * dim, dim, factors ? factors + row : nullptr);
    }
}

template <class Number>
void dense_gather_at(DenseForm form, const float* query, size_t dim, const Number* const* rows,
                     const float* factors, size_t n, float* out) {
    for (size_t i = 0; i < n; ++i) {
        out[i] = distance(form, query, rows[i], dim, factors ? factors + i : nullptr);
    }
}

template <class Block>
void dense_scan(DenseForm form, const float* query, size_t dim, const Block& block,
                const float* threshold, Sink* sink) {
    for (uint32_t row = 0; row < block.n; ++row) {
        const float d = distance(form, query, block.rows + row * dim, dim,
                                 block.factors ? block.factors + row : nullptr);
        if (d <= *threshold && admitted(block.admit, row)) {
            make_room(sink);
            report(sink, 0, row, d);
        }
    }
}

void dense_tile(const DenseTile& tile, size_t dim, const DenseBlock& block, float*, Sink* sink) {
    for (uint32_t row = 0; row < block.n; ++row) {
        const float f = block.factors[row];
        const float slope = tile.beta + tile.gamma * f;
        for (uint32_t q = 0; q < tile.nq; ++q) {
            const float product = dot(tile.queries + q * dim, block.rows + row * dim, dim);
            if (tile.alpha[q] * f + slope * product <= tile.bound[q] &&
                admitted(block.admit, row)) {
                make_room(sink);
                report(sink, q, row, 0);
            }
        }
    }
}

size_t dense_tile_workspace(size_t) {
    return 0;
}
void dense_pack_queries(const float*, size_t, size_t, float*) {}
size_t dense_packed_size(size_t, size_t) {
    return 0;
}

void dense_pack_signs(const float* rows, size_t n, size_t dim, uint8_t* out) {
    const size_t n_bytes = (dim + 7) / 8;
    for (size_t i = 0; i < n; ++i) {
        for (size_t b = 0; b < n_bytes; ++b) {
            uint8_t byte = 0;
            for (size_t j = 8 * b; j < 8 * b + 8 && j < dim; ++j) {
                byte |= uint8_t(rows[i * dim + j] > 0) << (7 - j % 8);
            }
            out[i * n_bytes + b] = byte;
        }
    }
}

constexpr DenseKernels dense_kernels = {
    dense_squared_norms,    dense_gather<float>, dense_gather_at<float>,
    dense_scan<DenseBlock>, dense_tile,          dense_tile_workspace,
    dense_pack_queries,     dense_packed_size,   ~0u,
    dense_pack_signs};

void half_widen(const Half* halves, size_t n, float* out) {
    for (size_t i = 0; i < n; ++i) out[i] = widened(halves[i]);
}

void half_narrow(const float* numbers, size_t n, Half* out) {
    for (size_t i = 0; i < n; ++i) out[i] = narrowed(numbers[i]);
}

constexpr HalfKernels half_kernels = {half_narrow, half_widen, dense_gather<Half>,
                                      dense_gather_at<Half>, dense_scan<HalfBlock>};
