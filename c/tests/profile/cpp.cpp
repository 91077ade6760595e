/* profile/cpp.cpp - blocks of the C++ operators are sampled.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive shared
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "profile.h"

struct alignas(256) Aligned {
    char bytes[512];
};

struct Plain {
    char bytes[300];
};

/* A template, so that the compiler cannot know the pointer and remove new and delete. */
template <typename T> static T *keep(T *pointer) {
    __asm__ volatile("" : "+r"(pointer) : : "memory");
    return pointer;
}

TEST(new_and_delete_are_sampled_in_all_their_forms) {
    profile_start(1);
    uint64_t before = profile_in_use(nullptr);
    Plain *plain = keep(new Plain);
    CHECK_EQ(profile_in_use(nullptr) - before, sizeof(Plain));
    Aligned *aligned = keep(new Aligned);
    CHECK_EQ(reinterpret_cast<uintptr_t>(aligned) % alignof(Aligned), 0u);
    CHECK_EQ(profile_in_use(nullptr) - before, sizeof(Plain) + sizeof(Aligned));
    Plain *array = keep(new (std::nothrow) Plain[10]);
    CHECK_EQ(profile_in_use(nullptr) - before, 11 * sizeof(Plain) + sizeof(Aligned));
    delete plain;
    delete aligned;
    delete[] array;
    CHECK_EQ(profile_in_use(nullptr), before);
    hak_profile_stop();
}

TEST(malloc_and_containers_are_sampled) {
    profile_start(1);
    uint64_t before = profile_in_use(nullptr);
    void *block = keep(std::malloc(123));
    CHECK_EQ(profile_in_use(nullptr) - before, 123u);
    {
        std::vector<char> bytes(100000);
        keep(bytes.data());
        CHECK_EQ(profile_in_use(nullptr) - before, 100123u);
    }
    std::free(block);
    CHECK_EQ(profile_in_use(nullptr), before);
    hak_profile_stop();
    CHECK_EQ(hak_validate(), 0u);
}
