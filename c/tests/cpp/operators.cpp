/* operators.cpp - operators new and delete in all their forms.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive preload shared static
// flags: -Wno-alloc-size-larger-than -Wno-use-after-free -fsized-deallocation
// A static executable links only referenced parts of libstdc++. The archive's references are weak.
// libs: -Wl,-u,_ZSt17__throw_bad_allocv -Wl,-u,_ZSt15get_new_handlerv
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_GUARD_RATE=3 HAKMEM_GUARD_SLOTS=1000
#include "test.h"

#include <exception>
#include <malloc.h>
#include <new>

/* Defined if the library is linked, but not if it is only preloaded. */
extern "C" size_t hak_usable_size(const void *ptr) noexcept __attribute__((weak));

static const size_t sizes[] = {0, 1, 8, 16, 17, 100, 1024, 5000, 60000, 300000, 5000000};
static const size_t aligns[] = {1, 8, 16, 32, 64, 256, 4096, 65536, 2097152};

static void use(void *p, size_t size, size_t align) {
    AT("size align", size, align);
    REQUIRE(p);
    CHECK_EQ((uintptr_t)HIDE(p) % align, 0);
    /* libstdc++'s operators would use malloc, too, but then hakmem would not know the block. */
    if (hak_usable_size)
        CHECK_GE(hak_usable_size(p), size);
    CHECK_GE(malloc_usable_size(p), size);
    memset(p, 1, size);
}

TEST(plain_forms_allocate_and_free) {
    for (size_t size : sizes) {
        void *p = ::operator new(size), *q = ::operator new[](size);
        use(p, size, 16);
        use(q, size, 16);
        ::operator delete(p);
        ::operator delete[](q);
        ::operator delete(::operator new(size), size);
        ::operator delete[](::operator new[](size), size);
        ::operator delete(::operator new(size), std::nothrow);
        ::operator delete[](::operator new[](size), std::nothrow);
    }
}

TEST(nothrow_forms_allocate_and_free) {
    for (size_t size : sizes) {
        void *p = ::operator new(size, std::nothrow), *q = ::operator new[](size, std::nothrow);
        use(p, size, 16);
        use(q, size, 16);
        ::operator delete(p, std::nothrow);
        ::operator delete[](q, std::nothrow);
    }
}

TEST(aligned_forms_allocate_and_free) {
    for (size_t size : sizes)
        for (size_t align : aligns) {
            std::align_val_t a{align};
            void *p = ::operator new(size, a), *q = ::operator new[](size, a);
            use(p, size, align);
            use(q, size, align);
            ::operator delete(p, a);
            ::operator delete[](q, a);
            p = ::operator new(size, a, std::nothrow);
            q = ::operator new[](size, a, std::nothrow);
            use(p, size, align);
            use(q, size, align);
            ::operator delete(p, size, a);
            ::operator delete[](q, size, a);
            ::operator delete(::operator new(size, a), a, std::nothrow);
            ::operator delete[](::operator new[](size, a), a, std::nothrow);
        }
}

TEST(deleting_null_does_nothing) {
    void *null = HIDE((void *)nullptr);
    ::operator delete(null);
    ::operator delete[](null);
    ::operator delete(null, (size_t)8);
    ::operator delete[](null, (size_t)8);
    ::operator delete (null, std::align_val_t{64});
    ::operator delete[](null, std::align_val_t{64});
    ::operator delete (null, (size_t)8, std::align_val_t{64});
    ::operator delete(null, std::nothrow);
}

static size_t absurd(void) { return HIDE((size_t)PTRDIFF_MAX); }

template <typename Allocate> static bool throws_bad_alloc(Allocate allocate) {
    try {
        void *p = allocate();
        __asm__ volatile("" : : "r"(p));
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

TEST(absurd_sizes_throw_bad_alloc) {
    std::align_val_t a{64};
    CHECK(throws_bad_alloc([] { return ::operator new(absurd()); }));
    CHECK(throws_bad_alloc([] { return ::operator new[](absurd()); }));
    CHECK(throws_bad_alloc([a] { return ::operator new(absurd(), a); }));
    CHECK(throws_bad_alloc([a] { return ::operator new[](absurd(), a); }));
    CHECK(throws_bad_alloc([] { return ::operator new(HIDE(SIZE_MAX)); }));
}

TEST(absurd_sizes_give_null_from_nothrow_forms) {
    std::align_val_t a{64};
    CHECK(!::operator new(absurd(), std::nothrow));
    CHECK(!::operator new[](absurd(), std::nothrow));
    CHECK(!::operator new(absurd(), a, std::nothrow));
    CHECK(!::operator new[](absurd(), a, std::nothrow));
}

static unsigned handled;

/* Gives up at the third call. Without a handler, new throws. */
static void count_and_give_up() {
    if (++handled == 3)
        std::set_new_handler(nullptr);
}

TEST(the_new_handler_is_called_until_it_gives_up) {
    handled = 0;
    std::set_new_handler(count_and_give_up);
    CHECK(throws_bad_alloc([] { return ::operator new(absurd()); }));
    CHECK_EQ(handled, 3);
    handled = 0;
    std::set_new_handler(count_and_give_up);
    CHECK(!::operator new(absurd(), std::nothrow));
    CHECK_EQ(handled, 3);
    CHECK(std::get_new_handler() == nullptr);
}

struct out_of_patience {};
static void throw_own() { throw out_of_patience(); }

TEST(an_exception_of_the_new_handler_passes_through) {
    std::set_new_handler(throw_own);
    bool caught = false;
    try {
        ::operator delete(::operator new(absurd()));
    } catch (const out_of_patience &) {
        caught = true;
    }
    std::set_new_handler(nullptr);
    CHECK(caught);
}

static unsigned destroyed;

struct counted {
    ~counted() { destroyed++; }
};
static void throw_through_frames() {
    counted local;
    if (HIDE(1))
        throw out_of_patience();
}

/* An exception that escapes from here would end the program. */
static void *new_noexcept(size_t size) noexcept { return ::operator new(size, std::nothrow); }

TEST(nothrow_forms_give_null_when_the_new_handler_throws) {
    std::align_val_t a{64};
    destroyed = 0;
    std::set_new_handler(throw_through_frames);
    CHECK(!::operator new(absurd(), std::nothrow));
    CHECK(!::operator new[](absurd(), std::nothrow));
    CHECK(!::operator new(absurd(), a, std::nothrow));
    CHECK(!::operator new[](absurd(), a, std::nothrow));
    CHECK(!new_noexcept(absurd()));
    std::set_new_handler(throw_own);
    for (int i = 0; i < 1000; i++)
        CHECK(!new_noexcept(absurd()));
    std::set_new_handler([] { throw std::bad_alloc(); });
    CHECK(!new_noexcept(absurd()));
    std::set_new_handler([] { throw 7; });
    CHECK(!new_noexcept(absurd()));
    std::set_new_handler(nullptr);
    CHECK_EQ(destroyed, 5);
    CHECK(!std::current_exception());
}

TEST(nothrow_forms_keep_an_exception_that_is_being_handled) {
    std::set_new_handler(throw_own);
    int caught = 0;
    try {
        throw 42;
    } catch (int value) {
        CHECK(!new_noexcept(absurd()));
        caught = value;
        try {
            throw;
        } catch (int again) {
            caught += again;
        }
    }
    std::set_new_handler(nullptr);
    CHECK_EQ(caught, 84);
}

TEST(malloc_and_new_share_the_heap) {
    free(::operator new(100));
    ::operator delete(malloc(100));
    void *p = realloc(::operator new(100), 100000);
    CHECK(p);
    ::operator delete(p);
}
