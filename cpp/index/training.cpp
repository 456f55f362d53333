// Training: once, when there are rows enough, or on a sample that is given.
#include <algorithm>
#include <cstring>
#include <mutex>
#include <shared_mutex>

#include "base/error.h"
#include "codecs/dense.h"
#include "index/codes.h"
#include "index/index.h"
#include "index/writing.h"

namespace nearbit {

std::shared_ptr<Index::Store> Index::store_for(const Input& vectors, size_t n_more, size_t threads,
                                               Watch* watch) const {
    if (!pending() || store_->ids.n_live() + n_more < codec().train_size()) return store_;
    const auto sample = [&](const Codec& codec) { return sample_with(vectors, codec, watch); };
    return compacted(trained_on(sample, threads, watch), threads, watch);
}

// Drawn from the rows that are there and those of the call alike: rows often come in some order of
// kind, and the first are then not like the others.
std::vector<float> Index::sample_with(const Input& vectors, const Codec& codec,
                                      Watch* watch) const {
    const Directory& ids = store_->ids;
    std::vector<uint32_t> live;
    for (size_t slot = 0; slot < ids.n_slots(); ++slot) {
        if (ids.live(slot)) live.push_back(uint32_t(slot));
    }
    const std::vector<uint64_t> chosen = training_rows(codec, live.size() + vectors.n);
    const auto plain = make_float32(codec.dim(), codec.metric());
    std::vector<float> rows(chosen.size() * codec.dim());
    Memory scratch;
    float factor;
    for (size_t i = 0; i < chosen.size(); ++i) {
        auto* const row = reinterpret_cast<std::byte*>(rows.data() + i * codec.dim());
        if (chosen[i] < live.size()) {
            store_->rows().decode(live[chosen[i]], row);
        } else {
            const size_t at = chosen[i] - live.size();
            plain->encode(vectors.rows(at, 1, scratch), 1, row, &factor, vectors.argument, at);
        }
        if (watch != nullptr && i % 1024 == 0) watch->advance(0);
    }
    return rows;
}

Index::Codecs Index::trained_on(const SampleFor& sample, size_t threads, Watch* watch) const {
    Codecs trained;
    for (const auto& codec : codecs_) {
        trained.push_back(codec->trained() ? codec : codec->train(sample(*codec), threads, watch));
    }
    return trained;
}

void Index::train(const Input& rows, size_t threads, Watch* watch) {
    Writing writing(*this, watch);
    if (codec().train_size() == 0) return;
    if (!pending()) throw InvalidArgument("index: expected one that is not trained yet");
    const auto sample = [&](const Codec& codec) { return training_sample(codec, rows, watch); };
    std::shared_ptr<Store> made = compacted(trained_on(sample, threads, watch), threads, watch);
    if (watch != nullptr) watch->poll_now();
    writing.apply();
    publish(std::move(made));
}

std::shared_ptr<const Codec> Index::trained_codec() const {
    writer_.check_whole();
    const std::shared_lock<RwLock> guard(lock_);
    if (!pending()) return store_->codecs[0];
    if (codec().trained()) return codecs_[0];
    throw InvalidArgument("index: expected one that is trained, got one of " +
                          std::to_string(store_->ids.n_live()) + " rows where " +
                          std::to_string(codec().train_size()) + " train codec '" + codec().name() +
                          "' (or index.train does)");
}

void Index::publish(std::shared_ptr<Store> store) {
    if (store == store_) return;
    free_.clear();
    retired_.clear();
    const std::lock_guard<RwLock> guard(lock_);
    store_.swap(store);
    changed();
}

}  // namespace nearbit
