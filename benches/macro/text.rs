// SPDX-License-Identifier: MIT OR Apache-2.0

//! Searches and rewrites a log with regular expressions, and splits it into words, which it sorts
//! and joins.

use std::fmt::Write;

use anyhow::Context;
use regex::{Captures, Regex};

use crate::Size;
use crate::input::{push_word, push_words, random};
use crate::measure::{Outcome, hash, timed};

const LINES: usize = 20_000;
const ROUNDS: usize = 12;

pub(crate) fn run(size: Size) -> anyhow::Result<Outcome> {
    let log = log(size.of(LINES));
    timed(|| {
        let mut sum: u64 = 0;
        for _ in 0..ROUNDS {
            for report in [dates_in_german(&log)?, requests(&log)?, words(&log)] {
                sum = sum.wrapping_add(hash(report.as_bytes()));
            }
            sum = sum.wrapping_add(hash(shouted(&log).as_bytes()));
        }
        Ok(sum)
    })
}

/// Returns the whole log with each date rewritten.
fn dates_in_german(log: &str) -> anyhow::Result<String> {
    let date = Regex::new(r"(?<year>\d{4})-(?<month>\d\d)-(?<day>\d\d)")?;
    let replaced = date.replace_all(log, |found: &Captures<'_>| {
        format!("{}.{}.{}", &found["day"], &found["month"], &found["year"])
    });
    Ok(replaced.into_owned())
}

/// Returns all requests, sorted by the name of the user.
fn requests(log: &str) -> anyhow::Result<String> {
    let request = Regex::new(r"([a-z]+)\.([a-z]+)@example\.org (GET|POST) (/\S+)")?;
    let mut requests = Vec::new();
    for line in log.lines() {
        let found = request.captures(line).context("a line without a request")?;
        let [first, last, method, path] = found.extract().1;
        let name = format!("{last}, {first}");
        let parts: Vec<String> = path.split('/').map(str::to_owned).collect();
        requests.push((name, method.to_owned(), parts));
    }
    requests.sort();
    Ok(requests
        .into_iter()
        .map(|(name, method, parts)| name + ": " + &method + " " + &parts.join(" > "))
        .collect::<Vec<_>>()
        .join("\n"))
}

/// Returns the distinct words, each capitalised.
fn words(log: &str) -> String {
    let mut words: Vec<String> = log
        .split(|c: char| !c.is_ascii_alphabetic())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.sort_unstable();
    words.dedup();
    let capitalised: Vec<String> = words
        .iter()
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect();
    capitalised.join(" ")
}

/// Returns the lines in upper case and in reverse order.
fn shouted(log: &str) -> String {
    let lines: Vec<String> = log.lines().rev().map(str::to_uppercase).collect();
    lines.join("\n")
}

fn log(lines: usize) -> String {
    let mut random = random(2);
    let mut log = String::new();
    for _ in 0..lines {
        let (month, day) = (random.u32(1..13), random.u32(1..29));
        // Writing to a String cannot fail.
        let _ = write!(log, "2024-{month:02}-{day:02} INFO ");
        push_word(&mut random, &mut log);
        log.push('.');
        push_word(&mut random, &mut log);
        log.push_str("@example.org ");
        log.push_str(if random.bool() { "GET" } else { "POST" });
        log.push(' ');
        for _ in 0..random.u32(1..5) {
            log.push('/');
            push_word(&mut random, &mut log);
        }
        log.push_str(" answered ");
        let words = random.usize(2..20);
        push_words(&mut random, words, &mut log);
        log.push('\n');
    }
    log
}
