// A forked child can use a filter that another thread of its parent was looking at.
#ifndef _WIN32

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>

#include "index/filter.h"

namespace nearbit {
namespace {

TEST(FilterFork, a_child_neither_waits_nor_remembers) {
    const Filter filter(std::vector<int64_t>{1, 2, 3});
    const int owner = 0;
    const Filter::State state{&owner, 1};
    filter.remember(state, std::make_shared<Admit>());
    std::atomic<bool> over{false};
    std::thread looking([&] {
        while (!over) filter.remembered(state);
    });
    for (int n = 0; n < 30; ++n) {
        const pid_t child = ::fork();
        if (child == 0) {
            ::alarm(10);
            ::_exit(filter.remembered(state) == nullptr ? 0 : 1);
        }
        int status = -1;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_EQ(status, 0) << "in child " << n;
        if (status != 0) break;
    }
    over = true;
    looking.join();
}

}  // namespace
}  // namespace nearbit

#endif
