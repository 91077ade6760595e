//! Options. They apply to the whole process, so this is a single test in its own process.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#![cfg(not(hakmem_system))]

use std::env;
use std::process::Command;
use std::time::Duration;

use hakmem::Prewarm;
use hakmem::options::{self, Background, Checks, Deepbind, Error, Info, OnError, Values};

#[test]
fn options_are_set_and_read_back_and_refused_out_of_range() {
    // The defaults apply only if the environment does not set the options.
    for (name, _) in env::vars_os() {
        assert!(
            !name.to_string_lossy().starts_with("HAKMEM_"),
            "{name:?} is set"
        );
    }

    every_option_is_listed_with_its_default();
    durations_and_sizes_are_set_and_rounded_up();
    typed_values_are_set_and_read_back();
    options_are_set_by_name();
    mistakes_are_errors_and_the_old_value_stays();
}

fn every_option_is_listed_with_its_default() {
    assert!(options::all().count() > 10);
    for option in options::all() {
        assert_eq!(option.value, option.default, "{}", option.name);
        assert_eq!(options::get(option.name), Ok(option.value));
        assert!(option.description.len() > 10, "{option:?}");
    }

    let heaps = listed("heaps");
    assert_eq!(heaps.default, "0");
    assert_eq!(heaps.values.to_string(), "0 to 256");
    assert!(matches!(heaps.values, Values::Number { most: 256, .. }));
    assert!(heaps.at_start);

    let prewarm = listed("prewarm");
    assert_eq!(prewarm.default, "off");
    assert_eq!(prewarm.values.to_string(), "off, tiny, pool, all, adaptive");
    let Values::Choice(choices) = prewarm.values else {
        panic!("{:?}", prewarm.values)
    };
    assert!(choices.iter().any(|choice| choice == "adaptive"));
    assert!(!prewarm.at_start);

    let limit = listed("limit_soft");
    assert_eq!(limit.values.to_string(), "bytes");
    assert!(matches!(limit.values, Values::Size { least: 0, .. }));
}

fn listed(name: &str) -> Info {
    let option = options::all().find(|option| option.name == name);
    option.unwrap_or_else(|| panic!("{name} is not in the list"))
}

fn durations_and_sizes_are_set_and_rounded_up() {
    let second = Duration::from_secs(1);
    assert_eq!(options::PURGE_DELAY.get(), Ok(second));
    assert_eq!(options::PURGE_DELAY.set(Duration::ZERO), Ok(()));
    assert_eq!(options::PURGE_DELAY.get(), Ok(Duration::ZERO));
    for too_long in [second * 86_401, Duration::MAX] {
        assert_eq!(options::PURGE_DELAY.set(too_long), Err(Error::Invalid));
        assert_eq!(options::PURGE_DELAY.get(), Ok(Duration::ZERO));
    }
    assert_eq!(options::PURGE_DELAY.set(second / 3), Ok(()));
    assert_eq!(options::PURGE_DELAY.get(), Ok(Duration::from_millis(334)));
    assert_eq!(listed("purge_delay_ms").value, "334");
    assert_eq!(options::PURGE_DELAY.name(), "purge_delay_ms");

    let cache = options::THREAD_CACHE_BYTES;
    assert_eq!(cache.get(), Ok(8 << 20));
    assert_eq!(cache.set(1 << 20), Ok(()));
    assert_eq!(options::get("thread_cache_kb").as_deref(), Ok("1024"));
    assert_eq!(cache.set((1 << 20) + 1), Ok(()));
    assert_eq!(cache.get(), Ok((1 << 20) + 1024));
    assert_eq!(cache.set(u64::MAX), Err(Error::Invalid));
    assert_eq!(cache.get(), Ok((1 << 20) + 1024));

    let chunk = options::POOL_TLS_ARENA_BYTES_MAX;
    assert_eq!(chunk.get(), Ok(8 << 20));
    assert_eq!(chunk.set(65 << 20), Err(Error::Invalid));
    assert_eq!(chunk.set(0), Err(Error::Invalid));
    assert_eq!(chunk.get(), Ok(8 << 20));

    assert_eq!(options::LIMIT_SOFT.set(12_345_678_901), Ok(()));
    assert_eq!(options::LIMIT_SOFT.get(), Ok(12_345_678_901));
    assert_eq!(options::LIMIT_SOFT.set(0), Ok(()));
}

fn options_are_set_by_name() {
    assert_eq!(options::set("purge_delay_ms", "500"), Ok(()));
    assert_eq!(options::PURGE_DELAY.get(), Ok(Duration::from_millis(500)));
    assert_eq!(options::set("limit_soft", "1.5G"), Ok(()));
    assert_eq!(options::LIMIT_SOFT.get(), Ok(3 << 29));
    assert_eq!(options::set("limit_soft", "0"), Ok(()));
    assert_eq!(options::set("background", "never"), Ok(()));
    assert_eq!(options::BACKGROUND.get(), Ok(Background::Never));
    assert_eq!(options::set("background", "auto"), Ok(()));

    // Each option takes its own value, as long as it can be set at all.
    for option in options::all() {
        let expected = if option.at_start {
            Err(Error::AtStart)
        } else {
            Ok(())
        };
        let outcome = options::set(option.name, &option.value);
        assert_eq!(outcome, expected, "{}", option.name);
    }
}

fn mistakes_are_errors_and_the_old_value_stays() {
    let long = "x".repeat(1000);
    for name in ["no_such_option", "purge_delay", "", "prewarm\0", &*long] {
        assert_eq!(options::set(name, "1"), Err(Error::Unknown), "{name}");
        assert_eq!(options::get(name), Err(Error::Unknown), "{name}");
    }
    let before = options::get("purge_delay_ms");
    for value in ["", "soon", "-1", "1.5", "86400001", "5\0", &*long] {
        let outcome = options::set("purge_delay_ms", value);
        assert_eq!(outcome, Err(Error::Invalid), "{value}");
        assert_eq!(options::get("purge_delay_ms"), before);
    }
    assert_eq!(options::set("on_error", "panic"), Err(Error::Invalid));
    assert_eq!(options::set("heaps", "2"), Err(Error::AtStart));
    assert_eq!(options::set("heaps", "257"), Err(Error::Invalid));

    assert!(Error::Unknown.to_string().contains("no such option"));
    assert!(Error::Invalid.to_string().contains("does not parse"));
    assert!(Error::AtStart.to_string().contains("before the program"));
}

fn typed_values_are_set_and_read_back() {
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
    assert_eq!(options::PURGE_DELAY.get(), Ok(Duration::from_millis(77)));
    assert_eq!(options::HEAPS.get(), Ok(2));
    assert_eq!(options::PREWARM.get(), Ok(Prewarm::Off));
}
