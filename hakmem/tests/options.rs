//! Options. They apply to the whole process, so this is a single test in its own process.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#![cfg(not(hakmem_system))]

use std::env;
use std::process::Command;

use hakmem::Prewarm;
use hakmem::options::{self, Background, Checks, Deepbind, Error, OnError};

#[test]
fn options_are_set_and_read_back_and_refused_out_of_range() {
    // The defaults apply only if the environment does not set the options.
    for (name, _) in env::vars_os() {
        assert!(
            !name.to_string_lossy().starts_with("HAKMEM_"),
            "{name:?} is set"
        );
    }

    assert_eq!(options::PURGE_DELAY_MS.get(), Ok(1000));
    assert_eq!(options::PURGE_DELAY_MS.set(0), Ok(()));
    assert_eq!(options::PURGE_DELAY_MS.get(), Ok(0));
    assert_eq!(options::PURGE_DELAY_MS.set(u64::MAX), Err(Error::Invalid));
    assert_eq!(options::PURGE_DELAY_MS.get(), Ok(0));
    assert_eq!(options::PURGE_DELAY_MS.name(), "purge_delay_ms");

    assert_eq!(options::PREWARM.get(), Ok(Prewarm::Off));
    for set in [
        Prewarm::Tiny,
        Prewarm::Pool,
        Prewarm::All,
        Prewarm::Adaptive,
        Prewarm::Off,
    ] {
        assert_eq!(options::PREWARM.set(set), Ok(()));
        assert_eq!(options::PREWARM.get(), Ok(set));
    }

    assert_eq!(options::ON_ERROR.get(), Ok(OnError::Abort));
    assert_eq!(options::ON_ERROR.set(OnError::Continue), Ok(()));
    assert_eq!(options::ON_ERROR.get(), Ok(OnError::Continue));

    assert_eq!(options::BACKGROUND.get(), Ok(Background::Auto));
    for background in [Background::Always, Background::Never, Background::Auto] {
        assert_eq!(options::BACKGROUND.set(background), Ok(()));
        assert_eq!(options::BACKGROUND.get(), Ok(background));
    }

    assert_eq!(options::DEEPBIND.get(), Ok(Deepbind::Mask));
    assert_eq!(options::DEEPBIND.set(Deepbind::Keep), Ok(()));
    assert_eq!(options::DEEPBIND.get(), Ok(Deepbind::Keep));

    assert_eq!(options::STATS.get(), Ok(false));
    assert_eq!(options::STATS.set(true), Ok(()));
    assert_eq!(options::STATS.get(), Ok(true));
    assert_eq!(options::STATS.set(false), Ok(()));

    assert_eq!(options::CHECKS.get(), Ok(Checks::Off));
    assert_eq!(options::CHECKS.set(Checks::Full), Err(Error::AtStart));
    assert_eq!(options::CHECKS.get(), Ok(Checks::Off));
    assert_eq!(options::HEAPS.set(1), Err(Error::AtStart));
}

/// Runs itself again, because the environment is read at the start of a process.
#[test]
fn the_environment_sets_options_and_a_value_that_does_not_parse_is_reported() {
    let program = env::current_exe().expect("a test has a path");
    let output = Command::new(program)
        .args(["--ignored", "--exact", "what_the_environment_set"])
        .env("HAKMEM_PURGE_DELAY_MS", "77")
        .env("HAKMEM_HEAPS", "2")
        .env("HAKMEM_PREWARM", "sometimes")
        .output()
        .expect("the test runs again");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}{errors}",
        String::from_utf8_lossy(&output.stdout)
    );
    let warnings: Vec<_> = errors
        .lines()
        .filter(|line| line.starts_with("hakmem: "))
        .collect();
    assert_eq!(warnings.len(), 1, "{errors}");
    assert!(warnings[0].contains("HAKMEM_PREWARM=sometimes"), "{errors}");
}

#[test]
#[ignore = "runs in the environment that the test above sets"]
fn what_the_environment_set() {
    assert_eq!(options::PURGE_DELAY_MS.get(), Ok(77));
    assert_eq!(options::HEAPS.get(), Ok(2));
    assert_eq!(options::PREWARM.get(), Ok(Prewarm::Off));
}
