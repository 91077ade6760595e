/* containers.cpp - the standard library's containers, threads and over-aligned types.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive preload shared static
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_GUARD_RATE=3 HAKMEM_GUARD_SLOTS=1000
#include "test.h"

#include <algorithm>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

TEST(containers_hold_what_was_put_in) {
    std::map<std::string, std::vector<int>> tree;
    std::unordered_map<int, std::string> table;
    std::list<std::shared_ptr<std::string>> list;
    std::deque<long> queue;
    for (int i = 0; i < 20000; i++) {
        tree[std::to_string(i)].assign((size_t)(i % 50), i);
        table[i] = std::string((size_t)(i % 200), 'x');
        list.push_back(std::make_shared<std::string>(std::to_string(i)));
        queue.push_back(i);
        if (i % 3 == 0)
            queue.pop_front();
    }
    CHECK_EQ(tree.size(), 20000);
    CHECK_EQ(tree["777"].size(), 27);
    CHECK_EQ(table[199].size(), 199);
    CHECK(*list.back() == "19999");
    CHECK_EQ(queue.back(), 19999);
    for (int i = 0; i < 20000; i += 2)
        table.erase(i);
    CHECK_EQ(table.size(), 10000);
}

TEST(strings_and_streams_grow) {
    std::ostringstream out;
    std::string text;
    for (int i = 0; i < 50000; i++) {
        out << i << ',';
        text += std::to_string(i) + ',';
    }
    CHECK(out.str() == text);
}

struct alignas(64) line {
    unsigned char bytes[64];
};
struct alignas(4096) page {
    unsigned char bytes[4096];
};

template <typename T> static void check_aligned_type() {
    for (size_t count = 1; count < 200; count = count * 2 + 1) {
        AT("align count", alignof(T), count);
        std::vector<T> vector(count);
        CHECK_EQ((uintptr_t)HIDE(vector.data()) % alignof(T), 0);
        std::unique_ptr<T> one(new T());
        CHECK_EQ((uintptr_t)HIDE(one.get()) % alignof(T), 0);
        T *array = new T[count];
        CHECK_EQ((uintptr_t)HIDE(array) % alignof(T), 0);
        delete[] array;
    }
}

TEST(types_aligned_to_64_bytes_are_aligned) { check_aligned_type<line>(); }
TEST(types_aligned_to_4096_bytes_are_aligned) { check_aligned_type<page>(); }

TEST(objects_travel_between_threads) {
    std::vector<std::thread> threads;
    std::vector<std::unique_ptr<std::map<int, std::string>>> maps(8);
    for (int t = 0; t < 8; t++)
        threads.emplace_back([t, &maps] {
            maps[(size_t)t] = std::make_unique<std::map<int, std::string>>();
            for (int i = 0; i < 2000; i++)
                (*maps[(size_t)t])[i] = std::to_string(i * t);
        });
    for (std::thread &thread : threads)
        thread.join();
    for (int t = 0; t < 8; t++)
        CHECK((*maps[(size_t)t])[1999] == std::to_string(1999 * t));
    maps.clear();
}

struct in_thread {
    std::string *text = new std::string(1000, 'x');
    ~in_thread() {
        delete text;
        std::vector<int> last(1000, 1);
        ended += last[999];
    }
    static int ended;
};
int in_thread::ended;
static thread_local in_thread of_thread;

TEST(destructors_of_thread_local_objects_may_allocate_and_free) {
    for (int i = 0; i < 100; i++)
        std::thread([] { of_thread.text->append("y"); }).join();
    CHECK_EQ(in_thread::ended, 100);
}

struct early {
    std::vector<int> numbers = std::vector<int>(1000, 7);
};
static early before_main;

TEST(objects_made_before_main_are_kept) {
    CHECK_EQ(std::count(before_main.numbers.begin(), before_main.numbers.end(), 7), 1000);
}
