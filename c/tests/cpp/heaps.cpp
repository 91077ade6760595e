/* heaps.cpp - hakmem.hpp: containers of the standard library in private heaps.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive shared static
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_CHECKS=fast
#include "hakmem.hpp"
#include "test.h"

#include <algorithm>
#include <list>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

enum { LIMIT = 1 << 20 };

template <typename T> using vector = std::vector<T, hakmem::allocator<T>>;
using string = std::basic_string<char, std::char_traits<char>, hakmem::allocator<char>>;
using map = std::map<int, string, std::less<int>, hakmem::allocator<std::pair<const int, string>>>;

static uint64_t live(const hakmem::heap &heap) { return heap.stats().blocks_live; }

static uint64_t errors(void) {
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    return stats.errors;
}

static hakmem::heap limited(void) {
    hak_heap_options options = hak_heap_options();
    options.name = "limited";
    options.limit = LIMIT;
    return hakmem::heap(options);
}

/* ---- Containers ------------------------------------------------------------------------------ */

TEST(containers_are_in_their_heap_and_give_their_blocks_back) {
    hakmem::heap heap;
    {
        vector<int> numbers(heap);
        map texts((hakmem::allocator<int>(heap)));
        std::list<long, hakmem::allocator<long>> list(heap);
        for (int i = 0; i < 5000; i++) {
            numbers.push_back(i);
            texts.emplace(i, string(100, 'x', heap));
            list.push_front(i);
        }
        CHECK(hak_heap_of(numbers.data()) == heap.get());
        CHECK(hak_heap_of(texts.at(77).data()) == heap.get());
        CHECK_EQ(live(heap), 1 + 2 * 5000 + 5000);
        CHECK_EQ(std::count(numbers.begin(), numbers.end(), 4999), 1);
        CHECK_EQ(texts.at(4999).size(), 100);
        CHECK_EQ(list.front(), 4999);
    }
    CHECK_EQ(live(heap), 0);
    CHECK_EQ(errors(), 0);
}

TEST(hash_tables_and_short_strings_work) {
    hakmem::heap heap;
    using pair = std::pair<const string, int>;
    std::unordered_map<string, int, bool (*)(const string &), std::equal_to<string>,
                       hakmem::allocator<pair>>
        table(
            10, [](const string &key) { return key.size() % 2 != 0; }, {}, heap);
    for (int i = 0; i < 500; i++)
        table.emplace(string(static_cast<size_t>(i), 'k', heap), i);
    CHECK_EQ(table.at(string(3, 'k', heap)), 3);
    CHECK_EQ(table.at(string(499, 'k', heap)), 499);
}

TEST(without_a_heap_blocks_come_from_malloc) {
    vector<int> numbers(100, 7);
    CHECK(numbers.get_allocator().heap() == nullptr);
    CHECK(hak_heap_of(numbers.data()) == nullptr);
    CHECK_EQ(numbers[99], 7);
}

struct alignas(64) line {
    unsigned char bytes[64];
};
struct alignas(4096) page {
    unsigned char bytes[4096];
};
struct alignas(LIMIT) wide {
    unsigned char bytes[LIMIT];
};

template <typename T> static void check_aligned_type(const hakmem::heap &heap) {
    for (size_t count = 1; count < 200; count = count * 2 + 1) {
        AT("align count", alignof(T), count);
        vector<T> objects(count, T(), heap);
        CHECK_EQ((uintptr_t)HIDE(objects.data()) % alignof(T), 0);
        std::list<T, hakmem::allocator<T>> nodes(heap);
        nodes.push_back(T());
        CHECK_EQ((uintptr_t)HIDE(&nodes.front()) % alignof(T), 0);
    }
}

TEST(over_aligned_types_are_aligned) {
    hakmem::heap heap;
    check_aligned_type<char>(heap);
    check_aligned_type<line>(heap);
    check_aligned_type<page>(heap);
    hakmem::allocator<wide> allocator(heap);
    for (size_t count = 1; count < 4; count++) {
        wide *objects = allocator.allocate(count);
        CHECK_EQ((uintptr_t)HIDE(objects) % alignof(wide), 0);
        allocator.deallocate(objects, count);
    }
    CHECK_EQ(live(heap), 0);
    CHECK_EQ(errors(), 0);
}

/* ---- Heaps ----------------------------------------------------------------------------------- */

static uint64_t heaps_now(void) {
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    return stats.heaps_private;
}

TEST(a_heap_ends_with_its_last_owner_and_not_by_moves) {
    uint64_t before = heaps_now();
    {
        hakmem::heap a, b;
        hak_heap *first = a.get();
        hakmem::heap moved(std::move(a));
        CHECK(moved.get() == first);
        CHECK_EQ(heaps_now(), before + 2);
        b = std::move(moved);
        CHECK(b.get() == first);
        CHECK_EQ(heaps_now(), before + 1);
    }
    CHECK_EQ(heaps_now(), before);
    CHECK_EQ(errors(), 0);
}

TEST(forgotten_objects_end_with_their_heap_and_live_on_after_a_merge) {
    struct hak_stats before, after;
    hak_stats(&before, sizeof before);
    {
        hakmem::heap heap;
        new (hak_heap_malloc(heap.get(), sizeof(map))) map(hakmem::allocator<int>(heap));
        hakmem::allocator<int>(heap).allocate(1000);
        CHECK_EQ(live(heap), 2);
    }
    hak_stats(&after, sizeof after);
    CHECK_EQ(after.bytes_private, before.bytes_private);

    hakmem::heap heap;
    vector<int> numbers(1000, 7, heap);
    heap.merge();
    CHECK(heap.get() == nullptr);
    CHECK(hak_heap_of(numbers.data()) == nullptr);
    CHECK_EQ(std::count(numbers.begin(), numbers.end(), 7), 1000);
}

TEST(threads_use_one_heap_and_free_the_blocks_of_others) {
    hakmem::heap heap;
    std::vector<vector<string>> made(4, vector<string>(heap));
    std::vector<std::thread> threads;
    for (size_t t = 0; t < 4; t++)
        threads.emplace_back([&heap, &made, t] {
            for (size_t i = 0; i < 2000; i++)
                made[t].emplace_back(20 + i % 500, 'x', heap);
        });
    for (std::thread &thread : threads)
        thread.join();
    CHECK_EQ(live(heap), 4 * 2001);
    for (vector<string> &strings : made)
        CHECK_EQ(strings[1999].size(), 20 + 1999 % 500);
    std::thread([&made] { made.clear(); }).join();
    CHECK_EQ(live(heap), 0);
    CHECK_EQ(errors(), 0);
}

/* ---- Equality and propagation ---------------------------------------------------------------- */

TEST(allocators_are_equal_if_they_have_the_same_heap) {
    hakmem::heap a, b;
    hakmem::allocator<int> of_a(a), again(a), of_b(b), of_malloc;
    CHECK(of_a == again);
    CHECK(of_a == hakmem::allocator<char>(of_a));
    CHECK(of_a != of_b);
    CHECK(of_a != of_malloc);
    CHECK(of_malloc == hakmem::allocator<long>());
}

TEST(a_container_stays_in_its_heap_when_another_is_assigned) {
    hakmem::heap a, b;
    vector<int> source(1000, 7, a), copied(b), moved(b);
    copied = source;
    CHECK(hak_heap_of(copied.data()) == b.get());
    moved = std::move(source);
    CHECK(hak_heap_of(moved.data()) == b.get());
    CHECK_EQ(std::count(copied.begin(), copied.end(), 7), 1000);
    CHECK_EQ(std::count(moved.begin(), moved.end(), 7), 1000);

    vector<int> same(b);
    const int *data = moved.data();
    same = std::move(moved);
    CHECK(same.data() == data);
}

TEST(new_containers_have_the_heap_of_their_source_and_a_swap_exchanges_heaps) {
    hakmem::heap a, b;
    vector<int> in_a(1000, 1, a), in_b(1000, 2, b);
    vector<int> copy(in_a), moved(std::move(in_b));
    CHECK(hak_heap_of(copy.data()) == a.get());
    CHECK(hak_heap_of(moved.data()) == b.get());
    std::swap(copy, moved);
    CHECK(hak_heap_of(copy.data()) == b.get() && copy.get_allocator().heap() == b.get());
    CHECK(hak_heap_of(moved.data()) == a.get() && moved.get_allocator().heap() == a.get());
    CHECK_EQ(copy[999], 2);
    CHECK_EQ(moved[999], 1);
}

/* ---- Limits ---------------------------------------------------------------------------------- */

template <typename F> static const char *thrown(const F &function) {
    try {
        function();
    } catch (const std::length_error &) {
        return "length_error";
    } catch (const std::bad_alloc &) {
        return "bad_alloc";
    }
    return "nothing";
}

TEST(a_limit_throws_bad_alloc_and_leaves_the_container_as_it_was) {
    hakmem::heap heap = limited();
    vector<int> numbers(1000, 7, heap);
    CHECK_STR(thrown([&numbers] { numbers.reserve(LIMIT); }), "bad_alloc");
    CHECK_EQ(numbers.size(), 1000);
    CHECK_EQ(std::count(numbers.begin(), numbers.end(), 7), 1000);
    CHECK_STR(thrown([&numbers] { numbers.reserve(2000); }), "nothing");
    struct hak_heap_stats stats = heap.stats();
    CHECK_LE(1, stats.refused);
    CHECK_STR(stats.name, "limited");
    CHECK_STR(thrown([&heap] { vector<page>(LIMIT / 4096, page(), heap); }), "bad_alloc");
}

TEST(absurd_sizes_throw_length_error_or_bad_alloc) {
    hakmem::heap heap;
    vector<int> numbers(heap);
    string text(heap);
    CHECK_STR(thrown([&numbers] { numbers.reserve(HIDE(SIZE_MAX / 2)); }), "length_error");
    CHECK_STR(thrown([&text] { text.reserve(HIDE(SIZE_MAX)); }), "length_error");
    hakmem::allocator<long> longs(heap);
    CHECK_STR(thrown([&longs] { longs.allocate(HIDE(SIZE_MAX / 8 + 2)); }), "bad_alloc");
    CHECK_STR(thrown([&longs] { longs.allocate(HIDE((size_t)PTRDIFF_MAX / 8)); }), "bad_alloc");
    CHECK_EQ(live(heap), 0);
}

/* ---- std::pmr -------------------------------------------------------------------------------- */

#if defined(__cpp_lib_memory_resource)

TEST(pmr_containers_are_in_the_heap_with_their_elements) {
    hakmem::heap heap;
    hakmem::memory_resource resource(heap);
    {
        std::pmr::vector<std::pmr::string> texts(&resource);
        std::pmr::map<int, std::pmr::vector<line>> tree(&resource);
        for (int i = 0; i < 1000; i++) {
            texts.emplace_back(static_cast<size_t>(100 + i), 'x');
            tree[i].resize(3);
        }
        CHECK(hak_heap_of(texts.data()) == heap.get());
        CHECK(hak_heap_of(texts[999].data()) == heap.get());
        CHECK(hak_heap_of(tree[7].data()) == heap.get());
        CHECK_EQ((uintptr_t)HIDE(tree[7].data()) % alignof(line), 0);
        CHECK_EQ(texts[999].size(), 1099);
        CHECK_EQ(live(heap), 1 + 1000 + 2 * 1000);
    }
    CHECK_EQ(live(heap), 0);
    CHECK_EQ(errors(), 0);
}

TEST(a_resource_equals_itself_only_and_has_no_heap_by_default) {
    hakmem::heap heap;
    hakmem::memory_resource a(heap), b(heap), shared;
    CHECK(a == a);
    CHECK(a != b);
    CHECK(a != *std::pmr::new_delete_resource());
    CHECK(a.heap() == heap.get());
    std::pmr::string text(100, 'x', &shared);
    CHECK(hak_heap_of(text.data()) == nullptr);
    std::pmr::string moved(&a);
    moved = std::move(text);
    CHECK(hak_heap_of(moved.data()) == heap.get());
}

TEST(a_resource_throws_bad_alloc_at_the_limit_and_is_the_upstream_of_pools) {
    hakmem::heap heap = limited();
    hakmem::memory_resource resource(heap);
    CHECK_STR(thrown([&resource] { (void)resource.allocate(2 * LIMIT); }), "bad_alloc");
    std::pmr::monotonic_buffer_resource buffer(&resource);
    std::pmr::list<int> list(&buffer);
    CHECK_STR(thrown([&list] {
                  for (;;)
                      list.push_back(1);
              }),
              "bad_alloc");
    CHECK_LE(1000, list.size());
}

#endif
