//! Heap profiles. A process has one profile, so this is a single test in its own process.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#![cfg(not(hakmem_system))]

use std::env;
use std::hint::black_box;
use std::thread;

use hakmem::profile::{self, Error, Options};
use prost::Message;

#[global_allocator]
static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;

/// The parts of profile.proto that the tests need.
#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    memory_start: u64,
    #[prost(uint64, tag = "3")]
    memory_limit: u64,
    #[prost(uint64, tag = "4")]
    file_offset: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(int64, tag = "6")]
    build_id: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
}

impl Profile {
    fn take() -> Self {
        let mut bytes = Vec::new();
        profile::pprof(|piece| bytes.extend_from_slice(piece)).expect("a profile was started");
        Self::decode(&*bytes).expect("a profile in the format of pprof")
    }

    fn text(&self, index: i64) -> &str {
        &self.string_table[usize::try_from(index).expect("an index")]
    }

    /// The values of the stack with these bytes in use.
    fn with_inuse_space(&self, bytes: i64) -> &Sample {
        let mut found = self.sample.iter().filter(|sample| sample.value[3] == bytes);
        let sample = found.next().expect("a stack with these bytes");
        assert_eq!(found.next(), None, "one stack with these bytes");
        sample
    }
}

/// Each call site is one stack, with ten blocks.
#[inline(never)]
fn allocate(bytes: usize) -> Vec<Vec<u8>> {
    (0..10).map(|_| black_box(vec![1; bytes])).collect()
}

#[test]
fn profiles_are_started_written_and_stopped() {
    nothing_is_written_before_the_first_start();
    let guard = profile::start(Options::default().rate(1)).expect("no profile is running");
    assert!(profile::is_running());
    assert_eq!(
        profile::start(Options::default()).err(),
        Some(Error::Running)
    );

    let small = allocate(1234);
    let large = thread::spawn(|| allocate(1_234_567))
        .join()
        .expect("no panic");
    drop(allocate(4321));
    drop(guard);
    assert!(!profile::is_running());

    let first = Profile::take();
    the_types_are_those_of_go(&first);
    the_values_are_those_of_the_program(&first);
    locations_lie_in_the_modules(&first);

    drop(small);
    let second = Profile::take();
    let freed = second
        .sample
        .iter()
        .find(|sample| sample.value[1] == 12_340);
    assert_eq!(freed.expect("it was allocated").value, [10, 12_340, 0, 0]);
    drop(large);

    collapsed_stacks_are_lines_with_bytes();
    assert_eq!(hakmem::validate(), 0);
}

fn nothing_is_written_before_the_first_start() {
    assert!(!profile::is_running());
    assert_eq!(profile::pprof(|_| ()), Err(Error::NeverStarted));
}

fn the_types_are_those_of_go(profile: &Profile) {
    let types: Vec<_> = profile
        .sample_type
        .iter()
        .map(|kind| (profile.text(kind.kind), profile.text(kind.unit)))
        .collect();
    let expected = [
        ("alloc_objects", "count"),
        ("alloc_space", "bytes"),
        ("inuse_objects", "count"),
        ("inuse_space", "bytes"),
    ];
    assert_eq!(types, expected);
    assert_eq!(profile.text(profile.default_sample_type), "inuse_space");
    let period = profile.period_type.as_ref().expect("a type");
    assert_eq!(profile.text(period.kind), "space");
    assert_eq!(profile.period, 1);
    assert!(profile.time_nanos > 1_700_000_000_000_000_000);
}

fn the_values_are_those_of_the_program(profile: &Profile) {
    assert_eq!(
        profile.with_inuse_space(12_340).value,
        [10, 12_340, 10, 12_340]
    );
    let large = profile.with_inuse_space(12_345_670);
    assert_eq!(large.value, [10, 12_345_670, 10, 12_345_670]);
    assert!(large.location_id.len() > 3, "a whole stack");
    let freed = profile
        .sample
        .iter()
        .find(|sample| sample.value[1] == 43_210);
    assert_eq!(freed.expect("it was allocated").value, [10, 43_210, 0, 0]);
}

fn locations_lie_in_the_modules(profile: &Profile) {
    assert_eq!(profile.string_table[0], "");
    let program = &profile.mapping[0];
    let path = env::current_exe().expect("a path");
    assert_eq!(profile.text(program.filename), path.to_string_lossy());
    let build_id = profile.text(program.build_id);
    assert!(build_id.len() % 2 == 0 && build_id.chars().all(|c| c.is_ascii_hexdigit()));

    for sample in &profile.sample {
        for &id in &sample.location_id {
            let index = usize::try_from(id - 1).expect("an index");
            assert_eq!(profile.location[index].id, id);
        }
    }
    for location in &profile.location {
        let Some(index) = location.mapping_id.checked_sub(1) else {
            continue;
        };
        let mapping = &profile.mapping[usize::try_from(index).expect("an index")];
        assert!((mapping.memory_start..mapping.memory_limit).contains(&location.address));
    }
}

fn collapsed_stacks_are_lines_with_bytes() {
    let kept = {
        let _guard = profile::start(Options::default().rate(1)).expect("no profile is running");
        allocate(777)
    };
    let mut text = Vec::new();
    profile::collapsed(|piece| text.extend_from_slice(piece)).expect("a profile");
    let text = String::from_utf8(text).expect("text");
    let line = text.lines().find(|line| line.ends_with(" 7770"));
    assert!(
        line.is_some_and(|line| line.split(';').count() > 3),
        "{text}"
    );

    let mut text = Vec::new();
    profile::text(|piece| text.extend_from_slice(piece)).expect("a profile");
    assert!(String::from_utf8_lossy(&text).contains(" bytes in use"));
    drop(kept);
}
