// All pairs of rows on x86-64, in the panels of nearest_x86.inl.

size_t pair_workspace(size_t nq, size_t dim) {
    const size_t packed = (nq + kPanelCentroids - 1) / kPanelCentroids * kPanelCentroids * dim;
    return wide_rows(dim) * dim + packed + size_t(2 * kPanelCentroids) * kWideRows;
}

// Compilers keep the arrays in registers, as in nearest_of_panel.
NEARBIT_HOT void products_of_panel(const float* q, const float* x, size_t dim, float* out,
                                   size_t stride) {
    Floats low[kPanelCentroids], high[kPanelCentroids];
    const float zero = 0;
    for (uint32_t i = 0; i < kPanelCentroids; ++i) low[i] = high[i] = all_floats(&zero);
    for (size_t k = 0; k < dim; ++k, q += kPanelCentroids, x += kWideRows) {
        const Floats x0 = load_floats(x), x1 = load_floats(x + kFloats);
        for (uint32_t i = 0; i < kPanelCentroids; ++i) {
            const Floats y = all_floats(q + i);
            low[i] = subtract_product(y, x0, low[i]);
            high[i] = subtract_product(y, x1, high[i]);
        }
    }
    for (uint32_t i = 0; i < kPanelCentroids; ++i) {
        store_floats(out + i * stride, low[i]);
        store_floats(out + i * stride + kFloats, high[i]);
    }
}

void pair_products(const float* queries, size_t nq, const float* rows, size_t n, size_t dim,
                   float* workspace, float* out, size_t stride) {
    const size_t at_once = wide_rows(dim);
    float* const products = workspace + at_once * dim;  // of a panel
    float* const packed = products + size_t(kPanelCentroids) * kWideRows;
    for (size_t first = 0; first < nq; first += kPanelCentroids) {
        float* to = packed + first * dim;
        for (size_t k = 0; k < dim; ++k) {
            for (size_t i = first; i < first + kPanelCentroids; ++i) {
                *to++ = i < nq ? queries[i * dim + k] : 0.0f;
            }
        }
    }
    for (size_t done = 0; done < n; done += at_once) {
        const size_t here = n - done < at_once ? n - done : at_once;
        for (size_t j = 0; j < here; j += kWideRows) {
            pack_wide(rows + (done + j) * dim, here - j < kWideRows ? here - j : size_t(kWideRows),
                      dim, dim, workspace + j * dim);
        }
        for (size_t i = 0; i < nq; i += kPanelCentroids) {
            const size_t n_queries = nq - i < kPanelCentroids ? nq - i : size_t(kPanelCentroids);
            for (size_t j = 0; j < here; j += kWideRows) {
                products_of_panel(packed + i * dim, workspace + j * dim, dim, products, kWideRows);
                const size_t n_rows = here - j < kWideRows ? here - j : size_t(kWideRows);
                for (size_t k = 0; k < n_queries; ++k) {
                    std::memcpy(out + (i + k) * stride + done + j, products + k * kWideRows,
                                n_rows * sizeof(float));
                }
            }
        }
    }
}

uint32_t pair_cover(const float* distances, const float* limits, float* left, size_t n) {
    const float none = HUGE_VALF;
    const Floats infinite = all_floats(&none);
    Floats least = infinite;
    Numbers least_at = all_numbers(0);
    for (size_t j = 0; j < n; j += kFloats) {
        Floats now = load_floats(left + j);
        now = where_at_most(load_floats(distances + j), load_floats(limits + j), infinite, now);
        store_floats(left + j, now);
        keep_less(now, all_numbers(uint32_t(j)), least, least_at);
    }
    alignas(64) float value[kFloats];
    alignas(64) uint32_t at[kFloats];
    store_floats(value, least);
    store_numbers(at, least_at);
    uint32_t best = 0;
    for (uint32_t i = 1; i < kFloats; ++i) {
        if (value[i] < value[best] || (value[i] == value[best] && at[i] < at[best])) best = i;
    }
    return at[best] + best;
}
