//! Statistics as serde serializes them.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

#[cfg(not(hakmem_system))]
use hakmem::Heap;
use hakmem::{ClassStats, Stats};
use serde_json::Value;

/// Returns the names and numbers of a struct in the notation of `{:#?}`, one in each line.
fn fields(debug: &str) -> Vec<(String, u64)> {
    let fields = debug.lines().filter_map(|line| {
        let (name, number) = line.trim().strip_suffix(',')?.split_once(": ")?;
        Some((name.to_owned(), number.parse().ok()?))
    });
    fields.collect()
}

fn check(json: &Value, debug: &str, example: &str) {
    let object = json.as_object().expect("an object");
    let fields = fields(debug);
    assert!(fields.iter().any(|(name, _)| name == example), "{debug}");
    assert_eq!(object.len(), fields.len());
    for (name, number) in fields {
        assert_eq!(object[&name].as_u64(), Some(number), "{name}");
    }
}

#[test]
fn all_fields_of_the_statistics_are_serialized() {
    let stats = hakmem::stats();
    let json = serde_json::to_value(stats).expect("numbers are JSON");
    check(&json, &format!("{stats:#?}"), "bytes_live");
    let json = serde_json::to_value(Stats::default()).expect("numbers are JSON");
    assert_eq!(json["bytes_mapped_peak"], 0);
}

#[test]
#[cfg(not(hakmem_system))]
fn all_fields_of_a_heap_are_serialized() {
    let heap = Heap::new().expect("memory");
    let json = serde_json::to_value(heap.stats()).expect("numbers are JSON");
    check(&json, &format!("{:#?}", heap.stats()), "bytes_slabs");
}

#[test]
fn all_fields_of_a_size_class_are_serialized() {
    let classes: Vec<ClassStats> = hakmem::class_stats().collect();
    let json = serde_json::to_value(&classes).expect("numbers are JSON");
    let rows = json.as_array().expect("an array");
    assert_eq!(rows.len(), classes.len());
    for (row, class) in rows.iter().zip(classes) {
        check(row, &format!("{class:#?}"), "block_bytes");
    }
}
