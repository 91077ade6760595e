/* hakmem.hpp - private heaps for the containers of C++.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * hakmem::heap           owns a private heap (C++11)
 * hakmem::allocator      the allocator parameter of containers (C++11)
 * hakmem::memory_resource  for the containers of std::pmr (C++17)
 *
 *     hakmem::heap request;
 *     std::vector<int, hakmem::allocator<int>> numbers(request);
 *     hakmem::memory_resource resource(request);
 *     std::pmr::string text(&resource);
 *
 * All of it is in this header, and calls the functions of hakmem.h. Blocks that the containers give
 * back are freed singly, by any thread. The end of a heap frees all others without calling
 * destructors, and then no container may use its blocks any more. So declare a heap before the
 * containers that use it. Sizes are in bytes.
 *
 * Allocators and resources without a heap use the heaps of malloc. If memory is exhausted, or the
 * limit of the heap refuses, they throw std::bad_alloc, or abort where exceptions are disabled. A
 * new-handler is not called. Requests above the max_size of a container throw std::length_error.
 */
#ifndef HAKMEM_HPP
#define HAKMEM_HPP

#if !defined(__cplusplus) || __cplusplus < 201103L
#error "hakmem.hpp needs C++11. The functions of hakmem.h need only C++98."
#endif

#include "hakmem.h"

#include <cstddef>
#include <cstdlib>
#include <new>
#include <type_traits>

#if __cplusplus >= 201703L && defined(__has_include)
#if __has_include(<memory_resource>)
#include <memory_resource>
#endif
#endif

namespace hakmem {

/* ---- Details --------------------------------------------------------------------------------- */

namespace detail {

constexpr std::size_t malloc_align = 16;

#if defined(__cpp_exceptions)
[[noreturn]] inline void fail() { throw std::bad_alloc(); }
#else
[[noreturn]] inline void fail() { std::abort(); }
#endif

inline void *allocate(hak_heap *heap, std::size_t bytes, std::size_t align) {
    void *block = align > malloc_align ? hak_heap_aligned_alloc(heap, align, bytes)
                                       : hak_heap_malloc(heap, bytes);
    if (block == nullptr)
        fail();
    return block;
}

/* Any heap. The size shows mistakes. */
inline void deallocate(void *block, std::size_t bytes, std::size_t align) noexcept {
    if (align > malloc_align)
        hak_free_aligned_sized(block, align, bytes);
    else
        hak_free_sized(block, bytes);
}

} // namespace detail

/* ---- Heaps ----------------------------------------------------------------------------------- */

/* Owns a private heap, which ends with this object. It can be moved but not copied. Any number of
 * threads may allocate from the heap. The program makes sure that no other thread uses the heap or
 * its blocks when the object is destroyed or assigned to. */
class heap {
  public:
    /* A heap without a limit. */
    heap() : heap(hak_heap_options()) {}

    /* A heap with these options, see hakmem.h. */
    explicit heap(const hak_heap_options &options)
        : heap_(hak_heap_new(&options, sizeof(options))) {
        if (heap_ == nullptr)
            detail::fail();
    }

    heap(heap &&other) noexcept : heap_(other.release()) {}
    heap &operator=(heap &&other) noexcept {
        if (this != &other) {
            hak_heap_destroy(heap_);
            heap_ = other.release();
        }
        return *this;
    }
    heap(const heap &) = delete;
    heap &operator=(const heap &) = delete;

    /* Frees all blocks of the heap at once. No destructors of their objects are called. */
    ~heap() { hak_heap_destroy(heap_); }

    /* The heap, for the functions of hakmem.h. NULL after release, merge, and a move. */
    hak_heap *get() const noexcept { return heap_; }

    /* Returns the heap, and gives up its ownership. */
    hak_heap *release() noexcept {
        hak_heap *released = heap_;
        heap_ = nullptr;
        return released;
    }

    /* Ends the heap, but its blocks stay valid and belong to the heaps of malloc from then on. No
     * container may allocate from it any more. */
    void merge() noexcept { hak_heap_merge(release()); }

    /* A snapshot of the heap. */
    struct hak_heap_stats stats() const noexcept {
        struct hak_heap_stats stats;
        ::hak_heap_stats(heap_, &stats, sizeof(stats));
        return stats;
    }

  private:
    hak_heap *heap_;
};

/* ---- Containers ------------------------------------------------------------------------------ */

/* The allocator of a container in a heap. It does not own the heap. Objects with extended alignment
 * are aligned.
 *
 * Two allocators are equal if they have the same heap. A container stays in its heap when another
 * one is assigned to it, also by a move, which then moves the elements one by one. A copy of a
 * container is in the same heap. A swap also exchanges the heaps. */
template <typename T> class allocator {
  public:
    using value_type = T;
    using propagate_on_container_copy_assignment = std::false_type;
    using propagate_on_container_move_assignment = std::false_type;
    using propagate_on_container_swap = std::true_type;
    using is_always_equal = std::false_type;

    /* Allocates from the heaps of malloc. */
    allocator() noexcept : heap_(nullptr) {}

    /* Allocates from the heap, or from the heaps of malloc if it is NULL. */
    allocator(hak_heap *heap) noexcept : heap_(heap) {}
    allocator(const hakmem::heap &heap) noexcept : heap_(heap.get()) {}
    template <typename U> allocator(const allocator<U> &other) noexcept : heap_(other.heap()) {}

    /* Room for `count` objects, uninitialized. Throws std::bad_alloc. */
    T *allocate(std::size_t count) {
        if (count > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T))
            detail::fail();
        return static_cast<T *>(detail::allocate(heap_, count * sizeof(T), alignof(T)));
    }

    /* Frees the result of `allocate(count)` of any of these allocators. */
    void deallocate(T *objects, std::size_t count) noexcept {
        detail::deallocate(objects, count * sizeof(T), alignof(T));
    }

    /* The heap, or NULL. */
    hak_heap *heap() const noexcept { return heap_; }

  private:
    hak_heap *heap_;
};

template <typename T, typename U>
bool operator==(const allocator<T> &a, const allocator<U> &b) noexcept {
    return a.heap() == b.heap();
}
template <typename T, typename U>
bool operator!=(const allocator<T> &a, const allocator<U> &b) noexcept {
    return !(a == b);
}

#if defined(__cpp_lib_memory_resource)

/* A memory resource over a heap, for std::pmr. It does not own the heap. Containers use a pointer
 * to it, so it must outlive them. Any number of threads may use it. */
class memory_resource : public std::pmr::memory_resource {
  public:
    /* Allocates from the heaps of malloc. */
    memory_resource() noexcept : heap_(nullptr) {}

    /* Allocates from the heap, or from the heaps of malloc if it is NULL. */
    explicit memory_resource(hak_heap *heap) noexcept : heap_(heap) {}
    explicit memory_resource(const hakmem::heap &heap) noexcept : heap_(heap.get()) {}

    /* A copy has the same heap. */
    memory_resource(const memory_resource &) = default;
    memory_resource &operator=(const memory_resource &) = default;

    /* The heap, or NULL. */
    hak_heap *heap() const noexcept { return heap_; }

  private:
    void *do_allocate(std::size_t bytes, std::size_t align) override {
        return detail::allocate(heap_, bytes, align);
    }

    void do_deallocate(void *block, std::size_t bytes, std::size_t align) override {
        detail::deallocate(block, bytes, align);
    }

    /* Only the same object is equal, because a comparison of heaps would need run-time type
     * information. */
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override {
        return this == &other;
    }

    hak_heap *heap_;
};

#endif

} // namespace hakmem

#endif
