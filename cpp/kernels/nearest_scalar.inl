// The nearest of k centroids, in plain C++. Packed: the centroids, then their |c|^2 / 2.

size_t nearest_packed_size(size_t k, size_t dim) {
    return k * (dim + 1);
}

void nearest_pack(const float* centroids, size_t k, size_t dim, float* packed) {
    for (size_t i = 0; i < k * dim; ++i) packed[i] = centroids[i];
    for (size_t c = 0; c < k; ++c) {
        double sum = 0;
        for (size_t j = 0; j < dim; ++j) {
            sum += double(centroids[c * dim + j]) * centroids[c * dim + j];
        }
        packed[k * dim + c] = float(sum / 2);
    }
}

size_t nearest_workspace(size_t) {
    return 0;
}

void nearest_rows(const float* rows, size_t n, size_t stride, size_t dim, const float* packed,
                  size_t k, float*, uint32_t* out) {
    for (size_t i = 0; i < n; ++i, rows += stride) {
        float best = 0;
        for (size_t c = 0; c < k; ++c) {
            const float score = packed[k * dim + c] - dot(rows, packed + c * dim, dim);
            if (c != 0 && !(score < best)) continue;
            best = score;
            out[i] = uint32_t(c);
        }
    }
}

constexpr NearestKernels nearest_kernels = {nearest_rows, nearest_workspace, nearest_pack,
                                            nearest_packed_size};
