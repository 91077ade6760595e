// SPDX-License-Identifier: MIT OR Apache-2.0

//! A request with a private heap. A list of all words of the index may need much memory, so it has
//! a limit, and a request that exceeds it fails alone. All memory of the request is freed with its
//! heap.

use std::cmp::Reverse;

use allocator_api2::vec::Vec as HeapVec;
use hakmem::Heap;
use hakmem::heap::Options;
use serde::Serialize;

use super::index::Index;

/// Limit for the memory of one request.
pub const REQUEST_BYTES_MAX: u64 = 16 << 20;

/// A word and the number of documents that contain it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Word {
    /// The word, in lower case.
    pub word: String,
    /// The number of documents.
    pub documents: usize,
}

/// Returns the `count` words that are in the most documents, in this order, or nothing if that
/// needs more than `bytes_max` bytes.
pub fn most_frequent(index: &Index, count: usize, bytes_max: u64) -> Option<Vec<Word>> {
    let heap = Heap::with(Options::default().name("words").limit(bytes_max)).ok()?;
    let mut words = HeapVec::new_in(&heap);
    words.try_reserve_exact(index.words()).ok()?;
    words.extend(index.documents_of_words());

    words.sort_unstable_by_key(|&(word, documents)| (Reverse(documents), word));
    words.truncate(count);
    let result = words.iter().map(|&(word, documents)| Word {
        word: word.to_owned(),
        documents,
    });
    Some(result.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::index::{Document, Prepared};
    use serde_json::json;

    fn index() -> Index {
        let mut index = Index::default();
        for (id, text) in ["a red fox", "a red dog", "a bird"].into_iter().enumerate() {
            let value = json!({"id": id.to_string(), "text": text});
            let document: Document = serde_json::from_value(value).unwrap();
            index.insert(Prepared::from(document));
        }
        index
    }

    #[test]
    fn words_are_ranked_by_documents_then_by_name() {
        let words = most_frequent(&index(), 3, REQUEST_BYTES_MAX).unwrap();
        let words: Vec<_> = words.iter().map(|w| (&*w.word, w.documents)).collect();
        assert_eq!(words, [("a", 3), ("red", 2), ("bird", 1)]);
    }

    #[test]
    fn a_list_that_exceeds_the_limit_is_refused() {
        assert_eq!(most_frequent(&index(), 3, 16), None);
    }
}
