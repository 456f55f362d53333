// Rows that are read in turn, asked for before they are needed.

// Bytes. A quarter of it, or into L1, is no faster (Zen 3, Zen 4).
constexpr size_t kAhead = 16 << 10;

// Asks for every line of what lies kAhead behind n_bytes that are read now. With every second line
// scans took 0.8 to 1.6 times as long as without any (Zen 3).
inline void fetch_ahead(const uint8_t* at, size_t n_bytes) {
    const char* const ahead = reinterpret_cast<const char*>(at) + kAhead;
    for (size_t i = 0; i < n_bytes; i += 64) _mm_prefetch(ahead + i, _MM_HINT_T1);
}
