#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/checksum.h"
#include "base/error.h"
#include "files/cursor.h"
#include "files/mapping.h"
#include "files/output.h"
#include "files/reader.h"
#include "files/writer.h"

namespace nearbit {
namespace {

constexpr std::string_view kKnown[] = {"settings", "rows", "ids"};

// Places in the file, as docs/formats.md gives them, apart from the code's own structs.
constexpr size_t kHeaderBytes = 64, kHeaderChecksum = 60;
constexpr size_t kEntryBytes = 40, kEntryFlags = 16, kEntryOffset = 24, kEntryLength = 32;
constexpr size_t kTrailerBytes = 32, kTableOffset = 8, kNSections = 16, kTableChecksum = 20,
                 kTrailerChecksum = 28;

std::span<const std::byte> as_bytes(const std::string& text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

std::string as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

ContainerReader reader(const std::string& file) {
    return {as_bytes(file), "a.nearbit", kKnown};
}

void read_wholly(const std::string& file) {
    reader(file).verify_all();
}

// The message of the refusal, or "" where the file was taken.
std::string refusal(const std::string& file) {
    try {
        read_wholly(file);
    } catch (const CorruptFile& error) {
        return error.what();
    }
    return "";
}

::testing::AssertionResult refused_for(const std::string& file, const std::string& why) {
    const std::string message = refusal(file);
    if (message.starts_with("a.nearbit: ") && message.find(why) != std::string::npos) {
        return ::testing::AssertionSuccess();
    }
    return ::testing::AssertionFailure() << "message: '" << message << "'";
}

template <class T>
T get(const std::string& file, size_t offset) {
    T value;
    std::memcpy(&value, file.data() + offset, sizeof value);
    return value;
}

template <class T>
void set(std::string& file, size_t offset, T value) {
    std::memcpy(file.data() + offset, &value, sizeof value);
}

size_t trailer_of(const std::string& file) {
    return file.size() - kTrailerBytes;
}
size_t table_of(const std::string& file) {
    return get<uint64_t>(file, trailer_of(file) + kTableOffset);
}

// Makes the checksums of header, table and trailer right again after a change.
void reseal(std::string& file) {
    const size_t trailer = trailer_of(file), table = table_of(file);
    set(file, kHeaderChecksum, crc32c(file.data(), kHeaderChecksum));
    if (table <= trailer) {
        set(file, trailer + kTableChecksum, crc32c(file.data() + table, trailer - table));
    }
    set(file, trailer + kTrailerChecksum, crc32c(file.data() + trailer, kTrailerChecksum));
}

std::string container(const std::vector<std::pair<std::string, std::string>>& sections,
                      SectionFlags flags = {}) {
    MemoryOutput output;
    ContainerWriter writer(output, "avx2");
    for (const auto& [name, content] : sections) {
        writer.begin(name, flags);
        writer.write(content.data(), content.size());
        writer.end();
    }
    writer.finish();
    EXPECT_EQ(writer.n_bytes(), output.bytes.size());
    return output.bytes;
}

std::string small_container() {
    return container({{"settings", "dim 8"}, {"ids", ""}, {"rows", std::string(100, 'r')}});
}

TEST(Container, gives_back_what_was_written_in_pieces) {
    MemoryOutput output;
    ContainerWriter writer(output, "scalar");
    writer.begin("settings", {.required = true});
    writer.end();
    writer.begin("rows", {.required = true, .mappable = true});
    std::string rows;
    for (int piece = 0; piece < 50; ++piece) {
        const std::string text(static_cast<size_t>(piece) * 101, static_cast<char>('a' + piece));
        writer.write(text.data(), text.size());
        rows += text;
    }
    writer.end();
    writer.begin("hints", {.required = false, .mappable = true});
    writer.write("abc", 3);
    writer.end();
    writer.finish();

    const ContainerReader found = reader(output.bytes);
    found.verify_all();
    EXPECT_TRUE(found.has("settings"));
    EXPECT_FALSE(found.has("ids"));
    EXPECT_EQ(as_text(found.section("settings")), "");
    EXPECT_EQ(as_text(found.section("rows")), rows);
    EXPECT_EQ(as_text(found.section("hints")), "abc");
}

TEST(Container, places_sections_where_the_format_says) {
    MemoryOutput output;
    ContainerWriter writer(output, "avx2");
    for (const auto& [name, mappable] :
         {std::pair("settings", false), std::pair("ids", true), std::pair("rows", false)}) {
        writer.begin(name, {.required = true, .mappable = mappable});
        writer.write("x", 1);
        writer.end();
    }
    writer.finish();
    const std::string& file = output.bytes;
    EXPECT_EQ(file.substr(0, 8), std::string("\x89NBT\r\n\x1a\n"));
    EXPECT_EQ(get<uint32_t>(file, 8), 0u);
    EXPECT_EQ(file.substr(12, 4), "\x0D\x0C\x0B\x0A");
    EXPECT_EQ(file.substr(16, 16), std::string("avx2") + std::string(12, '\0'));
    const size_t table = table_of(file);
    EXPECT_EQ(get<uint64_t>(file, table + kEntryOffset), 64u);
    EXPECT_EQ(get<uint64_t>(file, table + kEntryBytes + kEntryOffset), 4096u);
    EXPECT_EQ(get<uint64_t>(file, table + 2 * kEntryBytes + kEntryOffset), 4096u + 64u);
    EXPECT_EQ(table, 4096u + 128u);
    EXPECT_EQ(get<uint64_t>(file, table + kEntryLength), 1u);
    EXPECT_EQ(get<uint32_t>(file, table + kEntryFlags), 1u);
    EXPECT_EQ(get<uint32_t>(file, table + kEntryBytes + kEntryFlags), 3u);
    EXPECT_EQ(file.size(), table + 3 * kEntryBytes + kTrailerBytes);
    EXPECT_EQ(get<uint64_t>(file, trailer_of(file)), file.size());
}

TEST(Container, of_no_sections_is_read) {
    const std::string file = container({});
    EXPECT_EQ(file.size(), kHeaderBytes + kTrailerBytes);
    EXPECT_NO_THROW(read_wholly(file));
    EXPECT_THROW(reader(file).section("rows"), CorruptFile);
}

TEST(Container, refuses_each_flipped_bit_and_changed_byte) {
    const std::string whole = small_container();
    ASSERT_EQ(refusal(whole), "");
    for (size_t i = 0; i < whole.size(); ++i) {
        for (const int change : {1, 2, 4, 8, 16, 32, 64, 128, 255}) {
            std::string file = whole;
            file[i] = static_cast<char>(file[i] ^ change);
            ASSERT_NE(refusal(file), "") << "byte " << i << " changed by " << change;
        }
    }
}

TEST(Container, refuses_each_changed_byte_of_a_mappable_one) {
    const std::string whole =
        container({{"settings", "dim 8"}, {"rows", "rrrr"}}, {.required = true, .mappable = true});
    for (size_t i = 0; i < whole.size(); ++i) {
        std::string file = whole;
        file[i] = static_cast<char>(file[i] ^ 0x10);
        ASSERT_NE(refusal(file), "") << "byte " << i;
    }
}

TEST(Container, opens_without_a_look_at_the_content_which_verify_names) {
    std::string file = small_container();
    const size_t rows = get<uint64_t>(file, table_of(file) + 2 * kEntryBytes + kEntryOffset);
    file[rows + 50] = 'x';
    const ContainerReader damaged = reader(file);
    EXPECT_NO_THROW(damaged.verify("settings"));
    EXPECT_THROW(damaged.verify("rows"), CorruptFile);
    EXPECT_TRUE(refused_for(file, "section 'rows': expected checksum "));
}

TEST(Container, refuses_each_truncation) {
    const std::string whole = small_container();
    for (size_t n = 0; n < whole.size(); ++n) {
        ASSERT_NE(refusal(whole.substr(0, n)), "") << n << " of " << whole.size() << " bytes";
    }
    EXPECT_TRUE(refused_for(whole.substr(0, 80), "got 80: the end is missing"));
    EXPECT_TRUE(refused_for(whole.substr(0, whole.size() - 1), "cut off"));
}

TEST(Container, refuses_bytes_added) {
    const std::string whole = small_container();
    for (const size_t n : {1, 31, 32, 64, 1000}) {
        EXPECT_NE(refusal(whole + std::string(n, '\0')), "");
        EXPECT_NE(refusal(std::string(n, '\0') + whole), "");
    }
    EXPECT_TRUE(refused_for(whole + whole, "length in bytes: expected " +
                                               std::to_string(whole.size()) + ", got " +
                                               std::to_string(2 * whole.size())));
}

TEST(Container, refuses_another_version_and_says_which_it_reads) {
    std::string file = small_container();
    set<uint32_t>(file, 8, 7);
    const std::string why = "expected format version 0, the one that this build reads, got 7";
    EXPECT_TRUE(refused_for(file, why));
    reseal(file);
    EXPECT_TRUE(refused_for(file, why));
}

TEST(Container, refuses_another_byte_order) {
    std::string file = small_container();
    set<uint32_t>(file, 12, 0x0D0C0B0A);
    reseal(file);
    EXPECT_TRUE(refused_for(file, "little-endian"));
}

TEST(Container, refuses_foreign_files) {
    const std::string numpy("\x93NUMPY\x01\x00v\x00{'descr': '<f4'}", 25);
    const std::string png("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
    std::string as_text_transfer = small_container();
    as_text_transfer.erase(4, 1);  // \r\n made \n
    for (const std::string& file :
         {std::string(), std::string("nearbit"), std::string(5000, 'a'), numpy, png,
          std::string(200, '\0'), std::string("hello, world\n"), as_text_transfer}) {
        EXPECT_TRUE(refused_for(file, "expected a nearbit index")) << file;
    }
}

TEST(Container, refuses_random_bytes_in_each_part) {
    const std::string whole = small_container();
    std::mt19937 random(12);
    for (int trial = 0; trial < 20000; ++trial) {
        std::string file = whole;
        const size_t begin = random() % file.size();
        const size_t end = begin + 1 + random() % std::min<size_t>(40, file.size() - begin);
        for (size_t i = begin; i < end; ++i) file[i] = static_cast<char>(random());
        if (file == whole) continue;
        ASSERT_NE(refusal(file), "") << "trial " << trial;
    }
}

// From here on files whose checksums are right: made to deceive.

// Random values in all numbers of table and trailer: taken only where nothing was changed in
// effect.
TEST(Container, survives_resealed_random_tables) {
    const std::string whole = small_container();
    std::mt19937_64 random(5);
    const size_t table = table_of(whole);
    for (int trial = 0; trial < 50000; ++trial) {
        std::string file = whole;
        for (int change = 0; change < 1 + trial % 3; ++change) {
            const size_t at = table + random() % ((file.size() - table) / 4) * 4;
            set(file, at, static_cast<uint32_t>(random() >> random() % 64));
        }
        reseal(file);
        const std::string message = refusal(file);
        if (message.empty()) {
            const ContainerReader taken = reader(file);
            for (const std::string_view name : kKnown) {
                if (taken.has(name)) {
                    ASSERT_EQ(as_text(taken.section(name)), as_text(reader(whole).section(name)));
                }
            }
        }
    }
}

TEST(Container, refuses_a_huge_number_of_sections) {
    for (const uint32_t n : {4u, 1024u, 1025u, 1u << 20, 0xFFFFFFFFu}) {
        std::string file = small_container();
        set(file, trailer_of(file) + kNSections, n);
        reseal(file);
        EXPECT_NE(refusal(file), "") << n;
    }
}

TEST(Container, refuses_a_wrong_place_of_the_table) {
    for (const uint64_t offset : {uint64_t{0}, uint64_t{64}, ~uint64_t{0}, uint64_t{1} << 63}) {
        std::string file = small_container();
        const size_t trailer = trailer_of(file);
        set(file, trailer + kTableOffset, offset);
        reseal(file);
        EXPECT_TRUE(refused_for(file, "right before the trailer")) << offset;
    }
}

TEST(Container, refuses_more_sections_than_the_limit) {
    std::vector<std::pair<std::string, std::string>> sections;
    for (int i = 0; i < 1024; ++i) sections.emplace_back("s" + std::to_string(i), "");
    const std::string file = container(sections, {.required = false});
    EXPECT_EQ(refusal(file), "");
    sections.emplace_back("one-more", "");
    EXPECT_THROW(container(sections), InvalidState);

    const size_t table = table_of(file);
    std::string larger = file.substr(0, trailer_of(file)) + file.substr(table, kEntryBytes) +
                         file.substr(trailer_of(file));
    larger[table + 1024 * kEntryBytes] = 'z';
    set<uint64_t>(larger, trailer_of(larger), larger.size());
    set<uint32_t>(larger, trailer_of(larger) + kNSections, 1025);
    reseal(larger);
    EXPECT_TRUE(refused_for(larger, "expected at most 1024 sections, got 1025"));
}

TEST(Container, refuses_sections_out_of_place) {
    const std::string whole = small_container();
    const size_t rows = table_of(whole) + 2 * kEntryBytes;
    for (const uint64_t offset : {0ull, 1ull, 64ull, 128ull - 1, 128ull + 64, 1ull << 40, ~0ull}) {
        std::string file = whole;
        set<uint64_t>(file, rows + kEntryOffset, offset);
        reseal(file);
        EXPECT_TRUE(refused_for(file, "section 'rows': offset: expected 128, got ")) << offset;
    }
    for (const uint64_t length : {129ull, 4096ull, 1ull << 40, 1ull << 63, ~0ull, ~0ull - 127}) {
        std::string file = whole;
        set<uint64_t>(file, rows + kEntryLength, length);
        reseal(file);
        EXPECT_TRUE(refused_for(file, "section 'rows': expected its end before the table"))
            << length;
    }
    std::string gap = whole;
    set<uint64_t>(gap, rows + kEntryLength, 64);
    reseal(gap);
    EXPECT_TRUE(refused_for(gap, "table: offset: expected 192, got 256"));

    std::string swapped = whole;
    const size_t table = table_of(whole);
    swapped.replace(table, kEntryBytes, whole.substr(rows, kEntryBytes));
    swapped.replace(rows, kEntryBytes, whole.substr(table, kEntryBytes));
    reseal(swapped);
    EXPECT_TRUE(refused_for(swapped, "section 'rows': offset: expected 64, got 128"));
}

TEST(Container, refuses_a_mappable_section_off_its_alignment) {
    std::string file = small_container();
    set<uint32_t>(file, table_of(file) + kEntryFlags, 3);
    reseal(file);
    EXPECT_TRUE(refused_for(file, "section 'settings': offset: expected 4096, got 64"));
}

TEST(Container, refuses_unknown_flags) {
    std::string file = small_container();
    set<uint32_t>(file, table_of(file) + kEntryFlags, 5);
    reseal(file);
    EXPECT_TRUE(refused_for(file, "section 'settings': expected flags up to 3, got 5"));
}

TEST(Container, refuses_bad_names) {
    const std::string whole = small_container();
    for (const std::string& name : {std::string(16, '\0'), std::string(16, 'n'),
                                    std::string("two words") + std::string(7, '\0'),
                                    std::string("\xC3\xA9") + std::string(14, '\0'),
                                    std::string("rows\0tail\0\0\0\0\0\0\0", 16)}) {
        std::string table = whole;
        table.replace(table_of(whole), 16, name);
        reseal(table);
        EXPECT_TRUE(refused_for(table, "table: section name: expected 1 to 15 printable ASCII"));
        std::string header = whole;
        header.replace(16, 16, name);
        reseal(header);
        EXPECT_TRUE(refused_for(header, "header: isa: expected 1 to 15 printable ASCII"));
    }
}

TEST(Container, refuses_a_name_twice) {
    std::string file = small_container();
    const size_t table = table_of(file);
    file.replace(table + kEntryBytes, 16, file.substr(table, 16));
    reseal(file);
    EXPECT_TRUE(refused_for(file, "section 'settings': expected once, got twice"));
}

TEST(Container, refuses_an_unknown_section_only_if_it_is_required) {
    EXPECT_EQ(refusal(container({{"hints", "h"}, {"rows", "r"}}, {.required = false})), "");
    EXPECT_TRUE(refused_for(container({{"rows", "r"}, {"hints", "h"}}, {.required = true}),
                            "section 'hints': expected a name that this build knows"));
}

TEST(ContainerWriter, refuses_calls_out_of_order_and_bad_names) {
    MemoryOutput output;
    EXPECT_THROW(ContainerWriter(output, ""), InvalidArgument);
    ContainerWriter writer(output, "avx2");
    EXPECT_THROW(writer.write("x", 1), InvalidState);
    EXPECT_THROW(writer.end(), InvalidState);
    for (const char* const name : {"", "sixteen-letters-", "two words", "\xC3\xA9"}) {
        EXPECT_THROW(writer.begin(name, {}), InvalidArgument) << name;
    }
    writer.begin("fifteen-letters", {});
    EXPECT_THROW(writer.begin("rows", {}), InvalidState);
    EXPECT_THROW(writer.finish(), InvalidState);
    writer.end();
    EXPECT_THROW(writer.begin("fifteen-letters", {}), InvalidArgument);
    writer.finish();
    EXPECT_THROW(writer.begin("rows", {}), InvalidState);
    EXPECT_THROW(writer.finish(), InvalidState);
}

TEST(ContainerReader, polls_while_it_verifies_and_stops_on_an_exception) {
    const std::string file = container({{"rows", std::string(9 << 20, 'r')}});
    int n_polls = 0;
    reader(file).verify_all([&] { ++n_polls; });
    EXPECT_GE(n_polls, 3);
    struct Stop {};
    EXPECT_THROW(reader(file).verify_all([] { throw Stop(); }), Stop);
}

TEST(Cursor, reads_fields_in_turn_and_refuses_to_run_over) {
    Fields fields;
    fields.put<uint64_t>(1ull << 40);
    fields.put_string("cosine");
    fields.put<int32_t>(-5);
    fields.put(0.5f);
    const auto bytes = std::span(static_cast<const std::byte*>(fields.data()), fields.size());
    Cursor cursor(bytes, "a.nearbit: section 'settings'");
    EXPECT_EQ(cursor.read<uint64_t>(), 1ull << 40);
    EXPECT_EQ(cursor.read_string(6), "cosine");
    EXPECT_EQ(cursor.read<int32_t>(), -5);
    EXPECT_THROW(cursor.expect_end(), CorruptFile);
    EXPECT_THROW(cursor.read<double>(), CorruptFile);
    EXPECT_EQ(cursor.remaining(), 4u);  // a refusal takes nothing
    EXPECT_EQ(cursor.read<float>(), 0.5f);
    EXPECT_NO_THROW(cursor.expect_end());
    EXPECT_THROW(cursor.read<uint8_t>(), CorruptFile);
}

TEST(Cursor, refuses_texts_longer_than_allowed_or_than_the_rest) {
    Fields fields;
    fields.put<uint32_t>(0xFFFFFFFF);
    fields.put<uint32_t>(0);
    const auto bytes = std::span(static_cast<const std::byte*>(fields.data()), fields.size());
    EXPECT_THROW(Cursor(bytes, "x").read_string(100), CorruptFile);
    EXPECT_THROW(Cursor(bytes, "x").read_string(SIZE_MAX), CorruptFile);
    EXPECT_THROW(Cursor(bytes, "x").read_bytes(SIZE_MAX), CorruptFile);
    try {
        Cursor(bytes, "x").read_string(100);
    } catch (const CorruptFile& error) {
        EXPECT_STREQ(error.what(), "x: expected a text of at most 100 bytes, got 4294967295");
    }
}

class Mappings : public ::testing::Test {
  protected:
    void SetUp() override {
        folder_ = std::filesystem::temp_directory_path() /
                  ("nearbit-mapping-" + std::to_string(std::random_device()()));
        std::filesystem::create_directory(folder_);
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    std::string file_of(const std::string& content) const {
        const std::string path = (folder_ / "file").string();
        std::ofstream(path, std::ios::binary) << content;
        return path;
    }

    static int error_of(const std::string& path) {
        int codes[2] = {0, 0};
        int* code = codes;
        for (const bool mapped : {true, false}) {
            try {
                mapped ? Mapping::open(path) : Mapping::read(path);
            } catch (const IoError& error) {
                EXPECT_EQ(error.path, path);
                EXPECT_EQ(std::string(error.what()).find(path), 0u);
                *code = error.code;
            }
            ++code;
        }
        EXPECT_EQ(codes[0], codes[1]);
        return codes[0];
    }

    std::filesystem::path folder_;
};

TEST_F(Mappings, show_the_bytes_of_the_file) {
    for (const size_t n : {0, 1, 4095, 4096, 4097, 10'000'000}) {
        std::string content(n, '\0');
        for (size_t i = 0; i < n; ++i) content[i] = static_cast<char>(i * 2654435761u >> 13);
        const std::string path = file_of(content);
        EXPECT_TRUE(as_text(Mapping::open(path)->bytes()) == content) << n;
        EXPECT_TRUE(as_text(Mapping::read(path)->bytes()) == content) << n;
    }
}

TEST_F(Mappings, refuse_what_is_not_a_readable_regular_file) {
    EXPECT_EQ(error_of((folder_ / "missing").string()), ENOENT);
    EXPECT_EQ(error_of(folder_.string()), EISDIR);
    EXPECT_EQ(error_of(""), ENOENT);
#ifndef _WIN32
    EXPECT_EQ(error_of("/dev/zero"), EINVAL);
    EXPECT_EQ(error_of(file_of("x") + "/below"), ENOTDIR);
#endif
}

TEST_F(Mappings, read_keeps_its_bytes_when_the_file_changes) {
    const std::string path = file_of("before");
    const auto mapping = Mapping::read(path);
    file_of("after!");
    EXPECT_EQ(as_text(mapping->bytes()), "before");
}

TEST_F(Mappings, read_polls_and_stops_on_an_exception) {
    const std::string path = file_of(std::string(9 << 20, 'x'));
    int n_polls = 0;
    Mapping::read(path, [&] { ++n_polls; });
    EXPECT_GE(n_polls, 3);
    struct Stop {};
    EXPECT_THROW(Mapping::read(path, [] { throw Stop(); }), Stop);
}

TEST_F(Mappings, read_refuses_a_file_that_is_cut_off_meanwhile) {
    const std::string path = file_of(std::string(9 << 20, 'x'));
    const auto truncate = [&] { std::filesystem::resize_file(path, 5 << 20); };
    EXPECT_THROW(Mapping::read(path, truncate), CorruptFile);
}

TEST_F(Mappings, discard_leaves_the_pages_around_it) {
    constexpr size_t kPage = 65536;  // or a multiple of one
    const std::string path = file_of(std::string(4 * kPage, 'x'));
    for (const auto& mapping : {Mapping::open(path), Mapping::read(path)}) {
        mapping->discard(mapping->bytes().subspan(kPage - 1, kPage + 2));
        mapping->discard(mapping->bytes().subspan(10, 20));
        EXPECT_EQ(as_text(mapping->bytes().first(kPage)), std::string(kPage, 'x'));
        EXPECT_EQ(as_text(mapping->bytes().subspan(2 * kPage)), std::string(2 * kPage, 'x'));
    }
    const auto memory = Mapping::read(path);
    memory->discard(memory->bytes());
    EXPECT_EQ(memory->bytes()[0], std::byte{0});  // its own pages went
}

}  // namespace
}  // namespace nearbit
