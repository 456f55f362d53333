// Small fields of a section, one after the other: written by Fields, read by Cursor.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace nearbit {

// Numbers alone: a bool or an enum read from a file may have no such value.
template <class T>
concept Number = std::is_arithmetic_v<T> && !std::same_as<T, bool>;

class Fields {
  public:
    template <Number T>
    void put(T value) {
        bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    void put_string(std::string_view text) {
        put(static_cast<uint32_t>(text.size()));
        put_bytes(text);
    }
    void put_bytes(std::string_view bytes) { bytes_.append(bytes); }
    const void* data() const { return bytes_.data(); }
    size_t size() const { return bytes_.size(); }

  private:
    std::string bytes_;
};

// Refuses, as CorruptFile, to read beyond its bytes.
class Cursor {
  public:
    // `where` begins each message, such as "corpus.nearbit: section 'settings'".
    Cursor(std::span<const std::byte> bytes, std::string where)
        : rest_(bytes), where_(std::move(where)) {}

    template <Number T>
    T read() {
        T value;
        std::memcpy(&value, read_bytes(sizeof value).data(), sizeof value);
        return value;
    }
    std::string read_string(size_t max_bytes) {
        const size_t n_bytes = read<uint32_t>();
        if (n_bytes > max_bytes) {
            refuse("expected a text of at most " + std::to_string(max_bytes) + " bytes, got " +
                   std::to_string(n_bytes));
        }
        const auto text = read_bytes(n_bytes);
        return std::string(reinterpret_cast<const char*>(text.data()), n_bytes);
    }
    std::span<const std::byte> read_bytes(size_t n_bytes) {
        if (n_bytes > rest_.size()) {
            refuse("expected " + std::to_string(n_bytes) + " more bytes, got " +
                   std::to_string(rest_.size()));
        }
        const auto bytes = rest_.first(n_bytes);
        rest_ = rest_.subspan(n_bytes);
        return bytes;
    }
    size_t remaining() const { return rest_.size(); }
    void expect_end() const {
        if (!rest_.empty()) {
            refuse("expected its end, got " + std::to_string(rest_.size()) + " more bytes");
        }
    }
    [[noreturn]] void refuse(const std::string& text) const {
        throw CorruptFile(where_ + ": " + text);
    }

  private:
    std::span<const std::byte> rest_;
    std::string where_;
};

}  // namespace nearbit
