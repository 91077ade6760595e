// thread_local.cpp - destructors of thread_local objects allocate and free.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
// variant: HAKMEM_CHECKS=1
#include "test.h"

#include <hakmem.h>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

unsigned ended; // atomic

struct worker {
    std::vector<std::string> lines;
    std::unique_ptr<char[]> large;
    ~worker() {
        std::vector<std::string> more(100, std::string(200, 'x'));
        more.swap(lines);
        large.reset(new char[3 << 20]);
        large[0] = 1;
        __atomic_fetch_add(&ended, 1, __ATOMIC_RELAXED);
    }
};

thread_local worker first;
thread_local std::string second;

void work(bool early) {
    if (early) {
        first.lines.assign(50, std::string(100, 'y'));
        second.assign(5000, 'z');
    } else {
        (void)&first; // creates it, but nothing is allocated before thread exit
        first.large.reset();
    }
}

} // namespace

TEST(destructors_of_thread_local_objects_may_allocate_and_free) {
    enum { THREADS = 600, SETTLED = 100 };
    size_t before = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        std::thread(work, i % 2 == 0).join();
        if (i == SETTLED)
            before = test_rss();
    }
    CHECK_EQ(ended, THREADS);
    CHECK_LE(test_rss(), before + (2 << 20));
    CHECK_EQ(hak_validate(), 0);
}
