// SPDX-License-Identifier: MIT OR Apache-2.0

//! Options, in order of increasing precedence: the default, the program's own `conf!`, the
//! environment (try `HAKMEM_THREAD_CACHE_KB=256`), and a call at run time. The program then fills a
//! thread's cache in advance, and returns memory.

use std::thread;
use std::time::Duration;

use hakmem::Prewarm;
use hakmem::options::{self, Checks, Error};

#[global_allocator]
static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;
hakmem::conf!("thread_cache_kb=1024,purge_delay_ms=500");

fn main() -> anyhow::Result<()> {
    // Options can be set at run time. They are typed, and a call returns success or an error.
    let cache_bytes = options::THREAD_CACHE_BYTES.get()?;
    println!("thread_cache_kb: {}", cache_bytes >> 10);
    options::PURGE_DELAY.set(Duration::from_millis(250))?;
    println!(
        "purge_delay_ms: {}",
        options::PURGE_DELAY.get()?.as_millis()
    );

    // The same by name, as in a configuration file. The list has all names.
    options::set("large_cache_mb", "32")?;
    for option in options::all().filter(|option| option.value != option.default) {
        println!("changed: {}={}", option.name, option.value);
    }

    // Invalid changes are rejected, and the old value stays.
    match options::POOL_TLS_ARENA_BYTES_MAX.set(1 << 40) {
        Err(Error::Invalid) => println!("pool_tls_arena_mb_max: 1 TiB refused"),
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
