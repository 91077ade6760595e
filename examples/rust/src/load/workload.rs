// SPDX-License-Identifier: MIT OR Apache-2.0

//! The requests of the load generator: documents and a mix of requests. The same seed gives the
//! same requests.

use std::collections::VecDeque;

use axum::http::{Method, StatusCode};
use fastrand::Rng;
use serde_json::json;

/// Number of distinct words in the documents. Their frequencies follow Zipf's law, as in natural
/// text.
const VOCABULARY: usize = 20_000;
/// Number of the most frequent words, which are never searched for.
const STOP_WORDS: usize = 100;
/// Documents per request while loading.
const BATCH: usize = 100;

/// A request and the expected status of its answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: String,
    pub(super) expected: StatusCode,
}

/// Generates the requests of one connection. Connections do not share documents, so each of them
/// knows its existing documents.
pub(super) struct Workload {
    rng: Rng,
    connection: usize,
    next_id: usize,
    /// Documents of this connection in the index, oldest first.
    present: VecDeque<String>,
}

impl Workload {
    pub(super) fn new(seed: u64, connection: usize) -> Self {
        let mut seeds = Rng::with_seed(seed);
        let rng = (0..=connection).fold(Rng::with_seed(0), |_, _| seeds.fork());
        Self {
            rng,
            connection,
            next_id: 0,
            present: VecDeque::new(),
        }
    }

    /// Returns requests that add `documents` documents.
    pub(super) fn loading(&mut self, documents: usize) -> Vec<Request> {
        (0..documents)
            .step_by(BATCH)
            .map(|first| {
                let count = BATCH.min(documents - first);
                let lines = (0..count).map(|_| self.new_document() + "\n").collect();
                post(lines)
            })
            .collect()
    }

    /// Returns `count` requests: 60 % search, 10 % get, 15 % add and 15 % delete a document.
    pub(super) fn mixed(&mut self, count: usize) -> Vec<Request> {
        (0..count)
            .map(|_| match self.rng.u32(0..100) {
                0..60 => self.search(),
                60..70 => self.get().unwrap_or_else(|| self.search()),
                70..85 => post(self.new_document()),
                _ => self.delete().unwrap_or_else(|| self.search()),
            })
            .collect()
    }

    fn new_document(&mut self) -> String {
        let id = format!("{}-{}", self.connection, self.next_id);
        self.next_id += 1;
        // From 8 to 400 words. Short documents are more frequent.
        let length = 8.0 * 50f64.powf(self.rng.f64());
        let document = json!({
            "id": id,
            "title": self.text(6),
            "text": self.text(length as usize),
            "tags": (0..self.rng.usize(0..5)).map(|_| self.word(0)).collect::<Vec<_>>(),
            "author": {"name": self.text(2), "active": self.rng.bool()},
            "views": self.rng.u32(..),
        });
        self.present.push_back(id);
        document.to_string()
    }

    fn search(&mut self) -> Request {
        let mut query = self.word(STOP_WORDS);
        if self.rng.bool() {
            query = query + "+" + &self.word(STOP_WORDS);
        }
        request(Method::GET, format!("/search?q={query}"), StatusCode::OK)
    }

    fn get(&mut self) -> Option<Request> {
        let id = self.rng.choice(&self.present)?;
        Some(request(
            Method::GET,
            format!("/documents/{id}"),
            StatusCode::OK,
        ))
    }

    fn delete(&mut self) -> Option<Request> {
        let id = self.present.pop_front()?;
        Some(request(
            Method::DELETE,
            format!("/documents/{id}"),
            StatusCode::NO_CONTENT,
        ))
    }

    fn text(&mut self, words: usize) -> String {
        (0..words)
            .map(|_| self.word(0))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Returns a word with a rank of at least `first`. Its probability is inversely proportional to
    /// the rank.
    fn word(&mut self, first: usize) -> String {
        let ratio = (VOCABULARY as f64) / (first + 1) as f64;
        let rank = (first + 1) as f64 * ratio.powf(self.rng.f64());
        spell(rank as usize)
    }
}

/// Returns a pronounceable word for a number.
fn spell(mut number: usize) -> String {
    const SYLLABLES: [&str; 16] = [
        "ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "xu",
        "za",
    ];
    let mut word = String::new();
    while number > 0 {
        word += SYLLABLES[number % SYLLABLES.len()];
        number /= SYLLABLES.len();
    }
    word
}

fn post(body: String) -> Request {
    Request {
        method: Method::POST,
        path: "/documents".to_owned(),
        body,
        expected: StatusCode::CREATED,
    }
}

fn request(method: Method, path: String, expected: StatusCode) -> Request {
    Request {
        method,
        path,
        body: String::new(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn same_seed_same_requests() {
        let requests = |seed, connection| {
            let mut workload = Workload::new(seed, connection);
            (workload.loading(250), workload.mixed(500))
        };
        assert_eq!(requests(1, 0), requests(1, 0));
        assert_ne!(requests(1, 0), requests(2, 0));
        assert_ne!(requests(1, 0).1, requests(1, 1).1);
    }

    #[test]
    fn loading_adds_each_document_once() {
        let requests = Workload::new(1, 0).loading(250);
        assert_eq!(requests.len(), 3);
        let ids: HashSet<String> = requests
            .iter()
            .flat_map(|request| request.body.lines())
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].to_string())
            .collect();
        assert_eq!(ids.len(), 250);
    }

    #[test]
    fn an_empty_index_is_never_asked_for_a_document() {
        let first = &Workload::new(1, 0).mixed(1000)[0];
        assert!(first.expected != StatusCode::NO_CONTENT && !first.path.starts_with("/documents/"));
    }

    #[test]
    fn spelling_is_unique() {
        let words: HashSet<String> = (1..=VOCABULARY).map(spell).collect();
        assert_eq!(words.len(), VOCABULARY);
    }
}
