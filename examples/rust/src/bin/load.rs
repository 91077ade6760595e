// SPDX-License-Identifier: MIT OR Apache-2.0

//! Puts load on a running service and prints the measurements: `load --target 127.0.0.1:8080`.

use anyhow::ensure;
use clap::Parser;
use hakmem_examples::load::{self, Plan};

/// Loads documents into the service, then measures a mix of searches and changes.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    plan: Plan,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Arguments { plan, json } = Arguments::parse();
    let report = load::run(&plan).await?;
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report}");
    }
    ensure!(
        report.failed == 0,
        "{} answers were not as expected",
        report.failed
    );
    Ok(())
}
