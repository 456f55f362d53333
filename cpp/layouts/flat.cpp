#include "layouts/flat.h"

#include "base/bits.h"

namespace nearbit {
namespace {

constexpr double kCacheBytes = 16 << 20;  // of the last cache, for one index

// Whether rows are scored one by one where they are admitted, instead of all in turn with the
// others left out. Against a sequential scan, a lone row costs about three times its bytes and the
// latency of the first from memory, and little but its bookkeeping in the cache; the constants err
// on the side of the scan, which takes about as long as without a filter (Zen 4: rows of 32 to
// 3136 bytes, bench/exact.py --only filter).
bool lone_rows_pay(double row_bytes, const Admitted& admitted, bool from_memory) {
    if (admitted.words == nullptr) return false;
    const double lone_bytes = from_memory ? 5 * row_bytes + 200 : row_bytes + 128;
    return double(admitted.count) * lone_bytes < double(admitted.of) * row_bytes;
}

}  // namespace

Flat::Flat(std::shared_ptr<const Codec> codec)
    : codec_(std::move(codec)),
      codes_(codec_->code_bytes(), chunk_items(codec_->code_bytes())),
      factors_(codec_->has_factors() ? sizeof(float) : 0, codes_.per_chunk()) {}

void Flat::adopt(Room room) {
    codes_.adopt(std::move(room.codes));
    factors_.adopt(std::move(room.factors));
}

void Flat::encode(size_t first, const std::byte* rows, size_t n, const char* argument,
                  size_t first_row) {
    codes_.for_each_piece(first, first + n, [&](size_t at, size_t m, std::byte* codes) {
        codec_->encode(rows + (at - first) * codec_->input_bytes(), m, codes,
                       const_cast<float*>(factor(at)), argument, first_row + (at - first));
    });
}

void Flat::put(size_t slot, const std::byte* code, const float* factor) {
    std::memcpy(codes_.at(slot), code, codec_->code_bytes());
    if (factor != nullptr) std::memcpy(factors_.at(slot), factor, sizeof(float));
}

Block Flat::block(size_t first, size_t n) const {
    return {.codes = codes_.at(first),
            .factors = factor(first),
            .admit = nullptr,
            .slots = nullptr,
            .first_slot = uint32_t(first),
            .n = uint32_t(n)};
}

void Flat::search(const Scorer& scorer, bool many_queries, size_t begin, size_t end,
                  const Admitted& admitted, Collector* const* collectors, Memory& scratch) const {
    const double row_bytes = double(codec_->code_bytes());
    // Many queries are bound by arithmetic, wherever the rows are.
    const bool from_memory = !many_queries && double(admitted.of) * row_bytes > kCacheBytes;
    const bool alone = lone_rows_pay(row_bytes, admitted, from_memory);
    codes_.for_each_piece(begin, end, [&](size_t first, size_t n, const std::byte*) {
        Block piece = block(first, n);
        piece.admit = admitted.words == nullptr ? nullptr : admitted.words + first / 64;
        if (!alone) {
            scorer.scan(piece, collectors, scratch);
        } else if (many_queries) {
            search_packed(scorer, piece, collectors, scratch);
        } else {
            search_chosen(scorer, piece, collectors);
        }
    });
}

// One query: score the admitted rows where they are.
void Flat::search_chosen(const Scorer& scorer, const Block& block,
                         Collector* const* collectors) const {
    constexpr size_t kAtOnce = 256;
    uint32_t rows[kAtOnce];
    size_t n = 0;
    for_each_bit(block.admit, 0, block.n, [&](size_t row) {
        rows[n++] = uint32_t(row);
        if (n < kAtOnce) return;
        scorer.gather(block, rows, n, collectors);
        n = 0;
    });
    if (n != 0) scorer.gather(block, rows, n, collectors);
}

// Many queries: copy the admitted rows together and score the copy as a block of its own.
void Flat::search_packed(const Scorer& scorer, const Block& block, Collector* const* collectors,
                         Memory& scratch) const {
    const size_t code_bytes = codec_->code_bytes();
    const size_t at_once = std::max<size_t>(64, (size_t(256) << 10) / code_bytes);
    Memory codes(at_once * code_bytes);
    std::vector<float> factors(at_once);
    std::vector<uint32_t> slots(at_once);
    Block packed = {.codes = codes.data(),
                    .factors = block.factors != nullptr ? factors.data() : nullptr,
                    .admit = nullptr,
                    .slots = slots.data(),
                    .first_slot = 0,
                    .n = 0};
    const auto score = [&] {
        if (packed.n != 0) scorer.scan(packed, collectors, scratch);
        packed.n = 0;
    };
    for_each_bit(block.admit, 0, block.n, [&](size_t row) {
        std::memcpy(codes.data() + packed.n * code_bytes, block.codes + row * code_bytes,
                    code_bytes);
        if (block.factors != nullptr) factors[packed.n] = block.factors[row];
        slots[packed.n] = block.slot(uint32_t(row));
        if (++packed.n == at_once) score();
    });
    score();
}

}  // namespace nearbit
