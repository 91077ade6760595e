// SPDX-License-Identifier: MIT OR Apache-2.0

//! Options, in order of increasing precedence: the default, the program's own `conf!`, the
//! environment (try `HAKMEM_THREAD_CACHE_KB=256`), and a call at run time. The program then fills a
//! thread's cache in advance, and returns memory.

use std::thread;

use hakmem::Prewarm;
use hakmem::options::{self, Checks, Error};

#[global_allocator]
static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;
hakmem::conf!("thread_cache_kb=1024,purge_delay_ms=500");

fn main() -> anyhow::Result<()> {
    // Options can be set at run time. They are typed, and a call returns success or an error.
    println!("thread_cache_kb: {}", options::THREAD_CACHE_KB.get()?);
    options::PURGE_DELAY_MS.set(250)?;
    println!("purge_delay_ms: {}", options::PURGE_DELAY_MS.get()?);

    // Invalid changes are rejected, and the old value stays.
    match options::POOL_TLS_ARENA_MB_MAX.set(1_000_000) {
        Err(Error::Invalid) => println!("pool_tls_arena_mb_max: 1000000 refused"),
        other => anyhow::bail!("an absurd arena was not refused: {other:?}"),
    }
    match options::CHECKS.set(Checks::Full) {
        Err(Error::AtStart) => println!("checks: only at start"),
        other => anyhow::bail!("checks changed at run time: {other:?}"),
    }

    // This thread must not wait for its first buffers.
    let prewarmed = thread::spawn(|| {
        let bytes = hakmem::prewarm(Prewarm::Pool);
        let buffers: Vec<Vec<u8>> = (0..8).map(|_| Vec::with_capacity(8 << 10)).collect();
        drop(buffers);
        bytes
    });
    let bytes = prewarmed
        .join()
        .map_err(|_| anyhow::anyhow!("the thread panicked"))?;
    println!("prewarmed: {bytes} bytes");

    // A program can return free memory before it sleeps for a long time.
    let burst: Vec<Box<[u8]>> = (0..4096).map(|_| vec![1; 4096].into()).collect();
    drop(burst);
    println!("trimmed: {} bytes", hakmem::trim());

    eprintln!("{}", hakmem::report(hakmem::Format::Text));
    Ok(())
}
