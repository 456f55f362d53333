// Compact codes with vectors of 32 items.
namespace codes {

// Eight factors as floats.
inline __m256 decode_eight(const SmallFloat& kind, __m256i code) {
    const __m256i zero = _mm256_cmpeq_epi32(code, _mm256_setzero_si256());
    const __m256i bits =
        _mm256_add_epi32(_mm256_mullo_epi32(code, _mm256_set1_epi32(int32_t(kind.step))),
                         _mm256_set1_epi32(int32_t(kind.base - kind.step)));
    return _mm256_castsi256_ps(_mm256_andnot_si256(zero, bits));
}

inline __m256i load_eight(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}

inline void decode_factor(const SmallFloat& kind, uint32_t n_bytes, float of_none,
                          const uint8_t* rows, float* out) {
    for (uint32_t i = 0; i < kLanes; i += 8) {
        __m256 value = _mm256_set1_ps(of_none);
        if (n_bytes == 1) {
            value = decode_eight(kind, load_eight(rows + i));
        } else if (n_bytes == 2) {
            const __m256i high = _mm256_slli_epi32(load_eight(rows + kLanes + i), 8);
            value = decode_eight(kind, _mm256_or_si256(load_eight(rows + i), high));
        }
        _mm256_storeu_ps(out + i, value);
    }
}

// A group's factors, decoded.
struct GroupFactors {
    alignas(32) float scale[kLanes], norm[kLanes];

    const GroupFactors& get() const { return *this; }
    void decode(const CodeFactors& kinds, const uint8_t* group) {
        decode_factor(kinds.scale, kinds.scale_bytes, 1.0f, group, scale);
        decode_factor(kinds.norm, kinds.norm_bytes, 0.0f,
                      group + size_t(kLanes) * kinds.scale_bytes, norm);
    }
};

// No norm is negative: so if even 0 is above the bound, the largest scale that there can be tells
// what a sum must come to. It is told in 16 bits, before any factor is looked at; one less than it
// is, as the arithmetic is rounded.
inline uint16_t least_sum(const CodeFactors& kinds, float gain, float offset, float bound) {
    double scale = 1;
    if (kinds.scale_bytes != 0) {
        const uint64_t most = kinds.scale_bytes == 1 ? 0xff : 0xffff;
        const uint64_t bits = kinds.scale.base + (most - 1) * kinds.scale.step;
        if (bits >= 0x7f800000) return 0;
        const uint32_t low = uint32_t(bits);
        float largest;
        memcpy(&largest, &low, sizeof largest);
        scale = largest;
    }
    if (!(bound < 0) || !(gain > 0) || !(scale > 0)) return 0;
    const double least = (-double(bound) / scale * 0.999999 - double(offset)) / double(gain);
    const double safe = least - 1 - 1e-6 * (least < 0 ? -least : least);
    return !(safe > 0) ? 0 : safe < 65535 ? uint16_t(safe) : 65535;
}

// A query's part in the test of a row.
struct Terms {
    float gain, offset;
    const float* bound;
    uint32_t number;
    float rest;
    float bound_now;
    uint16_t least;

    void read_bound(const CodeFactors& kinds) {
        bound_now = *bound;
        least = least_sum(kinds, gain, offset, bound_now);
    }
};

// A group's sums as floats, in the items' order.
struct Totals {
    __m256 eight[4];

    static Totals of(const Sums& sums) {
        const __m256i a = _mm256_unpacklo_epi16(sums.even, sums.odd);
        const __m256i b = _mm256_unpackhi_epi16(sums.even, sums.odd);
        return {{to_floats(_mm256_castsi256_si128(a)), to_floats(_mm256_castsi256_si128(b)),
                 to_floats(_mm256_extracti128_si256(a, 1)),
                 to_floats(_mm256_extracti128_si256(b, 1))}};
    }
    static Totals none() {
        const __m256 zero = _mm256_setzero_ps();
        return {{zero, zero, zero, zero}};
    }
    static __m256 to_floats(__m128i x) { return _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(x)); }

    void add(const Sums& sums, float weight) {
        const Totals more = of(sums);
        for (int i = 0; i < 4; ++i) {
            eight[i] = _mm256_fmadd_ps(_mm256_set1_ps(weight), more.eight[i], eight[i]);
        }
    }
};

NEARBIT_HOT uint32_t lanes_within(const Totals& totals, float offset, const GroupFactors& factors,
                                  const Terms& terms) {
    uint32_t within = 0;
    for (uint32_t i = 0; i < 4; ++i) {
        const __m256 x =
            _mm256_fmadd_ps(_mm256_set1_ps(terms.gain), totals.eight[i], _mm256_set1_ps(offset));
        const __m256 d = _mm256_fnmadd_ps(_mm256_load_ps(factors.scale + 8 * i), x,
                                          _mm256_load_ps(factors.norm + 8 * i));
        const __m256 below = _mm256_cmp_ps(d, _mm256_set1_ps(terms.bound_now), _CMP_LE_OQ);
        within |= uint32_t(_mm256_movemask_ps(below)) << (8 * i);
    }
    return within;
}

// Reports the items of `within` that are still within a bound that has fallen meanwhile.
inline void report_some(uint32_t within, const Totals& totals, float offset,
                        const GroupFactors& factors, const CodesBlock& block, uint32_t group,
                        Terms& terms, Sink* sink) {
    if (make_room(sink)) {
        terms.read_bound(block.factors);
        within &= lanes_within(totals, offset, factors, terms);
    }
    for (within &= lanes_of(block, group); within != 0; within &= within - 1) {
        report(sink, terms.number, group * kLanes + uint32_t(_tzcnt_u32(within)), 0.0f);
    }
}

// Reports the items of a group that are within the bound.
NEARBIT_HOT void judge(const Totals& totals, const GroupFactors& factors, const CodesBlock& block,
                       uint32_t group, Terms& terms, Sink* sink) {
    const uint32_t within = lanes_within(totals, terms.offset, factors, terms);
    if (within != 0) {
        report_some(within, totals, terms.offset, factors, block, group, terms, sink);
    }
}

// The factors of the group that a scan is at, decoded when they are asked for.
struct LazyFactors {
    const CodesBlock& block;
    uint32_t group;
    GroupFactors room;

    const GroupFactors& get() {
        room.decode(block.factors, group_at(block, group));
        return room;
    }
};

// Where the summed bytes lie, and where candidates go.
struct Place {
    const CodesBlock& block;
    size_t payload;  // bytes of a group before them
    size_t n_bytes;
    Sink* sink;

    Place(const CodesBlock& block_, size_t n_bytes_, size_t first_byte, Sink* sink_)
        : block(block_),
          payload(kLanes * (factor_bytes(block_.factors) + first_byte)),
          n_bytes(n_bytes_),
          sink(sink_) {}
};

// Calls on_group(group) for the groups that have an item to be reported, strictly in order: four at
// a time, for fewer loads of tables, take 3 to 4 times as long from memory and 1.1 to 1.4 times in
// L3 (Zen 4).
template <class OnGroup>
inline void scan_groups(const CodesBlock& block, const OnGroup& on_group) {
    for (uint32_t group = 0; group < groups_of(block); ++group) {
        if (lanes_of(block, group) != 0) on_group(group);
    }
}

// The groups of a tile's piece, which stays in L2 while all queries go over it.
struct Piece {
    static constexpr uint32_t kMost = 64;
    uint32_t n;
    uint32_t groups[kMost];
    GroupFactors factors[kMost];

    // The i-th group's factors. The first query decodes them as it comes to them, so as to read
    // from memory in order.
    const GroupFactors& factors_at(uint32_t i, const CodesBlock& block, bool first) {
        if (first) factors[i].decode(block.factors, group_at(block, groups[i]));
        return factors[i];
    }
};

template <class OnPiece>
inline void tile_pieces(const CodesBlock& block, const OnPiece& on_piece) {
    constexpr size_t kBytes = 128 << 10;
    const size_t fitting = kBytes / (kLanes * block.code_bytes);
    const uint32_t most = fitting < 1              ? 1
                          : fitting < Piece::kMost ? uint32_t(fitting)
                                                   : Piece::kMost;
    Piece piece;
    piece.n = 0;
    scan_groups(block, [&](uint32_t group) {
        piece.groups[piece.n++] = group;
        if (piece.n < most) return;
        on_piece(piece);
        piece.n = 0;
    });
    if (piece.n != 0) on_piece(piece);
}

// ------------------------------------------------------------------------------------- nibbles

constexpr size_t kFullBytes = 128;  // whose 256 look-ups of 255 fit in 16 bits

// The sums of Q queries over n_bytes <= kFullBytes bytes of a group. A byte of 32 small codes is 9
// operations, 3 of them shared by the queries.
template <int Q>
NEARBIT_HOT void add_nibbles(const uint8_t* const* tables, const uint8_t* payload, size_t n_bytes,
                             Sums (&out)[Q]) {
    const __m256i half = _mm256_set1_epi8(0x0f);
    __m256i all[Q], odd[Q];
    const uint8_t* from[Q];
    for (int q = 0; q < Q; ++q) {
        all[q] = odd[q] = _mm256_setzero_si256();
        from[q] = tables[q];
    }
    for (size_t at = 0; at < 32 * n_bytes; at += 32) {
        const __m256i codes = _mm256_load_si256(reinterpret_cast<const __m256i*>(payload + at));
        const __m256i low = _mm256_and_si256(codes, half);
        const __m256i high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), half);
        for (int q = 0; q < Q; ++q) {
            const __m128i* table = reinterpret_cast<const __m128i*>(from[q] + at);
            const __m256i of_low = _mm256_broadcastsi128_si256(_mm_loadu_si128(table));
            const __m256i of_high = _mm256_broadcastsi128_si256(_mm_loadu_si128(table + 1));
            const __m256i a = _mm256_shuffle_epi8(of_low, low);
            const __m256i b = _mm256_shuffle_epi8(of_high, high);
            all[q] = _mm256_add_epi16(all[q], _mm256_add_epi16(a, b));
            odd[q] = _mm256_add_epi16(
                odd[q], _mm256_add_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8)));
        }
    }
#if defined(__GNUC__)
    // Else GCC 12 makes a loop that is 1.1 times as long for one query, and 1.3 times for four with
    // AVX2, one sum being on the stack. For eight it is the other way about (1.1).
    for (int q = 0; Q <= 4 && q < Q; ++q) asm volatile("" : "+v"(all[q]), "+v"(odd[q]));
#endif
    for (int q = 0; q < Q; ++q) out[q] = Sums::of(all[q], odd[q]);
}

// Adds the sums of bytes begin..end-1 of a plane, so many times, to the totals of Q queries.
template <int Q>
NEARBIT_HOT void add_bytes(const uint8_t* const* tables, const uint8_t* plane, size_t begin,
                           size_t end, const float (&weights)[Q], Totals (&totals)[Q]) {
    const uint8_t* from[Q];
    Sums sums[Q];
    while (begin < end) {
        const size_t n = end - begin < kFullBytes ? end - begin : kFullBytes;
        for (int q = 0; q < Q; ++q) from[q] = tables[q] + 32 * begin;
        add_nibbles<Q>(from, plane + kLanes * begin, n, sums);
        for (int q = 0; q < Q; ++q) totals[q].add(sums[q], weights[q]);
        begin += n;
    }
}

template <int Q, class Factors>
NEARBIT_HOT void nibbles_group(const Place& place, const FinerPlanes& finer,
                               const uint8_t* const* tables, Terms (&terms)[Q], uint32_t group,
                               Factors&& factors) {
    const uint8_t* payload = group_at(place.block, group) + place.payload;
    if (finer.n == 0 && place.n_bytes <= kFullBytes) {
        Sums sums[Q];
        add_nibbles<Q>(tables, payload, place.n_bytes, sums);
        for (int q = 0; q < Q; ++q) {
            if (!sums[q].any_from(terms[q].least)) continue;
            judge(Totals::of(sums[q]), factors.get(), place.block, group, terms[q], place.sink);
        }
        return;
    }
    Totals totals[Q];
    for (Totals& of_query : totals) of_query = Totals::none();
    size_t n_bytes = place.n_bytes;
    float weights[Q], rests[Q];
    for (int q = 0; q < Q; ++q) {
        weights[q] = 1;
        rests[q] = terms[q].rest;
    }
    for (uint32_t l = 0;; ++l) {
        const size_t first = bytes_before_split(finer, n_bytes);
        add_bytes<Q>(tables, payload, 0, first, weights, totals);
        add_bytes<Q>(tables, payload, first, n_bytes, rests, totals);
        if (l == finer.n) break;
        payload += kLanes * n_bytes;
        n_bytes = finer.n_bytes[l];
        for (int q = 0; q < Q; ++q) {
            weights[q] /= 2;
            rests[q] /= 2;
        }
    }
    for (int q = 0; q < Q; ++q) {
        judge(totals[q], factors.get(), place.block, group, terms[q], place.sink);
    }
}

void nibble_scan(const NibbleQuery& query, const CodesBlock& block, const float* bound,
                 Sink* sink) {
    const Place place(block, query.n_bytes, query.first_byte, sink);
    const uint8_t* const tables[1] = {query.tables};
    Terms terms[1] = {{query.gain, query.offset, bound, 0, query.rest, 0, 0}};
    terms[0].read_bound(block.factors);
    LazyFactors factors = {block, 0, {}};
    scan_groups(block, [&](uint32_t group) {
        factors.group = group;
        nibbles_group<1>(place, query.finer, tables, terms, group, factors);
    });
}

// Queries from q on, as many at once as go into Q, the rest with fewer.
template <int Q>
void nibbles_piece(const Place& place, const NibbleTile& tile, uint32_t& q, Piece& piece) {
    for (; q + Q <= tile.nq; q += Q) {
        const uint8_t* tables[Q];
        Terms terms[Q];
        for (uint32_t i = 0; i < Q; ++i) {
            tables[i] = tile.tables + (q + i) * tile.stride;
            const float rest = tile.finer.split != 0 ? tile.rest[q + i] : 0;
            terms[i] = {
                tile.gain[q + i], tile.offset[q + i], tile.bound + q + i, q + i, rest, 0, 0};
            terms[i].read_bound(place.block.factors);
        }
        for (uint32_t i = 0; i < piece.n; ++i) {
            nibbles_group<Q>(place, tile.finer, tables, terms, piece.groups[i],
                             piece.factors_at(i, place.block, q == 0));
        }
    }
}

void nibble_tile(const NibbleTile& tile, const CodesBlock& block, Sink* sink) {
    const Place place(block, tile.n_bytes, tile.first_byte, sink);
    tile_pieces(block, [&](Piece& piece) {
        uint32_t q = 0;
        if constexpr (kTileQueries > 4) nibbles_piece<kTileQueries>(place, tile, q, piece);
        nibbles_piece<4>(place, tile, q, piece);
        nibbles_piece<2>(place, tile, q, piece);
        nibbles_piece<1>(place, tile, q, piece);
    });
}

// ------------------------------------------------------------------------------------- bytes

constexpr size_t kFullLooks = 256;  // of which each is 255 at most: they fit in 16 bits

// Groups that are summed together, so that each table is loaded once for all.
struct Together {
    uint32_t n, groups[kByteGroups];
};

// One query on some groups. factors_of(i): the factors of the i-th of them.
template <class FactorsOf>
NEARBIT_HOT void bytes_groups(const Place& place, const uint8_t* tables, Terms& terms,
                              const Together& some, const FactorsOf& factors_of) {
    const uint8_t* payloads[kByteGroups];
    for (uint32_t i = 0; i < kByteGroups; ++i) {
        const uint32_t group = some.groups[i < some.n ? i : 0];
        payloads[i] = group_at(place.block, group) + place.payload;
    }
    Sums sums[kByteGroups];
    if (place.n_bytes <= kFullLooks) {
        add_bytes(tables, payloads, place.n_bytes, sums);
        for (uint32_t i = 0; i < some.n; ++i) {
            if (!sums[i].any_from(terms.least)) continue;
            judge(Totals::of(sums[i]), factors_of(i), place.block, some.groups[i], terms,
                  place.sink);
        }
        return;
    }
    Totals totals[kByteGroups];
    for (Totals& of_group : totals) of_group = Totals::none();
    for (size_t done = 0; done < place.n_bytes; done += kFullLooks) {
        const size_t left = place.n_bytes - done;
        add_bytes(tables, payloads, left < kFullLooks ? left : kFullLooks, sums);
        tables += 256 * kFullLooks;
        for (uint32_t i = 0; i < kByteGroups; ++i) {
            payloads[i] += kLanes * kFullLooks;
            totals[i].add(sums[i], 1);
        }
    }
    for (uint32_t i = 0; i < some.n; ++i) {
        judge(totals[i], factors_of(i), place.block, some.groups[i], terms, place.sink);
    }
}

void byte_scan(const ByteQuery& query, const CodesBlock& block, const float* bound, Sink* sink) {
    const Place place(block, query.n_bytes, query.first_byte, sink);
    Terms terms = {query.gain, query.offset, bound, 0, 0, 0, 0};
    terms.read_bound(block.factors);
    GroupFactors room;
    Together some = {};
    const auto factors_of = [&](uint32_t i) -> const GroupFactors& {
        room.decode(block.factors, group_at(block, some.groups[i]));
        return room;
    };
    const auto score = [&] {
        bytes_groups(place, query.tables, terms, some, factors_of);
        some.n = 0;
    };
    scan_groups(block, [&](uint32_t group) {
        some.groups[some.n++] = group;
        if (some.n == kByteGroups) score();
    });
    if (some.n != 0) score();
}

void bytes_piece(const Place& place, const ByteTile& tile, uint32_t q, Piece& piece) {
    const CodesBlock& block = place.block;
    Terms terms = {tile.gain[q], tile.offset[q], tile.bound + q, q, 0, 0, 0};
    terms.read_bound(block.factors);
    const uint8_t* const tables = tile.tables + q * tile.stride;
    uint32_t first = 0;
    const auto factors_of = [&](uint32_t i) -> const GroupFactors& {
        return piece.factors[first + i];
    };
    Together some = {};
    for (; first < piece.n; first += kByteGroups) {
        for (some.n = 0; some.n < kByteGroups && first + some.n < piece.n; ++some.n) {
            some.groups[some.n] = piece.groups[first + some.n];
            piece.factors_at(first + some.n, block, q == 0);
        }
        bytes_groups(place, tables, terms, some, factors_of);
    }
}

void byte_tile(const ByteTile& tile, const CodesBlock& block, Sink* sink) {
    const Place place(block, tile.n_bytes, tile.first_byte, sink);
    tile_pieces(block, [&](Piece& piece) {
        for (uint32_t q = 0; q < tile.nq; ++q) bytes_piece(place, tile, q, piece);
    });
}

// ------------------------------------------------------------------------------------- grids

void grid_sums(const GridQuery& query, const uint8_t* const* codes, size_t first_byte, size_t n,
               int64_t* out) {
    for (size_t i = 0; i < n; ++i) {
        const uint8_t* level = codes[i] + first_byte;
        int64_t sum = 0;
        for (uint32_t l = 0; l < query.levels; ++l) {
            const uint32_t dims = query.level_dims[l];
            sum = 2 * sum + level_sum(query.values, level, dims);
            level += (dims + 7) / 8;
        }
        out[i] = sum;
    }
}

// The sum of eight whole numbers of 32 bits.
inline int64_t sum_of_eight(__m256i sums) {
    const __m256i wide = _mm256_add_epi64(_mm256_cvtepi32_epi64(_mm256_castsi256_si128(sums)),
                                          _mm256_cvtepi32_epi64(_mm256_extracti128_si256(sums, 1)));
    const __m128i two =
        _mm_add_epi64(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    return _mm_cvtsi128_si64(two) + _mm_extract_epi64(two, 1);
}

inline __m256i sixteen_products(const int16_t* values, __m128i numbers) {
    return _mm256_madd_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)),
                             _mm256_cvtepu8_epi16(numbers));
}

// 512 pairs of products of 12 and 8 bits fit in 32 bits with a sign.
int64_t byte_sum(const int16_t* values, const uint8_t* numbers, size_t dim) {
    __m256i sums = _mm256_setzero_si256();
    int64_t sum = 0;
    size_t at = 0;
    for (size_t in_sums = 0; at + 16 <= dim; at += 16) {
        const __m128i some = _mm_loadu_si128(reinterpret_cast<const __m128i*>(numbers + at));
        sums = _mm256_add_epi32(sums, sixteen_products(values + at, some));
        if (++in_sums < 512) continue;
        sum += sum_of_eight(sums);
        sums = _mm256_setzero_si256();
        in_sums = 0;
    }
    for (; at < dim; ++at) sum += int64_t(values[at]) * numbers[at];
    return sum + sum_of_eight(sums);
}

// The sums of 16 bits of products of numbers with the high parts of values, and with the low ones.
struct HighAndLow {
    __m256i high = _mm256_setzero_si256(), low = _mm256_setzero_si256();

    void add(__m256i numbers, const int8_t* values, size_t dim) {
        const auto* const highs = reinterpret_cast<const __m256i*>(values);
        const auto* const lows = reinterpret_cast<const __m256i*>(values + dim);
        high = _mm256_add_epi16(high, _mm256_maddubs_epi16(numbers, _mm256_loadu_si256(highs)));
        low = _mm256_add_epi16(low, _mm256_maddubs_epi16(numbers, _mm256_loadu_si256(lows)));
    }
    __m256i whole() const {
        const __m256i high_of = _mm256_set1_epi16(CodesKernels::kHighValue);
        return _mm256_add_epi32(_mm256_madd_epi16(high, high_of),
                                _mm256_madd_epi16(low, _mm256_set1_epi16(1)));
    }
};

// Per 64 dimensions 12 operations, where values of 16 bits took 20. A pair of products is at most
// 2 * 15 * 127, and eight of these fit in 16 bits with a sign.
int64_t nibble_sum(const int8_t* values, const uint8_t* numbers, size_t dim) {
    const __m256i low = _mm256_set1_epi8(15);
    __m256i sums = _mm256_setzero_si256();
    size_t at = 0;
    while (at + 64 <= dim) {
        HighAndLow some;
        const size_t end = dim - at < 256 ? dim : at + 256;
        for (; at + 64 <= end; at += 64, numbers += 32) {
            const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(numbers));
            some.add(_mm256_and_si256(both, low), values + at, dim);
            some.add(_mm256_and_si256(_mm256_srli_epi16(both, 4), low), values + at + 32, dim);
        }
        sums = _mm256_add_epi32(sums, some.whole());
    }
    // The rest, 16 or 8 numbers at a time.
    const auto add = [&](__m128i some, auto load) {
        const __m128i of = _mm_and_si128(some, _mm256_castsi256_si128(low));
        const __m128i high = _mm_maddubs_epi16(of, load(values + at));
        const __m128i rest = _mm_maddubs_epi16(of, load(values + dim + at));
        const HighAndLow both = {_mm256_zextsi128_si256(high), _mm256_zextsi128_si256(rest)};
        sums = _mm256_add_epi32(sums, both.whole());
    };
    const auto sixteen = [](const int8_t* from) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    };
    if ((dim & 32) != 0) {
        const __m128i both = _mm_loadu_si128(reinterpret_cast<const __m128i*>(numbers));
        add(both, sixteen), at += 16;
        add(_mm_srli_epi16(both, 4), sixteen), at += 16;
        numbers += 16;
    }
    if ((dim & 16) != 0) {
        const __m128i both = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(numbers));
        add(_mm_unpacklo_epi64(both, _mm_srli_epi16(both, 4)), sixteen), at += 16;
        numbers += 8;
    }
    if ((dim & 8) != 0) {
        int32_t four;
        std::memcpy(&four, numbers, sizeof(four));
        const __m128i both = _mm_cvtsi32_si128(four);
        add(_mm_unpacklo_epi32(both, _mm_srli_epi16(both, 4)), [](const int8_t* from) {
            return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
        });
    }
    return sum_of_eight(sums);
}

void byte_sums(const int16_t* values, size_t dim, const uint8_t* const* codes, size_t first_byte,
               size_t n, int64_t* out) {
    for (size_t i = 0; i < n; ++i) out[i] = byte_sum(values, codes[i] + first_byte, dim);
}

void nibble_sums(const int8_t* values, size_t dim, const uint8_t* const* codes, size_t first_byte,
                 size_t n, int64_t* out) {
    for (size_t i = 0; i < n; ++i) out[i] = nibble_sum(values, codes[i] + first_byte, dim);
}

}  // namespace codes

constexpr CodesKernels codes_kernels = {codes::nibble_scan, codes::byte_scan, codes::nibble_tile,
                                        codes::byte_tile,   codes::grid_sums, codes::byte_sums,
                                        codes::nibble_sums};

#undef NEARBIT_HOT
