// SPDX-License-Identifier: MIT OR Apache-2.0

//! Parses a large JSON document and writes it again, as a tree of values and as typed structs.

use std::collections::BTreeMap;

use anyhow::ensure;
use fastrand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Size;
use crate::input::{push_words, random, word};
use crate::measure::{Outcome, hash, timed};

const ORDERS: usize = 16_000;
const ROUNDS: usize = 8;

#[derive(Serialize, Deserialize)]
struct Order {
    id: u64,
    customer: Customer,
    items: Vec<Item>,
    comment: Option<String>,
    cents: BTreeMap<String, u32>,
}

#[derive(Serialize, Deserialize)]
struct Customer {
    name: String,
    email: String,
    address: Vec<String>,
    position: (f64, f64),
}

#[derive(Serialize, Deserialize)]
struct Item {
    product: String,
    tags: Vec<String>,
    count: u32,
    gift: bool,
}

pub(crate) fn run(size: Size) -> anyhow::Result<Outcome> {
    let document = document(size.of(ORDERS))?;
    timed(|| {
        let mut sum = 0;
        for _ in 0..ROUNDS {
            let orders: Vec<Order> = serde_json::from_slice(&document)?;
            let written = serde_json::to_vec(&orders)?;
            ensure!(written == document, "the orders differ from the document");
            let value: Value = serde_json::from_slice(&document)?;
            let written = value.to_string();
            ensure!(
                written.len() == document.len(),
                "the value differs from the document"
            );
            sum = hash(written.as_bytes());
        }
        Ok(sum)
    })
}

/// Creates the document. Besides the document, only one order at a time is in memory.
fn document(orders: usize) -> anyhow::Result<Vec<u8>> {
    let mut random = random(1);
    let mut document = vec![b'['];
    for id in 0..orders {
        if id > 0 {
            document.push(b',');
        }
        serde_json::to_writer(&mut document, &order(&mut random, id as u64))?;
    }
    document.push(b']');
    Ok(document)
}

fn order(random: &mut Rng, id: u64) -> Order {
    let name = text(random, 2);
    let email = name.replace(' ', ".") + "@example.org";
    Order {
        id,
        customer: Customer {
            name,
            email,
            address: (0..3).map(|_| text(random, 2)).collect(),
            // These numbers are exact in binary and in decimal.
            position: (quarter(random, 720), quarter(random, 1440)),
        },
        items: (0..random.usize(1..6))
            .map(|_| Item {
                product: text(random, 3),
                tags: (0..random.usize(0..4)).map(|_| word(random)).collect(),
                count: random.u32(1..100),
                gift: random.bool(),
            })
            .collect(),
        comment: random.bool().then(|| {
            let words = random.usize(5..60);
            text(random, words)
        }),
        cents: ["goods", "shipping", "taxes"]
            .map(|part| (part.to_owned(), random.u32(..100_000)))
            .into(),
    }
}

fn text(random: &mut Rng, words: usize) -> String {
    let mut text = String::new();
    push_words(random, words, &mut text);
    text
}

fn quarter(random: &mut Rng, bound: u32) -> f64 {
    f64::from(random.u32(..bound)) / 4.0
}
