#include "layouts/flat.h"

#include "base/bits.h"
#include "base/prefetch.h"

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

Flat::Flat(std::shared_ptr<const Codec> codec, bool grouped)
    : codec_(std::move(codec)),
      lanes_(grouped ? kGroupLanes : 1),
      codes_(lanes_ * codec_->code_bytes(), chunk_items(codec_->code_bytes()) / lanes_),
      factors_(codec_->has_factors() ? sizeof(float) : 0, chunk_items(codec_->code_bytes())) {}

void Flat::adopt(Room room) {
    codes_.adopt(std::move(room.codes));
    factors_.adopt(std::move(room.factors));
}

float Flat::encode(size_t first, const std::byte* rows, size_t n, const char* argument,
                   size_t first_row) {
    float stretch = 0;
    const size_t row_bytes = codec_->input_bytes(), code_bytes = codec_->code_bytes();
    if (!grouped()) {
        codes_.for_each_piece(first, first + n, [&](size_t at, size_t m, std::byte* codes) {
            stretch = std::max(stretch, codec_->encode(rows + (at - first) * row_bytes, m, codes,
                                                       const_cast<float*>(factor(at)), argument,
                                                       first_row + (at - first)));
        });
        return stretch;
    }
    Memory codes(std::min(n, kGroupLanes) * code_bytes);
    for (size_t begin = 0, m; begin < n; begin += m) {
        const size_t slot = first + begin, lane = slot % kGroupLanes;
        m = std::min(kGroupLanes - lane, n - begin);
        stretch = std::max(stretch, codec_->encode(rows + begin * row_bytes, m, codes.data(),
                                                   nullptr, argument, first_row + begin));
        put_lanes(reinterpret_cast<uint8_t*>(codes_.at(slot / kGroupLanes)), code_bytes, lane, m,
                  reinterpret_cast<const uint8_t*>(codes.data()));
    }
    return stretch;
}

void Flat::put(size_t slot, const std::byte* code, const float* factor) {
    if (grouped()) {
        put_lane(reinterpret_cast<uint8_t*>(codes_.at(slot / kGroupLanes)), codec_->code_bytes(),
                 slot % kGroupLanes, reinterpret_cast<const uint8_t*>(code));
        return;
    }
    std::memcpy(codes_.at(slot), code, codec_->code_bytes());
    if (factor != nullptr) std::memcpy(factors_.at(slot), factor, sizeof(float));
}

const std::byte* Flat::code(size_t slot, std::byte* scratch) const {
    if (!grouped()) return codes_.at(slot);
    take_lane(reinterpret_cast<const uint8_t*>(codes_.at(slot / kGroupLanes)), codec_->code_bytes(),
              slot % kGroupLanes, reinterpret_cast<uint8_t*>(scratch));
    return scratch;
}

void Flat::decode(size_t slot, std::byte* row) const {
    Memory scratch(grouped() ? codec_->code_bytes() : 0);
    codec_->decode(code(slot, scratch.data()), 1, row);
}

bool Flat::beyond_sample(size_t slot) const {
    if (!grouped()) return codec_->beyond_sample(codes_.at(slot));
    std::byte first[Codec::kMostFactorBytes] = {};
    take_lane(reinterpret_cast<const uint8_t*>(codes_.at(slot / kGroupLanes)),
              std::min(codec_->code_bytes(), sizeof(first)), slot % kGroupLanes,
              reinterpret_cast<uint8_t*>(first));
    return codec_->beyond_sample(first);
}

void Flat::prefetch(const uint32_t* slots, size_t n) const {
    constexpr size_t kMost = 1024;  // prefetchers take over where rows are longer
    const size_t n_bytes = std::min(codes_.item_bytes(), kMost);
    for (size_t i = 0; i < n; ++i) {
        nearbit::prefetch(codes_.at(slots[i]), n_bytes);
        if (factors_.item_bytes() != 0) nearbit::prefetch(factors_.at(slots[i]), sizeof(float));
    }
}

void Flat::distances(const Scorer& scorer, size_t query, const uint32_t* slots, size_t n,
                     double* out) const {
    constexpr size_t kTogether = kSinglesTogether;
    const uint8_t* codes[kTogether];
    float factors[kTogether];
    for (size_t begin = 0, m; begin < n; begin += m) {
        m = std::min(kTogether, n - begin);
        for (size_t i = 0; i < m; ++i) {
            codes[i] = reinterpret_cast<const uint8_t*>(codes_.at(slots[begin + i]));
            if (factors_.item_bytes() != 0) factors[i] = *factor(slots[begin + i]);
        }
        scorer.distances(query, codes, factors, m, out + begin);
    }
}

template <class Visit>
void Flat::for_each_block(size_t begin, size_t end, Visit visit) const {
    const size_t first_item = begin / lanes_;
    codes_.for_each_piece(first_item, n_items(end), [&](size_t at, size_t n, auto* codes) {
        const size_t first = at * lanes_;
        visit(Block{.codes = codes,
                    .factors = factor(first),
                    .admit = nullptr,
                    .slots = nullptr,
                    .first_slot = uint32_t(first),
                    .n = uint32_t(std::min(n * lanes_, end - first)),
                    .grouped = grouped()});
    });
}

void Flat::search(const Scorer& scorer, bool many_queries, size_t begin, size_t end,
                  const Admitted& admitted, Collector* const* collectors, Memory& scratch) const {
    const double row_bytes = double(codec_->code_bytes());
    // Many queries are bound by arithmetic, wherever the rows are.
    const bool from_memory = !many_queries && double(admitted.of) * row_bytes > kCacheBytes;
    // A scan of groups passes over those in which no row is admitted by itself.
    const bool alone = !grouped() && lone_rows_pay(row_bytes, admitted, from_memory);
    for_each_block(begin, end, [&](Block piece) {
        piece.admit = admitted.words == nullptr ? nullptr : admitted.words + piece.first_slot / 64;
        // Nearly every group of 32 then has a row to score.
        piece.from_memory = from_memory && admitted.count > admitted.of / 16;
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
