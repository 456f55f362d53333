// The nearest of k centroids on x86-64: six centroids by two vectors of rows, both packed, as in
// dense_tile_x86.inl. The products are compared where they are summed, in registers.

enum : uint32_t {
    kPanelCentroids = 6,
    kWideRows = 2 * kFloats,
    kMostWideRows = 512,
    kWideBytes = 256 << 10,     // of rows packed at a time: they stay in L2 under all centroids
    kShortWideBytes = 8 << 10,  // of short rows: in L1, beside what is kept of each
    kShortDim = 64,
};

constexpr float kWorstScore = 3.4e38f;  // of finite centroids and rows, no score is as bad

// A panel: the six |c|^2 / 2, then [dim][6] values. One that isn't full is filled up with
// centroids that are never nearest.
size_t nearest_packed_size(size_t k, size_t dim) {
    return (k + kPanelCentroids - 1) / kPanelCentroids * kPanelCentroids * (dim + 1);
}

void nearest_pack(const float* centroids, size_t k, size_t dim, float* packed) {
    for (size_t first = 0; first < k; first += kPanelCentroids) {
        for (size_t c = first; c < first + kPanelCentroids; ++c) {
            double sum = 0;
            for (size_t j = 0; c < k && j < dim; ++j) {
                sum += double(centroids[c * dim + j]) * centroids[c * dim + j];
            }
            *packed++ = c < k ? float(sum / 2) : kWorstScore;
        }
        for (size_t j = 0; j < dim; ++j) {
            for (size_t c = first; c < first + kPanelCentroids; ++c) {
                *packed++ = c < k ? centroids[c * dim + j] : 0.0f;
            }
        }
    }
}

inline size_t wide_rows(size_t dim) {
    const size_t bytes = dim <= kShortDim ? kShortWideBytes : kWideBytes;
    const size_t fitting = bytes / sizeof(float) / dim / kWideRows * kWideRows;
    return fitting < kWideRows       ? size_t(kWideRows)
           : fitting > kMostWideRows ? size_t(kMostWideRows)
                                     : fitting;
}

// Packed rows, then the best score of each and its centroid.
size_t nearest_workspace(size_t dim) {
    return wide_rows(dim) * (dim + 2);
}

// Packs n <= kWideRows rows as [dim][kWideRows]; a panel that is not full repeats the last one.
void pack_wide(const float* rows, size_t n, size_t stride, size_t dim, float* panel) {
    const float* x[kWideRows];
    for (size_t i = 0; i < kWideRows; ++i) x[i] = rows + (i < n ? i : n - 1) * stride;
    const __m256i tail = first_lanes(dim % 8);
    for (size_t i = 0; i < kWideRows; i += 8) {
        float* const out = panel + i;
        size_t j = 0;
        for (; j + 8 <= dim; j += 8) {
            transpose_8x8<kWideRows>(
                x + i, [=](const float* p) { return _mm256_loadu_ps(p + j); }, out + j * kWideRows,
                8);
        }
        if (j < dim) {
            transpose_8x8<kWideRows>(
                x + i, [=](const float* p) { return _mm256_maskload_ps(p + j, tail); },
                out + j * kWideRows, dim - j);
        }
    }
}

// Scores a panel of rows against a panel of centroids, of which the first is number `first`, and
// keeps the better. 12 sums, 2 row vectors and 1 centroid value in the registers.
NEARBIT_HOT void nearest_of_6(const float* c, const float* x, size_t dim, uint32_t first,
                              float* best, uint32_t* number) {
    Floats a0 = all_floats(c), a1 = a0, b0 = all_floats(c + 1), b1 = b0;
    Floats c0 = all_floats(c + 2), c1 = c0, d0 = all_floats(c + 3), d1 = d0;
    Floats e0 = all_floats(c + 4), e1 = e0, f0 = all_floats(c + 5), f1 = f0;
    c += kPanelCentroids;
    for (size_t j = 0; j < dim; ++j, c += kPanelCentroids, x += kWideRows) {
        const Floats x0 = load_floats(x), x1 = load_floats(x + kFloats);
        Floats y = all_floats(c);
        a0 = subtract_product(y, x0, a0);
        a1 = subtract_product(y, x1, a1);
        y = all_floats(c + 1);
        b0 = subtract_product(y, x0, b0);
        b1 = subtract_product(y, x1, b1);
        y = all_floats(c + 2);
        c0 = subtract_product(y, x0, c0);
        c1 = subtract_product(y, x1, c1);
        y = all_floats(c + 3);
        d0 = subtract_product(y, x0, d0);
        d1 = subtract_product(y, x1, d1);
        y = all_floats(c + 4);
        e0 = subtract_product(y, x0, e0);
        e1 = subtract_product(y, x1, e1);
        y = all_floats(c + 5);
        f0 = subtract_product(y, x0, f0);
        f1 = subtract_product(y, x1, f1);
    }
    // The later of two wins only if it is less. In pairs, which keeps the chain of comparisons
    // short.
    const auto keep = [&](Floats a, Floats b, Floats cc, Floats d, Floats e, Floats f,
                          uint32_t column) {
        Numbers na = all_numbers(first), nc = all_numbers(first + 2), ne = all_numbers(first + 4);
        keep_less(b, all_numbers(first + 1), a, na);
        keep_less(d, all_numbers(first + 3), cc, nc);
        keep_less(f, all_numbers(first + 5), e, ne);
        keep_less(cc, nc, a, na);
        keep_less(e, ne, a, na);
        Floats least = load_floats(best + column);
        Numbers least_number = load_numbers(number + column);
        keep_less(a, na, least, least_number);
        store_floats(best + column, least);
        store_numbers(number + column, least_number);
    };
    keep(a0, b0, c0, d0, e0, f0, 0);
    keep(a1, b1, c1, d1, e1, f1, kFloats);
}

void nearest_rows(const float* rows, size_t n, size_t stride, size_t dim, const float* packed,
                  size_t k, float* workspace, uint32_t* out) {
    const size_t at_once = wide_rows(dim);
    float* const best = workspace + at_once * dim;
    uint32_t* const number = reinterpret_cast<uint32_t*>(best + at_once);
    for (size_t done = 0; done < n; done += at_once) {
        const size_t here = n - done < at_once ? n - done : at_once;
        for (size_t i = 0; i < here; i += kWideRows) {
            pack_wide(rows + (done + i) * stride,
                      here - i < kWideRows ? here - i : size_t(kWideRows), stride, dim,
                      workspace + i * dim);
            for (uint32_t v = 0; v < kWideRows; v += kFloats) {
                store_floats(best + i + v, all_floats(&kWorstScore));
                store_numbers(number + i + v, all_numbers(0));
            }
        }
        const float* panel = packed;
        for (size_t c = 0; c < k; c += kPanelCentroids, panel += kPanelCentroids * (dim + 1)) {
            for (size_t i = 0; i < here; i += kWideRows) {
                nearest_of_6(panel, workspace + i * dim, dim, uint32_t(c), best + i, number + i);
            }
        }
        std::memcpy(out + done, number, here * sizeof(uint32_t));
    }
}
