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

    GroupFactors(const CodeFactors& kinds, const uint8_t* group) {
        decode_factor(kinds.scale, kinds.scale_bytes, 1.0f, group, scale);
        decode_factor(kinds.norm, kinds.norm_bytes, 0.0f,
                      group + size_t(kLanes) * kinds.scale_bytes, norm);
    }
};

// What the factors of a block can come to, in forms that 32 rows are tested by in few operations.
struct FactorRange {
    // The largest scale by the high half of its (high) byte, in 255ths of the largest of all.
    alignas(16) uint8_t scales[16];
    double most_scale;
    // Where a norm's (high) byte is h > 0, it is at least norm_of_0 + norm_slope * h: floats' bits
    // go up like a logarithm, so a line that meets the norms in the middle lies below the others.
    double norm_of_0 = 0, norm_slope = 0;

    explicit FactorRange(const CodeFactors& kinds) {
        const uint32_t per_half = kinds.scale_bytes == 1 ? 16 : 4096;
        most_scale =
            kinds.scale_bytes == 0 ? 1 : double(factor_value(kinds.scale, 16 * per_half - 1));
        for (uint32_t i = 0; i < 16; ++i) {
            const double most = double(factor_value(kinds.scale, per_half * (i + 1) - 1));
            const double share = kinds.scale_bytes == 0 ? 1 : most / most_scale * 1.000001;
            scales[i] = share < 1 ? uint8_t(255 * share + 1) : 255;
        }
        if (kinds.norm_bytes != 0) {
            const uint32_t per_byte = kinds.norm_bytes == 1 ? 1 : 256;
            const double middle = double(factor_value(kinds.norm, 128 * per_byte));
            norm_slope = double(factor_value(kinds.norm, 129 * per_byte)) - middle;
            norm_of_0 = middle - 128 * norm_slope;
        }
    }
};

inline __m256i to_16_bits(double x) {
    const uint16_t whole = !(x > 0) ? 0 : x < 65535 ? uint16_t(x) : 65535;
    return _mm256_set1_epi16(int16_t(whole));
}

// A query's part in the test of a row.
struct Terms {
    float gain, offset;
    const float* bound;
    uint32_t number;
    float rest;
    float bound_now;
    // In whole numbers from 0 to 65,535, (sum - less) * scale / 256 >= need + per_high * h / 256 -
    // give: what isn't so can't be within the bound.
    __m256i less, need, give, per_high;

    void set(float gain_, float offset_, const float* bound_, uint32_t number_, float rest_,
             const FactorRange& range) {
        gain = gain_;
        offset = offset_;
        bound = bound_;
        number = number_;
        rest = rest_;
        read_bound(range);
    }
    void read_bound(const FactorRange& range) {
        bound_now = *bound;
        less = need = give = per_high = _mm256_setzero_si256();
        const double unit = double(gain) * range.most_scale * (256.0 / 255);
        if (!(unit > 0)) return;
        const double above = offset > 0 ? double(offset) : 0;
        const double least = range.norm_of_0 - double(bound_now) - above * range.most_scale;
        less = to_16_bits((above - double(offset)) / double(gain) * 0.999999);
        // A millionth less for what is rounded in double. That fractions are cut off excludes
        // nothing more: a number that reaches another reaches its whole part, too.
        const double safe = (least - 1e-6 * (least < 0 ? -least : least)) / unit;
        need = to_16_bits(safe);
        give = to_16_bits(safe < 0 ? 1 - safe : 0);
        per_high = to_16_bits(range.norm_slope / unit * (256 * 0.999999));
    }
};

// The factors of a group, as its sums are tested by them: of items 0, 2, 4.. and of 1, 3, 5.. each
// in the high byte of 16 bits.
struct GroupTest {
    __m256i scale_even, scale_odd, high_even, high_odd;
    __m256i any_norm;  // items of which no norm is known that they reach

    GroupTest(const CodeFactors& kinds, const FactorRange& range, const uint8_t* group) {
        const __m256i high_byte = _mm256_set1_epi16(int16_t(0xff00)), zero = _mm256_setzero_si256();
        const auto byte_of = [group](size_t row) {
            return _mm256_load_si256(reinterpret_cast<const __m256i*>(group + kLanes * row));
        };
        scale_even = scale_odd = high_byte;
        high_even = high_odd = any_norm = zero;
        if (kinds.scale_bytes != 0) {
            const __m256i entries = _mm256_broadcastsi128_si256(
                _mm_load_si128(reinterpret_cast<const __m128i*>(range.scales)));
            const __m256i code = byte_of(kinds.scale_bytes - 1u);
            const __m256i half =
                _mm256_and_si256(_mm256_srli_epi16(code, 4), _mm256_set1_epi8(0x0f));
            const __m256i scale = _mm256_shuffle_epi8(entries, half);
            scale_even = _mm256_slli_epi16(scale, 8);
            scale_odd = _mm256_and_si256(scale, high_byte);
        }
        if (kinds.norm_bytes != 0) {
            const __m256i high = byte_of(factor_bytes(kinds) - 1);
            high_even = _mm256_slli_epi16(high, 8);
            high_odd = _mm256_and_si256(high, high_byte);
            any_norm = _mm256_cmpeq_epi8(high, zero);
        }
    }

    // Not 0 where one of two items may be within the bound.
    __m256i of(const Sums& sums, const Terms& terms) const {
        const __m256i found = _mm256_or_si256(reached(sums.even, scale_even, high_even, terms),
                                              reached(sums.odd, scale_odd, high_odd, terms));
        return _mm256_or_si256(found, any_norm);
    }

  private:
    static __m256i reached(__m256i sums, __m256i scale, __m256i high, const Terms& terms) {
        const __m256i value = _mm256_mulhi_epu16(_mm256_subs_epu16(sums, terms.less), scale);
        const __m256i norm = _mm256_mulhi_epu16(high, terms.per_high);
        const __m256i least = _mm256_subs_epu16(_mm256_adds_epu16(norm, terms.need), terms.give);
        return _mm256_cmpeq_epi16(_mm256_max_epu16(value, least), value);
    }
};

inline bool any_bit(__m256i x) {
    return !_mm256_testz_si256(x, x);
}

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

NEARBIT_HOT uint32_t lanes_within(const Totals& totals, const GroupFactors& factors,
                                  const Terms& terms) {
    uint32_t within = 0;
    for (uint32_t i = 0; i < 4; ++i) {
        const __m256 x = _mm256_fmadd_ps(_mm256_set1_ps(terms.gain), totals.eight[i],
                                         _mm256_set1_ps(terms.offset));
        const __m256 d = _mm256_fnmadd_ps(_mm256_load_ps(factors.scale + 8 * i), x,
                                          _mm256_load_ps(factors.norm + 8 * i));
        const __m256 below = _mm256_cmp_ps(d, _mm256_set1_ps(terms.bound_now), _CMP_LE_OQ);
        within |= uint32_t(_mm256_movemask_ps(below)) << (8 * i);
    }
    return within;
}

// Where the summed bytes lie, and where candidates go.
struct Place {
    const CodesBlock& block;
    const FactorRange range;
    size_t payload;  // bytes of a group before them
    size_t n_bytes;
    Sink* sink;

    Place(const CodesBlock& block_, size_t n_bytes_, size_t first_byte, Sink* sink_)
        : block(block_),
          range(block_.factors),
          payload(kLanes * (factor_bytes(block_.factors) + first_byte)),
          n_bytes(n_bytes_),
          sink(sink_) {}
};

// Reports the items of a group that are within the bound.
inline void judge(const Totals& totals, const GroupFactors& factors, const Place& place,
                  uint32_t group, Terms& terms) {
    uint32_t within = lanes_within(totals, factors, terms);
    if (within == 0) return;
    make_room(place.sink);
    if (*terms.bound < terms.bound_now) {  // as it, or another query, made room
        terms.read_bound(place.range);
        within &= lanes_within(totals, factors, terms);
    }
    for (within &= lanes_of(place.block, group); within != 0; within &= within - 1) {
        report(place.sink, terms.number, group * kLanes + uint32_t(_tzcnt_u32(within)), 0.0f);
    }
}

// The same by the sums of N queries to a group that few of them are likely to be near to.
template <int N>
NEARBIT_HOT void judge_sums(const Sums* sums, const GroupTest& test, const Place& place,
                            uint32_t group, Terms* terms) {
    __m256i found[N], in_any = _mm256_setzero_si256();
    for (int i = 0; i < N; ++i) {
        found[i] = test.of(sums[i], terms[i]);
        in_any = _mm256_or_si256(in_any, found[i]);
    }
    if (!any_bit(in_any)) return;
    const GroupFactors factors(place.block.factors, group_at(place.block, group));
    for (int i = 0; i < N; ++i) {
        if (any_bit(found[i])) judge(Totals::of(sums[i]), factors, place, group, terms[i]);
    }
}

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
    uint32_t n = 0;
    uint32_t groups[kMost];
};

template <class OnPiece>
inline void tile_pieces(const CodesBlock& block, const OnPiece& on_piece) {
    constexpr size_t kBytes = 128 << 10;
    const size_t fitting = kBytes / (kLanes * block.code_bytes);
    const uint32_t most = fitting < 1              ? 1
                          : fitting < Piece::kMost ? uint32_t(fitting)
                                                   : Piece::kMost;
    Piece piece;
    scan_groups(block, [&](uint32_t group) {
        piece.groups[piece.n++] = group;
        if (piece.n < most) return;
        on_piece(piece);
        piece.n = 0;
    });
    if (piece.n != 0) on_piece(piece);
}

// ------------------------------------------------------------------------------------- nibbles

constexpr size_t kFullBytes = 256;  // of which each is 255 at most: they fit in 16 bits

// The sums of Q queries over n_bytes <= kFullBytes bytes of a group. A byte of 32 small codes is 9
// operations, 3 of them shared by the queries: its two look-ups are added in 8 bits.
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
            const __m256i both = _mm256_add_epi8(_mm256_shuffle_epi8(of_low, low),
                                                 _mm256_shuffle_epi8(of_high, high));
            all[q] = _mm256_add_epi16(all[q], both);
            odd[q] = _mm256_add_epi16(odd[q], _mm256_srli_epi16(both, 8));
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

template <int Q>
NEARBIT_HOT void nibbles_group(const Place& place, const FinerPlanes& finer,
                               const uint8_t* const* tables, Terms (&terms)[Q], uint32_t group) {
    const uint8_t* const at = group_at(place.block, group);
    const uint8_t* payload = at + place.payload;
    if (finer.n == 0 && place.n_bytes <= kFullBytes) {
        // Read before the payload, in the order of memory: 96 parts from a busy L3 took 0.75 of
        // the time.
        const GroupTest test(place.block.factors, place.range, at);
        Sums sums[Q];
        add_nibbles<Q>(tables, payload, place.n_bytes, sums);
        judge_sums<Q>(sums, test, place, group, terms);
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
    const GroupFactors factors(place.block.factors, at);
    for (int q = 0; q < Q; ++q) judge(totals[q], factors, place, group, terms[q]);
}

void nibble_scan(const NibbleQuery& query, const CodesBlock& block, const float* bound,
                 Sink* sink) {
    const Place place(block, query.n_bytes, query.first_byte, sink);
    const uint8_t* const tables[1] = {query.tables};
    Terms terms[1];
    terms[0].set(query.gain, query.offset, bound, 0, query.rest, place.range);
    const size_t group_bytes = kLanes * block.code_bytes;
    scan_groups(block, [&](uint32_t group) {
        // 1.2 to 1.35 times the speed; from L3 it would be as little as 0.83 (Zen 3).
        if (block.from_memory) fetch_ahead(group_at(block, group), group_bytes);
        nibbles_group<1>(place, query.finer, tables, terms, group);
    });
}

// Queries from q on, as many at once as go into Q, the rest with fewer.
template <int Q>
void nibbles_piece(const Place& place, const NibbleTile& tile, uint32_t& q, const Piece& piece) {
    for (; q + Q <= tile.nq; q += Q) {
        const uint8_t* tables[Q];
        Terms terms[Q];
        for (uint32_t i = 0; i < Q; ++i) {
            tables[i] = tile.tables + (q + i) * tile.stride;
            const float rest = tile.finer.split != 0 ? tile.rest[q + i] : 0;
            terms[i].set(tile.gain[q + i], tile.offset[q + i], tile.bound + q + i, q + i, rest,
                         place.range);
        }
        for (uint32_t i = 0; i < piece.n; ++i) {
            nibbles_group<Q>(place, tile.finer, tables, terms, piece.groups[i]);
        }
    }
}

void nibble_tile(const NibbleTile& tile, const CodesBlock& block, Sink* sink) {
    const Place place(block, tile.n_bytes, tile.first_byte, sink);
    tile_pieces(block, [&](const Piece& piece) {
        uint32_t q = 0;
        if constexpr (kTileQueries > 4) nibbles_piece<kTileQueries>(place, tile, q, piece);
        nibbles_piece<4>(place, tile, q, piece);
        nibbles_piece<2>(place, tile, q, piece);
        nibbles_piece<1>(place, tile, q, piece);
    });
}

// ------------------------------------------------------------------------------------- bytes

constexpr size_t kFullLooks = 256;  // of which each is 255 at most: they fit in 16 bits

// One query on n <= kByteGroups groups, which are summed together, so that each table is loaded
// once for all.
NEARBIT_HOT void bytes_groups(const Place& place, const uint8_t* tables, Terms (&terms)[1],
                              const uint32_t* groups, uint32_t n) {
    const uint8_t* payloads[kByteGroups];
    for (uint32_t i = 0; i < kByteGroups; ++i) {
        payloads[i] = group_at(place.block, groups[i < n ? i : 0]) + place.payload;
    }
    Sums sums[kByteGroups];
    if (place.n_bytes <= kFullLooks) {
        add_bytes(tables, payloads, place.n_bytes, sums);
        for (uint32_t i = 0; i < n; ++i) {
            const GroupTest test(place.block.factors, place.range,
                                 group_at(place.block, groups[i]));
            judge_sums<1>(sums + i, test, place, groups[i], terms);
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
    for (uint32_t i = 0; i < n; ++i) {
        const GroupFactors factors(place.block.factors, group_at(place.block, groups[i]));
        judge(totals[i], factors, place, groups[i], terms[0]);
    }
}

void byte_scan(const ByteQuery& query, const CodesBlock& block, const float* bound, Sink* sink) {
    const Place place(block, query.n_bytes, query.first_byte, sink);
    Terms terms[1];
    terms[0].set(query.gain, query.offset, bound, 0, 0, place.range);
    uint32_t groups[kByteGroups], n = 0;
    scan_groups(block, [&](uint32_t group) {
        groups[n++] = group;
        if (n < kByteGroups) return;
        bytes_groups(place, query.tables, terms, groups, n);
        n = 0;
    });
    if (n != 0) bytes_groups(place, query.tables, terms, groups, n);
}

void byte_tile(const ByteTile& tile, const CodesBlock& block, Sink* sink) {
    const Place place(block, tile.n_bytes, tile.first_byte, sink);
    tile_pieces(block, [&](const Piece& piece) {
        for (uint32_t q = 0; q < tile.nq; ++q) {
            Terms terms[1];
            terms[0].set(tile.gain[q], tile.offset[q], tile.bound + q, q, 0, place.range);
            for (uint32_t i = 0; i < piece.n; i += kByteGroups) {
                const uint32_t left = piece.n - i;
                bytes_groups(place, tile.tables + q * tile.stride, terms, piece.groups + i,
                             left < kByteGroups ? left : kByteGroups);
            }
        }
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
