// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs that call malloc and free: linked with the archive, or preloaded with the library.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use hakmem_examples::process::Run;

use crate::table::{Better, Row, grouped, median};

/// Maximum number of programs to preload.
const PRELOADED_MAX: usize = 2;
/// Maximum duration of a run.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Arguments of bench_random_mixed: iterations, largest block, seed.
const BENCH_ARGUMENTS: [&str; 3] = ["20000000", "1024", "42"];

/// Widely installed programs, the most interesting ones first, each with about a second of work.
const PRELOADED: [(&str, &[&str]); 4] = [
    (
        "sqlite3",
        &[
            ":memory:",
            "CREATE TABLE words(word TEXT, number INTEGER);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250000)
             INSERT INTO words SELECT printf('word %d', i * 7919 % 1000003), i FROM n;
             CREATE INDEX by_word ON words(word);
             SELECT count(*), sum(a.number) FROM words a JOIN words b ON a.word = b.word || '';
             SELECT length(group_concat(word)) FROM (SELECT word FROM words ORDER BY word);",
        ],
    ),
    (
        "perl",
        &[
            "-e",
            "my %lists; push @{$lists{'key ' . $_ * 7919 % 100003}}, 'value ' . $_ for 1 .. 600000;
             my $sum = 0; $sum += length join ',', sort @{$lists{$_}} for sort keys %lists;
             print $sum, qq(\\n);",
        ],
    ),
    (
        "python3",
        &[
            "-c",
            "import json
rows = [{'id': i, 'name': 'name %d' % (i * 7919), 'tags': ['x' * (i % 900)]} for i in range(100000)]
print(sum(len(row['name']) for row in json.loads(json.dumps(rows))))",
        ],
    ),
    (
        "awk",
        &["BEGIN { for (i = 0; i < 1000000; i++) a[i * 7919 % 100003] = a[i * 7919 % 100003] \"x\";
            for (key in a) sum += length(a[key]); print sum }"],
    ),
];

/// The files that `examples/demo` has built.
pub(crate) struct Build {
    library: PathBuf,
    replace: PathBuf,
    bench: PathBuf,
    bench_linked: PathBuf,
}

impl Build {
    /// Finds the files in the build folder.
    pub(crate) fn find(folder: &Path) -> anyhow::Result<Self> {
        let find = |name: &str| {
            let path = folder.join(name);
            path.canonicalize()
                .with_context(|| format!("{} is not there: run 'make demo'", path.display()))
        };
        Ok(Self {
            library: find("libhakmem.so")?,
            replace: find("replace")?,
            bench: find("demo/bench_random_mixed")?,
            bench_linked: find("demo/bench_random_mixed_linked")?,
        })
    }
}

/// Compares linked programs. One checks that its malloc is hakmem's, and the other one measures it.
pub(crate) fn compare_linked(build: &Build, rounds: usize) -> anyhow::Result<Vec<Row>> {
    for line in text(&run(&mut Command::new(&build.replace))?.stdout).lines() {
        println!("   {line}");
    }

    let mut samples: [Vec<(f64, f64)>; 2] = Default::default();
    for _ in 0..rounds {
        for (samples, executable) in samples.iter_mut().zip([&build.bench, &build.bench_linked]) {
            let output = run(Command::new(executable).args(BENCH_ARGUMENTS))?.stdout;
            let number = |name| number_after(&text(&output), name);
            samples.push((number("ops/s")?, number("peak-rss-kb")?));
        }
    }
    let [system, hakmem] = samples
        .each_ref()
        .map(|samples| median(samples.iter().map(|s| s.0)));
    println!(
        "   bench_random_mixed: {} -> {} operations/s",
        grouped(system, 0),
        grouped(hakmem, 0)
    );

    let samples = samples.each_ref().map(Vec::as_slice);
    Ok(vec![
        Row::Title(format!(
            "bench_random_mixed {}, linked",
            BENCH_ARGUMENTS.join(" ")
        )),
        Row::medians("operations/s, million", 1, Better::More, samples, |s| {
            s.0 / 1e6
        }),
        Row::medians("peak RSS, MiB", 1, Better::Less, samples, |s| s.1 / 1024.0),
    ])
}

/// Compares the first installed programs of the list.
pub(crate) fn compare_preloaded(build: &Build, rounds: usize) -> anyhow::Result<Vec<Row>> {
    let installed = PRELOADED
        .iter()
        .filter(|(program, _)| is_installed(program));
    let mut rows = Vec::new();
    for (program, arguments) in installed.take(PRELOADED_MAX) {
        rows.extend(compare_one_preloaded(
            program,
            arguments,
            &build.library,
            rounds,
        )?);
    }
    if rows.is_empty() {
        let names = PRELOADED.map(|(program, _)| program);
        println!("   skipped: none of {} is installed", names.join(", "));
    }
    Ok(rows)
}

fn compare_one_preloaded(
    program: &str,
    arguments: &[&str],
    library: &Path,
    rounds: usize,
) -> anyhow::Result<Vec<Row>> {
    let command = |preload: Option<&Path>| {
        let mut command = Command::new(program);
        command.args(arguments).env_remove("LD_PRELOAD");
        command.envs(preload.map(|library| ("LD_PRELOAD", library)));
        command
    };
    // The statistics at exit prove that the program uses hakmem. This also warms up the page cache.
    let observed = run(command(Some(library)).env("HAKMEM_STATS", "1"))?;
    ensure!(
        text(&observed.stderr).contains("hakmem"),
        "LD_PRELOAD has no effect on {program}"
    );

    let mut samples: [Vec<Run>; 2] = Default::default();
    for _ in 0..rounds {
        for (samples, preload) in samples.iter_mut().zip([None, Some(library)]) {
            let run = run(&mut command(preload))?;
            ensure!(
                run.stdout == observed.stdout,
                "{program} gives another result on hakmem"
            );
            samples.push(run);
        }
    }
    let samples = samples.each_ref().map(Vec::as_slice);
    let seconds = |run: &Run| run.cpu.as_secs_f64();
    let [system, hakmem] = samples.map(|runs| median(runs.iter().map(seconds)));
    println!("   {program}: same result, CPU time {system:.2} s -> {hakmem:.2} s");
    Ok(vec![
        Row::Title(format!("{program}, preloaded")),
        Row::medians("CPU time, s", 3, Better::Less, samples, seconds),
        Row::medians("peak RSS, MiB", 1, Better::Less, samples, |run| {
            run.rss_peak_bytes as f64 / f64::from(1 << 20)
        }),
    ])
}

/// Runs the command and checks that it succeeds.
fn run(command: &mut Command) -> anyhow::Result<Run> {
    let name = command.get_program().to_string_lossy().into_owned();
    let run = Run::of(command, TIME_MAX).with_context(|| format!("cannot run {name}"))?;
    let errors = text(&run.stderr);
    ensure!(
        run.status.success(),
        "{name} ended with {}: {errors}",
        run.status
    );
    Ok(run)
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(OsStr::new(program)).is_file())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn number_after(text: &str, name: &str) -> anyhow::Result<f64> {
    let mut words = text.split_whitespace().skip_while(|word| *word != name);
    let number = words.nth(1).and_then(|word| word.parse().ok());
    number.with_context(|| format!("no {name} in: {text}"))
}
