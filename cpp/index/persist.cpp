// An index or a trained codec as a file and back: docs/formats.md.
#include <algorithm>
#include <array>

#include "base/error.h"
#include "files/atomic_file.h"
#include "files/reader.h"
#include "files/writer.h"
#include "index/codes.h"
#include "index/index.h"
#include "index/writing.h"
#include "kernels/kernels.h"
#include "layouts/link.h"

namespace nearbit {
namespace {

constexpr std::string_view kSettings = "settings", kIds = "ids", kSlots = "slots", kLinks = "links",
                           kCodec = "codec";
// Of the rows by each codec: what is scanned, and the finer copy.
constexpr std::string_view kRows[] = {"rows", "fine-rows"},
                           kFactors[] = {"factors", "fine-factors"};
// Of indexes and codecs, so that a reader can say which of them a file is.
constexpr std::array<std::string_view, 9> kSections = {
    kSettings, kRows[0], kFactors[0], kRows[1], kFactors[1], kIds, kSlots, kLinks, kCodec};
constexpr SectionFlags kMapped = {.required = true, .mappable = true};
constexpr size_t kPieceBytes = size_t(1) << 20;  // between two looks at the watch

std::function<void()> poller(Watch* watch) {
    if (watch == nullptr) return {};
    return [watch] { watch->advance(0); };
}

// What can't be read before the ends of a file are known to be those of a container.
std::shared_ptr<Mapping> read_file(const std::string& path, Watch* watch) {
    return Mapping::read(path, poller(watch), [&](auto first, auto last, size_t n_bytes) {
        ContainerReader::check_ends(first, last, n_bytes, path);
    });
}

std::shared_ptr<const Codec> codec_of(const std::string& name, const std::string& metric,
                                      uint64_t dim, Cursor& fields) {
    try {
        return read_codec(name, dim, metric, fields);
    } catch (const InvalidArgument& error) {
        fields.refuse(error.what());
    }
}

std::shared_ptr<const Codec> open_codec(std::span<const std::byte> bytes, const std::string& source,
                                        Watch* watch) {
    const ContainerReader reader(bytes, source, kSections);
    if (!reader.has(kCodec) && reader.has(kSettings)) {
        throw CorruptFile(source + ": expected a codec, got an index (nb.load reads it)");
    }
    reader.verify_all(poller(watch));
    Cursor fields = reader.cursor(kCodec);
    const std::string name = fields.read_string(64);
    const std::string metric = fields.read_string(64);
    const auto dim = fields.read<uint64_t>();
    std::shared_ptr<const Codec> codec = codec_of(name, metric, dim, fields);
    fields.expect_end();
    if (!codec->trained()) fields.refuse("expected a trained codec, got an untrained one");
    return codec;
}

// What a file says of a graph, but for its links.
struct StoredGraph {
    std::optional<GraphSettings> layout;
    size_t default_ef = kDefaultEf;
    uint64_t n_entered = 0;
    std::vector<uint32_t> entries;
};

StoredGraph read_graph(Cursor& fields, uint64_t n) {
    StoredGraph read;
    const auto walked = fields.read<uint8_t>();
    if (walked > 1) fields.refuse("expected 0 or 1 for the layout, got " + std::to_string(walked));
    if (walked == 0) return read;
    GraphSettings layout;
    layout.degree = fields.read<uint32_t>();
    layout.ef_construction = fields.read<uint32_t>();
    layout.alpha = fields.read<double>();
    layout.seed = fields.read<uint64_t>();
    read.default_ef = fields.read<uint32_t>();
    read.n_entered = fields.read<uint64_t>();
    const auto n_entries = fields.read<uint32_t>();
    if (layout.degree < kLeastDegree || layout.degree > kMostDegree || layout.ef_construction < 1 ||
        layout.ef_construction > kMostEf || !(layout.alpha >= kLeastAlpha) ||
        !(layout.alpha <= kMostAlpha) || read.default_ef < 1 || read.default_ef > kMostEf ||
        n_entries > kMostEntries || (n_entries != 0 && read.n_entered < n) ||
        read.n_entered > kMostEntered) {
        fields.refuse("expected settings of a graph, got degree " + std::to_string(layout.degree) +
                      ", ef " + std::to_string(layout.ef_construction) + " and " +
                      std::to_string(read.default_ef) + ", alpha " + std::to_string(layout.alpha) +
                      " and " + std::to_string(n_entries) + " entries of " +
                      std::to_string(read.n_entered) + " vertices ever");
    }
    for (uint32_t i = 0; i < n_entries; ++i) {
        read.entries.push_back(fields.read<uint32_t>());
        if (read.entries[i] >= n) {
            fields.refuse("expected entries below " + std::to_string(n) + ", got " +
                          std::to_string(read.entries[i]));
        }
    }
    read.layout = layout;
    return read;
}

}  // namespace

// Sections hold the live slots one behind the other.
void Index::write(Output& output, Watch* watch) const {
    const Writing writing(*this, watch, Writing::kReads);
    const Directory& ids = store_->ids;
    const bool identity = ids.densely_identity();
    ContainerWriter writer(output, kernels().isa);

    Fields settings;
    const Codecs& codecs = pending() ? codecs_ : store_->codecs;
    settings.put_string(codecs[0]->name());
    settings.put_string(metric_name(codec().metric()));
    settings.put(uint64_t(codec().dim()));
    settings.put(uint64_t(ids.n_live()));
    settings.put(int64_t(ids.next_id()));
    settings.put(uint8_t(identity));
    codecs[0]->write(settings);
    settings.put_string(codecs.size() > 1 ? codecs[1]->name() : "");
    if (codecs.size() > 1) codecs[1]->write(settings);
    settings.put(store_->stretch.load());
    const std::shared_ptr<const Graph> graph =
        store_->walked() && ids.n_live() >= kGraphFrom ? live_graph(1, watch) : nullptr;
    std::vector<uint32_t> dense;  // by slot, where a row will be
    if (graph != nullptr) {
        dense.assign(ids.n_slots(), kNoSlot);
        uint32_t n = 0;
        for (size_t slot = 0; slot < dense.size(); ++slot) {
            if (ids.live(slot)) dense[slot] = n++;
        }
    }
    settings.put(uint8_t(layout_.has_value()));
    if (layout_) {
        settings.put(layout_->degree);
        settings.put(layout_->ef_construction);
        settings.put(layout_->alpha);
        settings.put(layout_->seed);
        settings.put(uint32_t(default_ef()));
        settings.put(graph != nullptr ? graph->n_entered() : uint64_t(0));
        settings.put(uint32_t(graph != nullptr ? graph->entries().size() : 0));
        for (size_t i = 0; graph != nullptr && i < graph->entries().size(); ++i) {
            settings.put(dense[graph->entries()[i]]);
        }
    }
    writer.begin(kSettings, {.required = true, .mappable = false});
    writer.write(settings.data(), settings.size());
    writer.end();

    if (watch != nullptr) watch->expect(ids.n_live());
    const auto write_column = [&](std::string_view name, const Column& column, bool counts) {
        writer.begin(name, kMapped);
        const size_t at_once = std::max<size_t>(1, kPieceBytes / column.item_bytes());
        const auto put = [&](size_t first, size_t n) {
            column.for_each_piece(first, first + n, [&](size_t, size_t m, const std::byte* items) {
                writer.write(items, m * column.item_bytes());
            });
            if (watch != nullptr) watch->advance(counts ? n : 0);
        };
        size_t begin = 0;  // of a run of live slots
        for (size_t slot = 0; slot < ids.n_slots(); ++slot) {
            const bool live = ids.live(slot);
            if (!live || slot - begin == at_once) {
                if (slot > begin) put(begin, slot - begin);
                begin = live ? slot : slot + 1;
            }
        }
        if (ids.n_slots() > begin) put(begin, ids.n_slots() - begin);
        writer.end();
    };
    for (size_t c = 0; c < store_->copies.size(); ++c) {
        const Flat& rows = store_->copies[c];
        if (rows.grouped()) {
            writer.begin(kRows[c], kMapped);
            write_groups(writer, rows, watch);
            writer.end();
        } else {
            write_column(kRows[c], rows.codes(), c == 0);
        }
        if (rows.codec().has_factors()) write_column(kFactors[c], rows.factors(), false);
    }
    if (graph != nullptr) {
        writer.begin(kLinks, kMapped);
        std::vector<uint32_t> row(graph->degree());
        for (size_t slot = 0; slot < dense.size(); ++slot) {
            if (dense[slot] == kNoSlot) continue;
            graph->renumber(slot, dense, row.data());
            writer.write(row.data(), row.size() * sizeof(uint32_t));
            if (watch != nullptr && slot % 1024 == 0) watch->advance(0);
        }
        writer.end();
    }
    if (!identity) {
        writer.begin(kIds, kMapped);
        std::vector<int64_t> piece;
        const auto flush = [&] {
            writer.write(piece.data(), piece.size() * sizeof(int64_t));
            piece.clear();
            if (watch != nullptr) watch->advance(0);
        };
        for (size_t slot = 0; slot < ids.n_slots(); ++slot) {
            if (ids.live(slot)) piece.push_back(ids.id_of(slot));
            if (piece.size() * sizeof(int64_t) >= kPieceBytes) flush();
        }
        flush();
        writer.end();
        const std::vector<uint32_t> table = ids.dense_table();
        writer.begin(kSlots, kMapped);
        for (size_t at = 0; at < table.size(); at += kPieceBytes / sizeof(uint32_t)) {
            const size_t n = std::min(table.size() - at, kPieceBytes / sizeof(uint32_t));
            writer.write(table.data() + at, n * sizeof(uint32_t));
            if (watch != nullptr) watch->advance(0);
        }
        writer.end();
    }
    writer.finish();
}

// The live codes, in groups anew.
void Index::write_groups(ContainerWriter& writer, const Flat& rows, Watch* watch) const {
    const size_t code_bytes = rows.codec().code_bytes();
    Memory group(kGroupLanes * code_bytes), code(code_bytes);
    size_t n = 0;
    for (size_t slot = 0; slot < store_->ids.n_slots(); ++slot) {
        if (!store_->ids.live(slot)) continue;
        const std::byte* const lane = rows.code(slot, code.data());
        put_lane(reinterpret_cast<uint8_t*>(group.data()), code_bytes, n++ % kGroupLanes,
                 reinterpret_cast<const uint8_t*>(lane));
        if (n % kGroupLanes != 0) continue;
        writer.write(group.data(), group.size());
        std::memset(group.data(), 0, group.size());
        if (watch != nullptr) watch->advance(kGroupLanes);
    }
    if (n % kGroupLanes == 0) return;
    writer.write(group.data(), group.size());
    if (watch != nullptr) watch->advance(n % kGroupLanes);
}

void Index::save(const std::string& path, Watch* watch) const {
    AtomicFile file(path);
    write(file, watch);
    file.commit();
}

std::unique_ptr<Index> Index::load(const std::string& path, bool map, bool verify, Watch* watch) {
    std::shared_ptr<Mapping> mapping = map ? Mapping::open(path) : read_file(path, watch);
    const std::span<const std::byte> bytes = mapping->bytes();
    return open(std::move(mapping), bytes, path, map, verify, watch);
}

std::unique_ptr<Index> Index::from_bytes(std::span<const std::byte> bytes, Watch* watch) {
    return open(nullptr, bytes, "bytes", false, true, watch);
}

// in_place: the index uses the mapping, which then stays; else its pages are given back as they are
// copied.
std::unique_ptr<Index> Index::open(std::shared_ptr<Mapping> mapping,
                                   std::span<const std::byte> bytes, const std::string& source,
                                   bool in_place, bool verify, Watch* watch) {
    const ContainerReader reader(bytes, source, kSections);
    if (reader.has(kCodec)) {
        throw CorruptFile(source + ": expected an index, got a codec (nb.load_codec reads it)");
    }
    reader.verify(kSettings);
    if (verify) reader.verify_all(poller(watch));

    Cursor settings = reader.cursor(kSettings);
    const std::string codec_name = settings.read_string(64);
    const std::string metric = settings.read_string(64);
    const auto dim = settings.read<uint64_t>();
    const auto n = settings.read<uint64_t>();
    const auto next_id = settings.read<int64_t>();
    const auto identity = settings.read<uint8_t>();
    const auto codec = codec_of(codec_name, metric, dim, settings);
    const std::string refine = settings.read_string(64);
    const auto finer = refine.empty() ? nullptr : codec_of(refine, metric, dim, settings);
    const auto stretch = settings.read<float>();
    if (!(stretch >= 0 && stretch < kInfinity)) {
        settings.refuse("expected a stretch from 0 up, got " + std::to_string(stretch));
    }
    const StoredGraph graph = read_graph(settings, n);
    std::unique_ptr<Index> index;
    try {
        index = std::make_unique<Index>(codec, finer, graph.layout);
    } catch (const InvalidArgument& error) {
        settings.refuse(error.what());
    }
    index->store_->stretch = stretch;
    settings.expect_end();
    if (n > kMaxSlots || identity > 1 || next_id < -1 || (next_id >= 0 && uint64_t(next_id) < n)) {
        settings.refuse("expected a number of items, a next id and 0 or 1, got " +
                        std::to_string(n) + ", " + std::to_string(next_id) + " and " +
                        std::to_string(identity));
    }

    const auto array = [&](std::string_view name, uint64_t n_items, size_t item_bytes) {
        const auto section = reader.section(name);
        if (section.size() != n_items * item_bytes) {
            throw CorruptFile(reader.where(name) + ": expected " + std::to_string(n_items) +
                              " items of " + std::to_string(item_bytes) + " bytes, got " +
                              std::to_string(section.size()) + " bytes");
        }
        return section;
    };
    std::vector<std::pair<Column*, std::span<const std::byte>>> columns;
    for (size_t c = 0; c < index->store_->copies.size(); ++c) {
        Flat& rows = index->store_->copies[c];
        columns.emplace_back(&rows.codes(),
                             array(kRows[c], rows.n_items(n), rows.codes().item_bytes()));
        if (!rows.codec().has_factors()) continue;
        columns.emplace_back(&rows.factors(), array(kFactors[c], n, sizeof(float)));
    }
    if (!graph.entries.empty()) {
        Column& rows = index->store_->graph->rows();
        columns.emplace_back(&rows, array(kLinks, n, rows.item_bytes()));
    }
    Directory::Stored stored{};
    stored.n_items = n;
    stored.next_id = next_id;
    stored.identity = identity != 0;
    stored.copy = !in_place;
    stored.keeper = mapping;
    if (!stored.identity) {
        stored.ids = array(kIds, n, sizeof(int64_t)).data();
        const auto slots = reader.section(kSlots);
        stored.table = reinterpret_cast<const uint32_t*>(slots.data());
        stored.table_size = slots.size() / sizeof(uint32_t);
        if (slots.size() % sizeof(uint32_t) != 0 || !std::has_single_bit(stored.table_size)) {
            throw CorruptFile(reader.where(kSlots) +
                              ": expected a power of two of 4-byte items, "
                              "got " +
                              std::to_string(slots.size()) + " bytes");
        }
    }
    const auto fill = [&](Column& column, std::span<const std::byte> items) {
        const size_t n_items = items.size() / column.item_bytes();
        if (in_place) {
            column.view(items.data(), n_items, mapping);
            return;
        }
        column.grow(n_items);
        column.for_each_piece(0, n_items, [&](size_t first, size_t m, std::byte* to) {
            const auto piece = items.subspan(first * column.item_bytes(), m * column.item_bytes());
            std::memcpy(to, piece.data(), piece.size());
            if (mapping != nullptr) mapping->discard(piece);
            if (watch != nullptr) watch->advance(0);
        });
    };
    for (const auto& [column, items] : columns) fill(*column, items);
    try {
        index->store_->ids = Directory(stored);
    } catch (const CorruptFile& error) {
        throw CorruptFile(source + ": " + error.what());
    }
    if (!graph.entries.empty())
        index->open_graph(graph.entries, graph.n_entered, n, in_place, source, watch);
    index->set_default_ef(graph.default_ef);
    index->read_only_ = in_place;
    index->changed();
    return index;
}

// Links that are in place. Copied ones are checked, and parents found; mapped ones are checked as
// they are used.
void Index::open_graph(std::vector<uint32_t> entries, uint64_t n_entered, size_t n, bool in_place,
                       const std::string& source, Watch* watch) {
    Graph& graph = *store_->graph;
    if (in_place) {
        graph.view(n, std::move(entries), n_entered);
        return;
    }
    for (size_t slot = 0; slot < n; ++slot) {
        for (size_t i = 0; i < graph.degree(); ++i) {
            const uint32_t link = graph.links(slot)[i];
            if (link == kNoSlot || link < n) continue;
            throw CorruptFile(source + ": section 'links': expected slots below " +
                              std::to_string(n) + ", got " + std::to_string(link));
        }
        if (watch != nullptr && slot % 1024 == 0) watch->advance(0);
    }
    reach_all(graph, store_->finest(), all_of(n), n, std::move(entries), n_entered, 1, watch);
}

// ------------------------------------------------------------------------------------ codecs

void write_codec(const Codec& codec, Output& output) {
    ContainerWriter writer(output, kernels().isa);
    Fields fields;
    fields.put_string(codec.name());
    fields.put_string(metric_name(codec.metric()));
    fields.put(uint64_t(codec.dim()));
    codec.write(fields);
    writer.begin(kCodec, {.required = true, .mappable = false});
    writer.write(fields.data(), fields.size());
    writer.end();
    writer.finish();
}

void save_codec(const Codec& codec, const std::string& path) {
    AtomicFile file(path);
    write_codec(codec, file);
    file.commit();
}

std::shared_ptr<const Codec> load_codec(const std::string& path, Watch* watch) {
    return open_codec(read_file(path, watch)->bytes(), path, watch);
}

std::shared_ptr<const Codec> codec_from_bytes(std::span<const std::byte> bytes, Watch* watch) {
    return open_codec(bytes, "bytes", watch);
}

}  // namespace nearbit
