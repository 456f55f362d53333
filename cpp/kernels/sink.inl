// Included inside each instruction set's namespace: how a kernel reports a row.

inline bool admitted(const uint64_t* admit, uint32_t row) {
    return admit == nullptr || (admit[row >> 6] >> (row & 63) & 1) != 0;
}

inline void report(Sink* sink, uint32_t query, uint32_t row, float distance) {
    sink->items[sink->count++] = Candidate{query, row, distance};
}

// True if the sink was drained: thresholds may be lower now.
inline bool make_room(Sink* sink) {
    if (sink->count + kSinkRoom <= sink->capacity) return false;
    sink->drain(sink);
    return true;
}
