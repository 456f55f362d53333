// All pairs of rows, in plain C++.

void pair_products(const float* queries, size_t nq, const float* rows, size_t n, size_t dim, float*,
                   float* out, size_t stride) {
    for (size_t i = 0; i < nq; ++i) {
        for (size_t j = 0; j < n; ++j) {
            out[i * stride + j] = -dot(queries + i * dim, rows + j * dim, dim);
        }
    }
}

size_t pair_workspace(size_t, size_t) {
    return 0;
}

uint32_t pair_cover(const float* distances, const float* limits, float* left, size_t n) {
    uint32_t least = 0;
    for (size_t j = 0; j < n; ++j) {
        if (distances[j] <= limits[j]) left[j] = HUGE_VALF;
        if (left[j] < left[least]) least = uint32_t(j);
    }
    return least;
}

constexpr PairKernels pair_kernels = {pair_products, pair_workspace, pair_cover};
