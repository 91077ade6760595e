/* hakmem.c - all of hakmem in one translation unit, and its table of contents.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Release builds and the Rust crate compile this file, so that the compiler can inline across
 * files. Each file also compiles alone. api/deepbind.c is not here, because it belongs to the
 * shared library only. Start reading at README.md, then api/front.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

/* Copies and text. */
#include "base/string.c"

/* The OS boundary, locks, assertions. */
#include "os/os_linux.c"
#include "os/start_linux.c"
#include "os/limits_linux.c"
#include "os/nodes_linux.c"
#include "os/error_linux.c"
#include "os/thread_linux.c"
#include "os/barrier_linux.c"
#include "os/unwind_linux.c"
#include "os/output_linux.c"
#include "os/fault_linux.c"
#include "os/lock.c"
#include "os/check.c"

/* Memory for our own structures. Options, errors, limits. The size classes. */
#include "core/meta.c"
#include "core/nodes.c"
#include "core/extent.c"
#include "core/options.c"
#include "core/error.c"
#include "core/usage.c"
#include "core/dirty.c"
#include "core/size_class.c"

/* Bins, chunks, spans, slabs, the pagemap, arenas, large blocks. */
#include "core/bin.c"
#include "core/chunk.c"
#include "core/span.c"
#include "core/slab.c"
#include "core/pagemap.c"
#include "core/arena.c"
#include "core/arena_purge.c"
#include "core/large.c"

/* The transfer caches. */
#include "transfer/transfer.c"

/* Slabs in heaps. */
#include "heap/slabs.c"
#include "heap/heap.c"
#include "heap/heaps.c"
#include "heap/give.c"
#include "heap/check.c"
#include "heap/extend.c"
#include "heap/scan.c"
#include "heap/repair.c"

/* Thread caches. */
#include "thread/tcache.c"
#include "thread/threads.c"
#include "thread/watch.c"
#include "thread/count.c"
#include "thread/budget.c"
#include "thread/large_cache.c"
#include "thread/bins.c"
#include "thread/drain.c"
#include "thread/recover.c"
#include "thread/park.c"
#include "thread/prewarm.c"
#include "thread/check.c"
#include "thread/thread.c"
#include "thread/slow.c"

/* Heaps that the program creates. */
#include "own/classes.c"
#include "own/owners.c"
#include "own/hold.c"
#include "own/slabs.c"
#include "own/take.c"
#include "own/give.c"
#include "own/own.c"
#include "own/look.c"
#include "own/check.c"
#include "own/default.c"

/* Returning memory to the OS. */
#include "purge/decay.c"
#include "purge/pressure.c"
#include "purge/scavenger.c"
#include "purge/balance.c"
#include "purge/tick.c"
#include "purge/retry.c"
#include "purge/limit.c"

/* The heap profiler. */
#include "profile/sampler.c"
#include "profile/samples.c"
#include "profile/profile.c"
#include "profile/snapshot.c"
#include "profile/output.c"
#include "profile/pprof.c"
#include "profile/text.c"
#include "profile/write.c"
#include "profile/dump.c"

/* Guard pages around sampled blocks. */
#include "guard/slots.c"
#include "guard/print.c"
#include "guard/guard.c"

/* Statistics and validation. */
#include "debug/stats.c"
#include "debug/report.c"
#include "debug/validate.c"

/* The public functions. */
#include "api/own.c"
#include "api/alloc.c"
#include "api/free.c"
#include "api/move.c"
#include "api/resize.c"
#include "api/aligned.c"
#include "api/heaps.c"
#include "api/control.c"
#include "api/profile.c"
#include "api/guard.c"
#include "api/limit.c"
#include "api/fork.c"
#include "api/hooks.c"
#include "api/process.c"
#include "api/new_handler.c"
#include "api/override.c"
