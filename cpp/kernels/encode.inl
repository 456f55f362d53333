// Rows to codes, in the words of lanes_*.inl.
namespace encode {

double dot(const float* x, const float* y, size_t n) {
    lanes::Doubles sums = lanes::zeros();
    size_t j = 0;
    for (; j + 16 <= n; j += 16) lanes::add_products(sums, lanes::load(x + j), lanes::load(y + j));
    double sum = lanes::sum(sums);
    for (; j < n; ++j) sum += double(x[j]) * double(y[j]);
    return sum;
}

double centre(float* x, float scale, const float* mean, size_t n) {
    lanes::Doubles sums = lanes::zeros();
    size_t j = 0;
    for (; j + 16 <= n; j += 16) {
        const lanes::Floats scaled = lanes::multiply(lanes::load(x + j), lanes::fill(scale));
        const lanes::Floats off = lanes::subtract(scaled, lanes::load(mean + j));
        lanes::store(x + j, off);
        lanes::add_products(sums, off, off);
    }
    double sum = lanes::sum(sums);
    for (; j < n; ++j) {
        const float scaled = x[j] * scale;
        x[j] = scaled - mean[j];
        sum += double(x[j]) * double(x[j]);
    }
    return sum;
}

// |r_j| in steps, times as many.
inline lanes::Floats in_steps(const DirectionGrid& grid, const float* r, size_t j,
                              lanes::Floats times) {
    const lanes::Floats size = lanes::magnitude(lanes::load(r + j));
    return lanes::multiply(lanes::multiply(size, lanes::load(grid.per_step + j)), times);
}

// Which of the grid's multiples of the steps, or rather 1 over it, gives the best cosine.
float best_inverse(const DirectionGrid& grid, const float* r) {
    lanes::Doubles squares = lanes::zeros();
    for (size_t j = 0; j < grid.n; j += 16) {
        const lanes::Floats spread =
            lanes::multiply(lanes::load(r + j), lanes::load(grid.spreads + j));
        lanes::add_products(squares, spread, spread);
    }
    const double mean = lanes::sum(squares) / double(grid.dim);
    const double inverse_deviation = mean > 0 ? 1 / sqrt(mean) : 0;
    float best = 0;
    double best_row = 0, best_self = 0;
    for (uint32_t f = 0; f < grid.n_inverses; ++f) {
        const float inverse = float(double(grid.inverses[f]) * inverse_deviation);
        const lanes::Floats times = lanes::fill(inverse), half = lanes::fill(0.5f);
        lanes::Floats with_row = lanes::fill(0), with_self = with_row;
        for (size_t j = 0; j < grid.n; j += 16) {
            const lanes::Floats at =
                lanes::least(in_steps(grid, r, j, times), lanes::load(grid.most + j));
            const lanes::Floats k = lanes::add(lanes::truncate(at), half);
            const lanes::Floats y = lanes::multiply(k, lanes::load(grid.steps + j));
            const lanes::Floats size = lanes::magnitude(lanes::load(r + j));
            with_row = lanes::add(with_row, lanes::multiply(y, size));
            with_self = lanes::add(with_self, lanes::multiply(y, y));
        }
        const double row = double(lanes::sum(with_row)), self = double(lanes::sum(with_self));
        if (f != 0 && !(row * row * best_self > best_row * best_row * self)) continue;
        best = inverse;
        best_row = row;
        best_self = self;
    }
    return best;
}

void round_direction(const DirectionGrid& grid, const float* r, uint8_t* numbers, float* y) {
    const float inverse = grid.n_inverses == 0 ? 0 : best_inverse(grid, r);
    const lanes::Floats times = lanes::fill(inverse), half = lanes::fill(0.5f);
    for (size_t j = 0; j < grid.n; j += 16) {
        const lanes::Floats most = lanes::load(grid.most + j);
        const lanes::Floats at = lanes::least(in_steps(grid, r, j, times), most);
        const lanes::Floats k = lanes::add(lanes::truncate(at), half);
        const lanes::Floats value = lanes::with_sign(k, lanes::load(r + j));
        const lanes::Floats number = lanes::add(value, most);
        lanes::store_bytes(numbers + j, lanes::multiply(number, lanes::load(grid.units + j)));
        lanes::store(y + j, lanes::multiply(value, lanes::load(grid.steps + j)));
    }
}

void pack_planes(const uint8_t* numbers, const uint32_t* n_bytes, uint32_t levels, uint8_t* out) {
    for (uint32_t l = 0; l < levels; ++l) {
        size_t left = n_bytes[l];
        for (const uint8_t* from = numbers; left != 0; from += 64) {
            const uint64_t bits = lanes::bits_of(from, levels - 1 - l);
            if (left >= 8) {  // a single store, to compilers
                for (size_t b = 0; b < 8; ++b) out[b] = uint8_t(bits >> (8 * b));
                out += 8;
                left -= 8;
                continue;
            }
            for (; left != 0; --left, ++out) *out = uint8_t(bits >> (8 * (n_bytes[l] % 8 - left)));
        }
    }
}

}  // namespace encode

constexpr EncodeKernels encode_kernels = {encode::dot, encode::centre, encode::round_direction,
                                          encode::pack_planes};
