#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#ifndef _WIN32
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#endif

#include "base/error.h"
#include "files/atomic_file.h"
#include "files/reader.h"
#include "files/writer.h"

namespace nearbit {
namespace {

namespace fs = std::filesystem;

// One operation as it was asked for. Files are known by the name they were created with.
struct Operation {
    enum Kind { kCreate, kWrite, kSync, kClose, kRename, kSyncFolder, kRemove };
    Kind kind;
    std::string path;
    std::string text;  // what is written, or the new name
};

// Does what it is asked, notes it, and fails one operation if told so.
class RecordingOps final : public FileOps {
  public:
    std::vector<Operation> operations;
    size_t failing = SIZE_MAX;  // index in operations
    int code = 0;
    int n_taken_names = 0;  // so many creations meet a file of that name

    int create(const std::string& path, const std::string& like, int* file) override {
        if (n_taken_names-- > 0) return EEXIST;
        if (note({Operation::kCreate, path, ""})) return code;
        const int result = system_.create(path, like, file);
        names_[*file] = path;
        return result;
    }
    int write(int file, const void* data, size_t n_bytes) override {
        const bool fails = note({Operation::kWrite, names_[file],
                                 std::string(static_cast<const char*>(data), n_bytes)});
        const int result = system_.write(file, data, fails ? n_bytes / 2 : n_bytes);
        return fails ? code : result;
    }
    int sync(int file) override {
        return note({Operation::kSync, names_[file], ""}) ? code : system_.sync(file);
    }
    int close(int file) override {
        const bool fails = note({Operation::kClose, names_[file], ""});
        const int result = system_.close(file);
        return fails ? code : result;
    }
    int rename(const std::string& from, const std::string& to) override {
        return note({Operation::kRename, from, to}) ? code : system_.rename(from, to);
    }
    int sync_folder(const std::string& folder) override {
        return note({Operation::kSyncFolder, folder, ""}) ? code : system_.sync_folder(folder);
    }
    int remove(const std::string& path) override {
        return note({Operation::kRemove, path, ""}) ? code : system_.remove(path);
    }

  private:
    bool note(Operation operation) {
        operations.push_back(std::move(operation));
        return operations.size() - 1 == failing;
    }

    FileOps& system_ = system_file_ops();
    std::map<int, std::string> names_;
};

using Content = std::optional<std::string>;  // nothing: no file

// All that a file's data may be after a crash: what was synced, and of the writes since then any
// one part, with zero bytes for what is missing below the length that it reached.
std::set<std::string> data_after_crash(std::span<const Operation> operations,
                                       const std::string& file) {
    std::string synced;
    std::vector<std::string> pending;
    for (const Operation& operation : operations) {
        if (operation.path != file) continue;
        if (operation.kind == Operation::kWrite) pending.push_back(operation.text);
        if (operation.kind != Operation::kSync) continue;
        for (const std::string& text : pending) synced += text;
        pending.clear();
    }
    std::set<std::string> outcomes = {synced};
    std::string in_order = synced, zeros = synced;
    for (const std::string& text : pending) {
        outcomes.insert(in_order + text.substr(0, text.size() / 2));
        outcomes.insert(zeros + text);
        in_order += text;
        zeros += std::string(text.size(), '\0');
        outcomes.insert(in_order);
        outcomes.insert(zeros);
    }
    return outcomes;
}

// All that the target may be when the machine stops after these operations: of the changes to the
// folder since it was last synced each may have come to the disk or not.
std::set<Content> target_after_crash(std::span<const Operation> operations,
                                     const std::string& target, const Content& old) {
    std::vector<std::string> renamed;  // to the target, not synced
    std::optional<std::string> durable;
    for (const Operation& operation : operations) {
        if (operation.kind == Operation::kRename && operation.text == target) {
            renamed.push_back(operation.path);
        }
        if (operation.kind == Operation::kSyncFolder && !renamed.empty() &&
            operation.path == fs::path(target).parent_path().string()) {
            durable = renamed.back();
            renamed.clear();
        }
    }
    std::set<Content> outcomes;
    if (!durable) outcomes.insert(old);
    if (durable) renamed.push_back(*durable);
    for (const std::string& file : renamed) {
        for (const std::string& data : data_after_crash(operations, file)) outcomes.insert(data);
    }
    return outcomes;
}

class AtomicFiles : public ::testing::Test {
  protected:
    void SetUp() override {
        folder_ = fs::canonical(fs::temp_directory_path()) /
                  ("nearbit-atomic-" + std::to_string(std::random_device()()));
        fs::create_directory(folder_);
        target_ = (folder_ / "a.nearbit").string();
    }
    void TearDown() override { fs::remove_all(folder_); }

    static Content content_of(const fs::path& path) {
        std::ifstream file(path, std::ios::binary);
        if (!file) return std::nullopt;
        return std::string(std::istreambuf_iterator<char>(file), {});
    }

    static void put(const fs::path& path, const std::string& content) {
        std::ofstream(path, std::ios::binary) << content;
    }

    static void replace(const std::string& path, const std::string& content,
                        FileOps& ops = system_file_ops()) {
        AtomicFile file(path, ops);
        file.write(content.data(), content.size());
        file.commit();
    }

    // A container whose sections make for buffered, full and direct writes.
    static void save(Output& output) {
        static const std::string rows(1'300'000, 'r'), ids(700'000, 'i');
        ContainerWriter writer(output, "avx2");
        for (const auto& [name, content] : {std::pair("ids", &ids), std::pair("more-ids", &ids),
                                            std::pair("rows", &rows), std::pair("end", &ids)}) {
            writer.begin(name, {.required = false});
            writer.write(content->data(), content->size());
            writer.end();
        }
        writer.finish();
    }

    static std::string saved() {
        MemoryOutput output;
        save(output);
        return output.bytes;
    }

    size_t n_files() const {
        return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), {}));
    }

    static IoError error_of(const std::string& path) {
        try {
            replace(path, "new");
        } catch (const IoError& error) {
            EXPECT_EQ(error.path, path);
            EXPECT_EQ(std::string(error.what()).find(path + ": cannot "), 0u) << error.what();
            return error;
        }
        return IoError(0, "", "");
    }

    fs::path folder_;
    std::string target_;
};

TEST_F(AtomicFiles, hold_what_was_written) {
    for (const size_t n : {0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5'000'000}) {
        replace(target_, std::string(n, 'n'));
        EXPECT_TRUE(content_of(target_) == std::string(n, 'n')) << n;
    }
    {
        AtomicFile file(target_);
        save(file);
        file.commit();
    }
    EXPECT_TRUE(content_of(target_) == saved());
    EXPECT_EQ(n_files(), 1u);
}

TEST_F(AtomicFiles, keep_the_order_of_small_and_large_writes) {
    std::string content;
    AtomicFile file(target_);
    for (const size_t n :
         {3, 1 << 20, 700'000, 700'000, 5, (1 << 20) + 7, 0, 9, (1 << 20) - 9, 1}) {
        const std::string piece(n, static_cast<char>('a' + content.size() % 23));
        file.write(piece.data(), n);
        content += piece;
    }
    file.commit();
    EXPECT_TRUE(content_of(target_) == content);
}

TEST_F(AtomicFiles, leave_the_target_as_it_was_until_the_commit) {
    put(target_, "old");
    {
        AtomicFile file(target_);
        save(file);
        EXPECT_EQ(content_of(target_), "old");
        EXPECT_EQ(n_files(), 2u);
    }
    EXPECT_EQ(content_of(target_), "old");
    EXPECT_EQ(n_files(), 1u);
}

TEST_F(AtomicFiles, leave_nothing_behind_when_the_writer_throws) {
    const auto interrupted = [&] {
        AtomicFile file(target_);
        ContainerWriter writer(file, "avx2");
        writer.begin("rows", {});
        const std::string rows(3 << 20, 'r');
        writer.write(rows.data(), rows.size());
        throw std::runtime_error("interrupted");
    };
    EXPECT_THROW(interrupted(), std::runtime_error);
    EXPECT_EQ(n_files(), 0u);
}

TEST_F(AtomicFiles, are_old_or_new_after_a_crash_at_any_point) {
    const Content whole = saved();
    for (const Content& old : {Content(), Content("old")}) {
        if (old) put(target_, *old);
        RecordingOps ops;
        {
            AtomicFile file(target_, ops);
            save(file);
            file.commit();
        }
        for (size_t n = 0; n <= ops.operations.size(); ++n) {
            const auto prefix = std::span(ops.operations).first(n);
            for (const Content& outcome : target_after_crash(prefix, target_, old)) {
                EXPECT_TRUE(outcome == old || outcome == whole) << "after " << n << " operations";
            }
        }
        EXPECT_TRUE(target_after_crash(ops.operations, target_, old) == std::set{whole})
            << "a committed file must last";
        fs::remove(target_);
    }
}

// The test above must be able to fail: it does if a sync is left out.
TEST_F(AtomicFiles, would_be_torn_or_lost_without_the_syncs) {
    RecordingOps ops;
    {
        AtomicFile file(target_, ops);
        save(file);
        file.commit();
    }
    const auto outcomes_without = [&](Operation::Kind kind) {
        auto rest = ops.operations;
        std::erase_if(rest, [&](const Operation& operation) { return operation.kind == kind; });
        return target_after_crash(rest, target_, "old");
    };
    EXPECT_TRUE(outcomes_without(Operation::kSync).contains(""));
    EXPECT_FALSE(outcomes_without(Operation::kSync).contains("old"));
    EXPECT_TRUE(outcomes_without(Operation::kSyncFolder).contains("old"));
}

TEST_F(AtomicFiles, survive_the_failure_of_each_operation) {
    size_t n_operations = 0;
    {
        RecordingOps ops;
        AtomicFile file(target_, ops);
        save(file);
        file.commit();
        n_operations = ops.operations.size();
    }
    ASSERT_GE(n_operations, 9u);  // create, several writes, sync, close, rename, sync of the folder
    for (size_t failing = 0; failing < n_operations; ++failing) {
        for (const int code : {ENOSPC, EIO}) {
            put(target_, "old");
            RecordingOps ops;
            ops.failing = failing;
            ops.code = code;
            try {
                AtomicFile file(target_, ops);
                save(file);
                file.commit();
                ADD_FAILURE() << "operation " << failing << " failed and nothing was thrown";
            } catch (const IoError& error) {
                EXPECT_EQ(error.code, code);
                EXPECT_EQ(error.path, target_);
                EXPECT_EQ(std::string(error.what()).find(target_ + ": cannot "), 0u);
            }
            // After the rename nothing can be taken back: the new file, whole.
            const bool renamed = failing + 1 == n_operations;
            EXPECT_TRUE(content_of(target_) == (renamed ? saved() : "old")) << failing;
            EXPECT_EQ(n_files(), 1u) << failing;
        }
    }
}

TEST_F(AtomicFiles, take_another_name_where_one_is_taken) {
    RecordingOps ops;
    ops.n_taken_names = 3;
    replace(target_, "new", ops);
    EXPECT_EQ(content_of(target_), "new");
    ops.n_taken_names = 1'000'000;
    EXPECT_THROW(replace(target_, "newer", ops), IoError);
    EXPECT_EQ(content_of(target_), "new");
}

TEST_F(AtomicFiles, beside_each_other_leave_the_last_one_committed) {
    AtomicFile first(target_), second(target_);
    first.write("first", 5);
    second.write("second", 6);
    second.commit();
    first.commit();
    EXPECT_EQ(content_of(target_), "first");
    EXPECT_EQ(n_files(), 1u);
}

TEST_F(AtomicFiles, refuse_at_once_what_cannot_be_replaced) {
    EXPECT_EQ(error_of(folder_.string()).code, EISDIR);
    EXPECT_EQ(error_of((folder_ / "missing" / "a").string()).code, ENOENT);
    EXPECT_EQ(error_of("").code, ENOENT);
    put(target_, "old");
    EXPECT_EQ(error_of(target_ + "/below").code, ENOTDIR);
    EXPECT_EQ(error_of((folder_ / std::string(300, 'n')).string()).code, ENAMETOOLONG);
    EXPECT_EQ(n_files(), 1u);
}

TEST_F(AtomicFiles, go_where_the_path_led_at_first) {
    const fs::path before = fs::current_path();
    fs::create_directory(folder_ / "other");
    fs::current_path(folder_);
    AtomicFile file("a.nearbit");
    fs::current_path(folder_ / "other");
    file.write("new", 3);
    file.commit();
    fs::current_path(before);
    EXPECT_EQ(content_of(target_), "new");
}

#ifndef _WIN32

TEST_F(AtomicFiles, replace_what_a_link_points_at) {
    fs::create_directory(folder_ / "links");
    const fs::path link = folder_ / "links" / "link";
    fs::create_symlink("../a.nearbit", link);  // dangling at first
    for (const std::string content : {"new", "newer"}) {
        replace(link.string(), content);
        EXPECT_TRUE(fs::is_symlink(link));
        EXPECT_FALSE(fs::is_symlink(target_));
        EXPECT_EQ(content_of(target_), content);
    }
    const fs::path to_link = folder_ / "to-link", loop = folder_ / "loop";
    fs::create_symlink(link, to_link);
    replace(to_link.string(), "newest");
    EXPECT_EQ(content_of(target_), "newest");
    fs::create_symlink(loop, loop);
    EXPECT_EQ(error_of(loop.string()).code, ELOOP);
    EXPECT_TRUE(fs::is_symlink(loop));
}

TEST_F(AtomicFiles, refuse_a_pipe) {
    ASSERT_EQ(::mkfifo(target_.c_str(), 0600), 0);
    EXPECT_EQ(error_of(target_).code, EINVAL);
    EXPECT_EQ(fs::status(target_).type(), fs::file_type::fifo);
}

TEST_F(AtomicFiles, have_the_permissions_of_the_file_replaced_or_the_umask) {
    const mode_t before = ::umask(027);
    const auto mode_after = [&](std::optional<mode_t> old) {
        fs::remove(target_);
        if (old) {
            put(target_, "old");
            ::chmod(target_.c_str(), *old);
        }
        replace(target_, "new");
        return static_cast<unsigned>(fs::status(target_).permissions());
    };
    EXPECT_EQ(mode_after(std::nullopt), 0640u);
    EXPECT_EQ(mode_after(0600), 0600u);
    EXPECT_EQ(mode_after(0666), 0666u);
    EXPECT_EQ(mode_after(0444), 0444u);
    ::umask(before);
}

TEST_F(AtomicFiles, keep_the_old_file_when_the_system_refuses_to_write_on) {
    put(target_, "old");
    rlimit before;
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {1'500'000, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    int code = 0;
    try {
        AtomicFile file(target_);
        save(file);
        file.commit();
    } catch (const IoError& error) {
        code = error.code;
    }
    ::setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    EXPECT_EQ(code, EFBIG);
    EXPECT_EQ(content_of(target_), "old");
    EXPECT_EQ(n_files(), 1u);
}

#endif  // _WIN32

}  // namespace
}  // namespace nearbit
