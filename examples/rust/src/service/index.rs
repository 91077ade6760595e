// SPDX-License-Identifier: MIT OR Apache-2.0

//! The index: the documents, and for each word the documents that contain it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A JSON object with an `id`. All strings in its other fields are searchable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Unique key of the document.
    pub id: String,
    #[serde(flatten)]
    /// All other fields.
    pub fields: Map<String, Value>,
}

/// A document with its word counts, ready for [`Index::insert`].
#[derive(Debug)]
pub struct Prepared {
    document: Document,
    counts: HashMap<String, u32>,
}

impl From<Document> for Prepared {
    fn from(document: Document) -> Self {
        let counts = word_counts(&document);
        Self { document, counts }
    }
}

/// A search result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// Number of occurrences of the words.
    pub score: u32,
    /// The document.
    pub document: Arc<Document>,
}

/// The results of a search.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// Number of documents with all the words.
    pub total: usize,
    /// The best results.
    pub hits: Vec<Hit>,
}

/// An index into [`Index::slots`]. The slots of removed documents are reused.
type Slot = u32;

/// An index of documents. The documents are reference-counted, so that an answer can be written
/// without the lock of the index.
#[derive(Debug, Default)]
pub struct Index {
    slots: Vec<Option<Arc<Document>>>,
    free_slots: Vec<Slot>,
    slot_of_id: HashMap<String, Slot>,
    /// For each word, the documents that contain it and the number of occurrences.
    occurrences: HashMap<String, BTreeMap<Slot, u32>>,
}

impl Index {
    /// Adds a document. Returns the replaced document, if there was one with the same id.
    ///
    /// # Panics
    ///
    /// If there are more than `u32::MAX` documents.
    pub fn insert(&mut self, prepared: Prepared) -> Option<Arc<Document>> {
        let Prepared { document, counts } = prepared;
        let replaced = self.remove(&document.id);
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Slot::try_from(self.slots.len() - 1).expect("fewer than 2^32 documents")
        });
        for (word, count) in counts {
            self.occurrences
                .entry(word)
                .or_default()
                .insert(slot, count);
        }
        self.slot_of_id.insert(document.id.clone(), slot);
        self.slots[slot as usize] = Some(Arc::new(document));
        replaced
    }

    /// Removes and returns the document with this id.
    pub fn remove(&mut self, id: &str) -> Option<Arc<Document>> {
        let slot = self.slot_of_id.remove(id)?;
        let document = self.slots[slot as usize].take()?;
        self.free_slots.push(slot);
        for word in word_counts(&document).keys() {
            if let Some(slots) = self.occurrences.get_mut(word) {
                slots.remove(&slot);
                if slots.is_empty() {
                    self.occurrences.remove(word);
                }
            }
        }
        Some(document)
    }

    /// Returns the document with this id.
    pub fn get(&self, id: &str) -> Option<Arc<Document>> {
        let slot = *self.slot_of_id.get(id)?;
        self.slots[slot as usize].clone()
    }

    /// Returns at most `limit` documents that contain all words of `query`, best first. A query
    /// without words finds nothing.
    pub fn search(&self, query: &str, limit: usize) -> Found {
        let mut lists = Vec::new();
        for word in words(query) {
            match self.occurrences.get(&word) {
                Some(slots) => lists.push(slots),
                None => {
                    return Found {
                        total: 0,
                        hits: Vec::new(),
                    };
                }
            }
        }
        // Iterate over the documents of the rarest word, and look the other words up.
        lists.sort_unstable_by_key(|slots| slots.len());
        let Some((rarest, others)) = lists.split_first() else {
            return Found {
                total: 0,
                hits: Vec::new(),
            };
        };

        let mut total = 0;
        let mut best = BinaryHeap::new();
        for (slot, count) in rarest.iter() {
            let other_counts: Option<u32> = others.iter().map(|slots| slots.get(slot)).sum();
            if let Some(other_counts) = other_counts {
                total += 1;
                best.push(Reverse((count + other_counts, Reverse(*slot))));
                if best.len() > limit {
                    best.pop();
                }
            }
        }
        let hits = best
            .into_sorted_vec()
            .into_iter()
            .filter_map(|Reverse((score, Reverse(slot)))| {
                let document = self.slots[slot as usize].clone()?;
                Some(Hit { score, document })
            })
            .collect();
        Found { total, hits }
    }

    /// Returns the number of documents.
    pub fn documents(&self) -> usize {
        self.slot_of_id.len()
    }

    /// Returns the words in the documents, each with the number of documents that contain it.
    pub fn documents_of_words(&self) -> impl ExactSizeIterator<Item = (&str, usize)> {
        let words = self.occurrences.iter();
        words.map(|(word, slots)| (word.as_str(), slots.len()))
    }

    /// Returns the number of distinct words in the documents.
    pub fn words(&self) -> usize {
        self.occurrences.len()
    }
}

/// Returns the words of a text: sequences of letters and digits, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// Returns the words of a document with the number of their occurrences.
fn word_counts(document: &Document) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    let mut values: Vec<&Value> = document.fields.values().collect();
    while let Some(value) = values.pop() {
        match value {
            Value::String(text) => {
                words(text).for_each(|word| *counts.entry(word).or_default() += 1);
            }
            Value::Array(items) => values.extend(items),
            Value::Object(fields) => values.extend(fields.values()),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(value: Value) -> Prepared {
        Prepared::from(serde_json::from_value::<Document>(value).unwrap())
    }

    fn ids(found: &Found) -> Vec<&str> {
        found
            .hits
            .iter()
            .map(|hit| hit.document.id.as_str())
            .collect()
    }

    fn index() -> Index {
        let mut index = Index::default();
        index.insert(document(
            json!({"id": "a", "text": "The red fox, the RED dog"}),
        ));
        index.insert(document(
            json!({"id": "b", "text": "a red hat", "tags": ["fox", {"x": "hat"}]}),
        ));
        index.insert(document(
            json!({"id": "c", "text": "nothing", "year": 2024}),
        ));
        index
    }

    #[test]
    fn finds_words_in_any_case_and_depth() {
        assert_eq!(ids(&index().search("Nothing", 10)), ["c"]);
        assert_eq!(ids(&index().search("hat", 10)), ["b"]);
    }

    #[test]
    fn ranks_by_occurrences_then_by_age() {
        let found = index().search("red", 10);
        assert_eq!(ids(&found), ["a", "b"]);
        assert_eq!(found.hits[0].score, 2);
        assert_eq!(ids(&index().search("fox", 10)), ["a", "b"]);
    }

    #[test]
    fn all_words_must_occur() {
        assert_eq!(ids(&index().search("red hat", 10)), ["b"]);
        assert_eq!(ids(&index().search("red nothing", 10)), [] as [&str; 0]);
        assert_eq!(ids(&index().search("red unknown", 10)), [] as [&str; 0]);
        assert_eq!(index().search(" ,;", 10).total, 0);
    }

    #[test]
    fn limit_cuts_the_hits_but_not_the_total() {
        let found = index().search("red", 1);
        assert_eq!((ids(&found), found.total), (vec!["a"], 2));
        assert_eq!(index().search("red", 0).total, 2);
    }

    #[test]
    fn insert_replaces_the_document_of_the_same_id() {
        let mut index = index();
        let replaced = index.insert(document(json!({"id": "a", "text": "blue"})));
        assert_eq!(replaced.unwrap().fields["text"], "The red fox, the RED dog");
        assert_eq!(index.documents(), 3);
        assert_eq!(ids(&index.search("red", 10)), ["b"]);
        assert_eq!(ids(&index.search("blue", 10)), ["a"]);
    }

    #[test]
    fn remove_leaves_nothing_behind() {
        let mut index = index();
        for id in ["a", "b", "c"] {
            assert_eq!(index.remove(id).unwrap().id, id);
            assert_eq!(index.remove(id), None);
            assert_eq!(index.get(id), None);
        }
        assert_eq!((index.documents(), index.words()), (0, 0));
        index.insert(document(json!({"id": "d"})));
        assert_eq!(index.slots.len(), 3, "a free slot is used again");
    }

    #[test]
    fn documents_come_back_as_they_were() {
        let value = json!({"id": "x", "nested": {"list": [1, 2.5, null, true]}});
        let mut index = Index::default();
        index.insert(document(value.clone()));
        assert_eq!(
            serde_json::to_value(&*index.get("x").unwrap()).unwrap(),
            value
        );
    }
}
