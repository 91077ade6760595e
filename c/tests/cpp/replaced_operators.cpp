/* replaced_operators.cpp - a program that replaces some of the operators new and delete.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The standard defines the operators that are not replaced by those that are. The replaced ones put
 * a header before each block, so a block that ours free directly is reported.
 */
// link: archive preload shared static
// flags: -std=c++17 -fsized-deallocation -Wno-sized-deallocation -Wno-alloc-size-larger-than
// libs: -Wl,-u,_ZSt17__throw_bad_allocv -Wl,-u,_ZSt15get_new_handlerv
#include "test.h"

#include <cstdlib>
#include <new>

namespace {

constexpr std::size_t HEADER = 64, ABSURD = static_cast<std::size_t>(-1) / 4;
long live, live_aligned;

struct alignas(64) Aligned {
    char bytes[200];
};

struct Base {
    virtual ~Base() = default;
    char bytes[100];
};

struct Derived : Base {
    char more[3000];
};

} // namespace

void *operator new(std::size_t size) {
    char *block = size < ABSURD ? static_cast<char *>(std::malloc(size + HEADER)) : nullptr;
    if (block == nullptr)
        throw std::bad_alloc();
    live++;
    return block + HEADER;
}

void operator delete(void *ptr) noexcept {
    if (ptr == nullptr)
        return;
    live--;
    std::free(static_cast<char *>(ptr) - HEADER);
}

void *operator new(std::size_t size, std::align_val_t align) {
    auto alignment = static_cast<std::size_t>(align);
    if (size >= ABSURD)
        throw std::bad_alloc();
    live_aligned++;
    return static_cast<char *>(std::aligned_alloc(alignment, size + HEADER)) + HEADER;
}

void operator delete(void *ptr, std::align_val_t) noexcept {
    if (ptr == nullptr)
        return;
    live_aligned--;
    std::free(static_cast<char *>(ptr) - HEADER);
}

TEST(sized_delete_calls_the_replaced_delete) {
    Base *base = HIDE(new Derived);
    CHECK_EQ(live, 1);
    delete base;
    ::operator delete (HIDE(::operator new(100)), std::size_t{100});
    CHECK_EQ(live, 0);
}

TEST(array_forms_call_the_replaced_operators) {
    int *numbers = HIDE(new int[500]);
    CHECK_EQ(live, 1);
    delete[] numbers;
    ::operator delete[](HIDE(::operator new[](100)), std::size_t{100});
    CHECK_EQ(live, 0);
}

TEST(nothrow_forms_call_the_replaced_operators_and_catch) {
    void *block = ::operator new(100, std::nothrow);
    void *array = ::operator new[](100, std::nothrow);
    CHECK_EQ(live, 2);
    ::operator delete(block, std::nothrow);
    ::operator delete[](array, std::nothrow);
    CHECK_EQ(live, 0);
    CHECK(HIDE(::operator new(ABSURD, std::nothrow)) == nullptr);
    CHECK(::operator new[](ABSURD, std::nothrow) == nullptr);
    CHECK(::operator new (ABSURD, std::align_val_t{64}, std::nothrow) == nullptr);
    CHECK(::operator new[](ABSURD, std::align_val_t{64}, std::nothrow) == nullptr);
}

TEST(aligned_forms_call_the_replaced_aligned_operators) {
    Aligned *one = HIDE(new Aligned), *many = HIDE(new Aligned[3]);
    void *block = ::operator new[](100, std::align_val_t{64}, std::nothrow);
    CHECK_EQ(live_aligned, 3);
    delete one;
    delete[] many;
    ::operator delete[](block, std::align_val_t{64}, std::nothrow);
    ::operator delete[](HIDE(::operator new[](100, std::align_val_t{64})), std::size_t{100},
                        std::align_val_t{64});
    CHECK_EQ(live_aligned, 0);
    CHECK_EQ(live, 0);
}
