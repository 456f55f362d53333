// The nearest of k centroids on x86-64: kPanelCentroids centroids by two vectors of rows, both
// packed, as in dense_tile_x86.inl. The products are compared where they are summed, in registers.

enum : uint32_t {
    kWideRows = 2 * kFloats,
    kMostWideRows = 512,
    kWideBytes = 256 << 10,     // of rows packed at a time: they stay in L2 under all centroids
    kShortWideBytes = 8 << 10,  // of short rows: in L1, beside what is kept of each
    kShortDim = 64,
};

constexpr float kWorstScore = 3.4e38f;  // of finite centroids and rows, no score is as bad

// A panel: their |c|^2 / 2, then [dim][kPanelCentroids] values. One that isn't full is filled up
// with centroids that are never nearest.
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
// keeps the better. Compilers keep the arrays in registers, as each index is a constant once the
// loops are unrolled (look at the assembly after changes here).
NEARBIT_HOT void nearest_of_panel(const float* c, const float* x, size_t dim, uint32_t first,
                                  float* best, uint32_t* number) {
    Floats low[kPanelCentroids], high[kPanelCentroids];
    for (uint32_t i = 0; i < kPanelCentroids; ++i) low[i] = high[i] = all_floats(c + i);
    c += kPanelCentroids;
    for (size_t j = 0; j < dim; ++j, c += kPanelCentroids, x += kWideRows) {
        const Floats x0 = load_floats(x), x1 = load_floats(x + kFloats);
        for (uint32_t i = 0; i < kPanelCentroids; ++i) {
            const Floats y = all_floats(c + i);
            low[i] = subtract_product(y, x0, low[i]);
            high[i] = subtract_product(y, x1, high[i]);
        }
    }
    const auto keep = [&](Floats(&s)[kPanelCentroids], uint32_t column) {
        Floats least = load_floats(best + column);
        Numbers least_number = load_numbers(number + column);
        for (uint32_t i = 0; i < kPanelCentroids; i += 2) {
            Numbers n = all_numbers(first + i);
            keep_less(s[i + 1], all_numbers(first + i + 1), s[i], n);
            keep_less(s[i], n, least, least_number);
        }
        store_floats(best + column, least);
        store_numbers(number + column, least_number);
    };
    keep(low, 0);
    keep(high, kFloats);
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
                nearest_of_panel(panel, workspace + i * dim, dim, uint32_t(c), best + i,
                                 number + i);
            }
        }
        std::memcpy(out + done, number, here * sizeof(uint32_t));
    }
}
