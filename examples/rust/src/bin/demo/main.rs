// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs real programs alternately on the system allocator and on hakmem, and prints the
//! differences. The programs are the HTTP service under load, a C program linked with the archive,
//! and unmodified programs under LD_PRELOAD. `examples/demo` builds everything that it needs.

mod programs;
mod service;
mod table;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;

use programs::Build;
use table::Row;

/// Compares programs on the system allocator and on hakmem.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder of libhakmem.so and of the C programs.
    #[arg(long, default_value = "build")]
    build: PathBuf,
    /// Rounds of the HTTP service on each allocator.
    #[arg(long, default_value_t = 5, value_parser = parse_rounds)]
    rounds: usize,
    /// Runs of each other program on each allocator.
    #[arg(long, default_value_t = 3, value_parser = parse_rounds)]
    program_rounds: usize,
    /// Number of documents in the service.
    #[arg(long, default_value_t = 20_000)]
    documents: usize,
    /// Requests per round.
    #[arg(long, default_value_t = 40_000)]
    requests: usize,
    /// Seconds after which no further round of the service starts.
    #[arg(long, default_value_t = 90)]
    seconds: u64,
}

fn parse_rounds(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rounds @ 1..=100) => Ok(rounds),
        _ => Err("not a number from 1 to 100".to_owned()),
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let start = Instant::now();
    let build = Build::find(&arguments.build)?;

    println!(
        "\n1. An HTTP service: {} documents, then {} requests over {} connections",
        table::grouped(arguments.documents as f64, 0),
        table::grouped(arguments.requests as f64, 0),
        service::CONNECTIONS,
    );
    let load = service::Load {
        documents: arguments.documents,
        requests: arguments.requests,
    };
    let time = Duration::from_secs(arguments.seconds);
    let http = service::compare(&load, arguments.rounds, time)?;

    println!("\n2. A C program linked with libhakmem.a");
    let linked = programs::compare_linked(&build, arguments.program_rounds)?;

    println!("\n3. Programs as they are installed, with LD_PRELOAD=libhakmem.so");
    let preloaded = programs::compare_preloaded(&build, arguments.program_rounds)?;

    println!("\nAll together, medians:\n");
    let rows: Vec<Row> = [http.rows(), linked, preloaded].concat();
    table::print(&rows);
    println!("\nWhat hakmem says about the service in its last round:\n");
    http.print_statistics()?;
    println!("\nDone in {:.0} s.", start.elapsed().as_secs_f64());
    Ok(())
}
