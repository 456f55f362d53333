// Integer kernels in plain C++: the reference that every other instruction set is tested against.

struct IntSums {
    int64_t squared_difference = 0, product = 0, squared_norm = 0;
};

inline IntSums int_sums(IntType type, const int16_t* q, const uint8_t* x, size_t dim) {
    IntSums sums;
    for (size_t j = 0; j < dim; ++j) {
        const int32_t x_j = type == IntType::kInt8 ? int8_t(x[j]) : x[j];
        sums.squared_difference += (q[j] - x_j) * (q[j] - x_j);
        sums.product += q[j] * x_j;
        sums.squared_norm += x_j * x_j;
    }
    return sums;
}

void ints_gather(DenseForm form, IntType type, const int16_t* query, size_t dim,
                 const uint8_t* rows, const uint32_t* which, size_t n, double* sums,
                 double* squared_norms) {
    for (size_t i = 0; i < n; ++i) {
        const size_t row = which ? which[i] : i;
        const IntSums found = int_sums(type, query, rows + row * dim, dim);
        sums[i] = double(form == DenseForm::kL2 ? found.squared_difference : found.product);
        if (form == DenseForm::kCosine) squared_norms[i] = double(found.squared_norm);
    }
}

inline bool within(DenseForm form, const IntSums& sums, double bound) {
    if (form == DenseForm::kL2) return double(sums.squared_difference) <= bound;
    const double product = double(sums.product);
    if (form == DenseForm::kIp) return -product <= bound;
    return (product < 0 ? -product : product) * product >= bound * double(sums.squared_norm);
}

void ints_scan(const IntQueries& queries, size_t dim, const IntBlock& block, Sink* sink) {
    for (uint32_t row = 0; row < block.n; ++row) {
        if (!admitted(block.admit, row)) continue;
        for (uint32_t q = 0; q < queries.n; ++q) {
            const IntSums sums =
                int_sums(queries.type, queries.queries + q * dim, block.rows + row * dim, dim);
            if (!within(queries.form, sums, queries.bound[q])) continue;
            make_room(sink);
            report(sink, q, row, 0);
        }
    }
}

constexpr IntKernels ints_kernels = {ints_gather, ints_scan};
