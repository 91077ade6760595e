//! Private heaps in a process of which hakmem is the global allocator.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#![cfg(not(hakmem_system))]

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use hakmem::Heap;
use hakmem::heap::Options;

#[global_allocator]
static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;

const MIB: usize = 1 << 20;

fn new_heap() -> Heap {
    Heap::new().expect("memory")
}

fn limited(bytes: usize) -> Heap {
    Heap::with(Options::default().limit(bytes as u64)).expect("memory")
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("it is small")
}

#[test]
fn blocks_of_every_layout_are_aligned_and_keep_their_contents_when_resized() {
    let heap = new_heap();
    for size in [1, 8, 9, 100, 129, 1000, 5000, 70_000, 300_000, 5 * MIB] {
        for align in [1, 8, 16, 64, 4096, 128 << 10] {
            let (old, new) = (layout(size, align), layout(2 * size + 1, align));
            // SAFETY: the size is not 0.
            let block = unsafe { heap.alloc_zeroed(old) };
            assert!(!block.is_null());
            // SAFETY: a zeroed block of that size.
            let bytes = unsafe { std::slice::from_raw_parts_mut(block, size) };
            assert!(bytes.iter().all(|&byte| byte == 0), "{old:?}");
            bytes.fill(0xA5);

            // SAFETY: a live block of that layout.
            let block = unsafe { heap.realloc(block, old, new.size()) };
            assert_eq!(block.addr() % align, 0, "{new:?}");
            // SAFETY: the first bytes of a live block.
            let kept = unsafe { std::slice::from_raw_parts(block, size) };
            assert!(kept.iter().all(|&byte| byte == 0xA5), "{old:?}");
            assert_eq!(heap.stats().blocks_live, 1);
            // SAFETY: a live block of that layout.
            unsafe { heap.dealloc(block, new) };
        }
    }
    assert_eq!(heap.stats().bytes_live, 0);
    drop(heap);
    assert_eq!(hakmem::stats().errors, 0);
    assert_eq!(hakmem::validate(), 0);
}

#[test]
fn a_scope_serves_the_thread_from_the_heap_until_it_ends() {
    let (outer, inner) = (new_heap(), new_heap());
    let blocks = || (outer.stats().blocks_live, inner.stats().blocks_live);
    let before = Box::new(1);
    assert_eq!(blocks(), (0, 0));
    let kept = outer.scope(|| {
        let first = Box::new(2);
        assert_eq!(blocks(), (1, 0));
        let second = inner.scope(|| Box::new(3));
        assert_eq!(blocks(), (1, 1));
        let third = Box::new(4);
        assert_eq!(blocks(), (2, 1));
        thread::scope(|scope| scope.spawn(|| drop(black_box(Box::new(5)))).join()).unwrap();
        [before, first, second, third]
    });
    let outside = Box::new(6);
    assert_eq!(inner.stats().blocks_live, 1);
    assert_eq!(
        (*kept[0], *kept[1], *kept[2], *kept[3], *outside),
        (1, 2, 3, 4, 6)
    );
}

#[test]
fn blocks_of_a_scope_outlive_the_heap_and_are_resized_and_freed_by_any_thread() {
    let heap = new_heap();
    let mut kept: Vec<Vec<usize>> = heap.scope(|| (0..2000).map(|i| vec![i; i + 1]).collect());
    drop(heap);
    let kept = thread::spawn(move || {
        for (i, numbers) in kept.iter_mut().enumerate() {
            numbers.extend(vec![i; 100]);
        }
        kept
    });
    let kept = kept.join().unwrap();
    for (i, numbers) in kept.iter().enumerate() {
        assert_eq!(numbers.len(), i + 101);
        assert!(numbers.iter().all(|&number| number == i));
    }
    drop(kept);
    assert_eq!(hakmem::stats().errors, 0);
    assert_eq!(hakmem::validate(), 0);
}

#[test]
fn a_panic_in_a_scope_ends_the_scope_and_its_payload_outlives_the_heap() {
    let heap = new_heap();
    let payload = panic::catch_unwind(|| {
        heap.scope(|| panic::resume_unwind(Box::new(String::from("the payload"))))
    });
    let live = heap.stats().blocks_live;
    assert!(live >= 2, "the box and its text are in the heap");
    let outside = black_box(Box::new(1));
    assert_eq!(heap.stats().blocks_live, live);
    drop((heap, outside));
    let payload = payload.map(|()| unreachable!()).unwrap_err();
    assert_eq!(payload.downcast_ref::<String>().unwrap(), "the payload");
}

#[test]
fn a_dropped_heap_frees_forgotten_blocks_but_not_after_merge() {
    let block = |heap: &Heap| {
        // SAFETY: the size is not 0.
        let block = unsafe { heap.alloc(layout(MIB, 1)) };
        assert_eq!(heap.stats().bytes_live, MIB as u64);
        block
    };
    let heap = new_heap();
    let id = heap.stats().id;
    block(&heap);
    drop(heap);
    let heap = new_heap();
    assert!(heap.stats().id > id);
    assert_eq!(heap.stats().bytes_live, 0);

    let kept = block(&heap);
    heap.merge();
    // SAFETY: the block is still alive.
    unsafe { kept.write_bytes(7, MIB) };
    // SAFETY: as above.
    unsafe { GLOBAL.dealloc(kept, layout(MIB, 16)) };
    assert_eq!(hakmem::stats().errors, 0);
}

#[test]
fn destroy_frees_the_blocks_of_a_scope() {
    for _ in 0..200 {
        let heap = new_heap();
        let kept = heap.scope(|| vec![1_u8; 8 * MIB]);
        std::mem::forget(kept);
        // SAFETY: the vector was forgotten, and there are no other blocks.
        unsafe { heap.destroy() };
    }
    // All of them together would be 1600 MiB.
    assert!(hakmem::stats().bytes_mapped < 400 * MIB as u64);
}

#[test]
fn the_limit_refuses_and_a_scope_reports_it_as_exhausted_memory() {
    let heap = limited(MIB);
    let refused = heap.scope(|| {
        let mut numbers = Vec::<u8>::new();
        assert!(numbers.try_reserve_exact(MIB / 2).is_ok());
        assert!(numbers.try_reserve_exact(2 * MIB).is_err());
        Vec::<u8>::new().try_reserve_exact(MIB).is_err()
    });
    assert!(refused);
    assert!(heap.stats().refused >= 2);
    assert_eq!(heap.stats().limit, MIB as u64);
    assert_eq!(heap.stats().bytes_live, 0);
}

#[test]
fn the_function_of_a_limit_gets_the_size_and_decides_about_another_attempt() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    static BYTES: AtomicUsize = AtomicUsize::new(0);
    let options = Options::default().limit(4 * MIB as u64);
    let heap = Heap::with(options.on_limit(|bytes| {
        BYTES.store(bytes, Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed) % 2 == 0
    }))
    .expect("memory");
    for calls in [1, 2] {
        // SAFETY: the size is not 0.
        assert!(unsafe { heap.alloc(layout(5 * MIB, 1)) }.is_null());
        assert_eq!(CALLS.load(Ordering::Relaxed), calls);
        assert_eq!(BYTES.load(Ordering::Relaxed), 5 * MIB);
        assert_eq!(heap.stats().refused, calls as u64);
    }
}

#[test]
fn threads_allocate_from_one_heap_and_free_the_blocks_of_others() {
    let heap = new_heap();
    thread::scope(|scope| {
        let (to_free, blocks) = mpsc::channel::<(usize, Layout)>();
        for t in 0..3 {
            let (heap, to_free) = (&heap, to_free.clone());
            scope.spawn(move || {
                for i in 0..5000 {
                    let layout = layout(1 + (i * 37 + t) % 3000, 8);
                    // SAFETY: the size is not 0.
                    let block = unsafe { heap.alloc(layout) };
                    // SAFETY: the block has that size.
                    unsafe { block.write_bytes(0x5A, layout.size()) };
                    to_free.send((block.expose_provenance(), layout)).unwrap();
                }
            });
        }
        drop(to_free);
        for (block, layout) in blocks {
            let block = std::ptr::with_exposed_provenance_mut::<u8>(block);
            // SAFETY: a live block of that size.
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            assert!(bytes.iter().all(|&byte| byte == 0x5A));
            // SAFETY: a live block of that layout.
            unsafe { heap.dealloc(block, layout) };
        }
    });
    assert_eq!(heap.stats().blocks_live, 0);
    assert_eq!(hakmem::stats().errors, 0);
}

#[test]
fn a_heap_may_end_in_another_thread_while_scopes_of_it_have_run_elsewhere() {
    for _ in 0..50 {
        let heap = new_heap();
        let texts = thread::scope(|scope| {
            let heap = &heap;
            let threads: Vec<_> = (0..4)
                .map(|t: usize| scope.spawn(move || heap.scope(|| vec![t.to_string(); 100])))
                .collect();
            let texts = threads.into_iter().map(|thread| thread.join().unwrap());
            texts.collect::<Vec<_>>()
        });
        let end = thread::spawn(move || drop(heap));
        for (t, texts) in texts.into_iter().enumerate() {
            for mut text in texts {
                text.push_str("a text that is too long for the block");
                assert!(text.starts_with(&t.to_string()));
            }
        }
        end.join().unwrap();
    }
    assert_eq!(hakmem::stats().errors, 0);
    assert_eq!(hakmem::validate(), 0);
}

#[test]
fn a_heap_is_shown_with_its_counters() {
    let heap = Heap::with(Options::default().name("a name")).expect("memory");
    let text = format!("{heap:?}");
    assert!(text.contains("blocks_live: 0"), "{text}");
    assert!(!heap.as_ptr().is_null());
}

#[test]
fn empty_slabs_leave_a_heap_at_a_trim_unless_it_keeps_them() {
    for keeps in [false, true] {
        let heap = Heap::with(Options::default().keep_slabs(keeps)).expect("memory");
        drop(heap.scope(|| vec![vec![1_u8; 1000]; 1000]));
        hakmem::trim();
        assert_eq!(heap.stats().bytes_slabs >= MIB as u64, keeps);
    }
}
