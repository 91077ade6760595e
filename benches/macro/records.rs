// SPDX-License-Identifier: MIT OR Apache-2.0

//! Parses, sorts and groups records of strings with all threads of a rayon pool.

use std::collections::HashMap;

use anyhow::Context;
use rayon::prelude::*;

use crate::Size;
use crate::input::{push_word, push_words, random};
use crate::measure::{Outcome, hash, timed};

const RECORDS: usize = 100_000;
const ROUNDS: usize = 3;

#[derive(Debug, Clone)]
struct Record {
    name: String,
    city: String,
    interests: Vec<String>,
}

pub(crate) fn run(size: Size) -> anyhow::Result<Outcome> {
    let table = table(size.of(RECORDS));
    timed(|| {
        let mut sum: u64 = 0;
        for _ in 0..ROUNDS {
            let mut records: Vec<Record> = table
                .par_lines()
                .map(parse)
                .collect::<Option<_>>()
                .context("a bad record")?;
            records.par_sort_by(|a, b| (&a.name, &a.city).cmp(&(&b.name, &b.city)));
            let names: Vec<&str> = records.iter().map(|record| &*record.name).collect();
            sum = sum.wrapping_add(hash(names.join(" ").as_bytes()));
            let summaries = group(records).into_par_iter().map(summary);
            sum = sum.wrapping_add(summaries.reduce(|| 0, u64::wrapping_add));
        }
        Ok(sum)
    })
}

fn parse(line: &str) -> Option<Record> {
    let mut fields = line.split(';');
    Some(Record {
        name: fields.next()?.to_owned(),
        city: fields.next()?.to_owned(),
        interests: fields.next()?.split(' ').map(str::to_owned).collect(),
    })
}

type Groups = HashMap<String, Vec<Record>>;

/// Groups records by interest. A record with several interests is in several groups.
fn group(records: Vec<Record>) -> Groups {
    let add = |mut groups: Groups, record: Record| {
        for interest in &record.interests {
            let group = groups.entry(interest.clone()).or_default();
            group.push(record.clone());
        }
        groups
    };
    let merge = |mut a: Groups, b: Groups| {
        for (interest, records) in b {
            a.entry(interest).or_default().extend(records);
        }
        a
    };
    records
        .into_par_iter()
        .fold(Groups::new, add)
        .reduce(Groups::new, merge)
}

/// Returns a hash of a group that does not depend on the order of its records.
fn summary((interest, records): (String, Vec<Record>)) -> u64 {
    let mut lines: Vec<String> = records
        .into_iter()
        .map(|record| format!("{} in {}", record.name, record.city))
        .collect();
    lines.sort_unstable();
    hash((interest + &lines.join("\n")).as_bytes())
}

fn table(records: usize) -> String {
    let mut random = random(6);
    let mut table = String::new();
    for _ in 0..records {
        push_words(&mut random, 2, &mut table);
        table.push(';');
        push_word(&mut random, &mut table);
        table.push(';');
        let interests = random.usize(1..4);
        push_words(&mut random, interests, &mut table);
        table.push('\n');
    }
    table
}
