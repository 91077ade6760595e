// SPDX-License-Identifier: MIT OR Apache-2.0

//! The HTTP interface of the index. Errors are JSON as well: `{"error": "..."}`.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::index::{Document, Found, Index, Prepared};
use super::metrics::Metrics;
use super::words::{self, Word};
use super::{Allocator, profile};
use crate::process;

const LIMIT_DEFAULT: usize = 10;
const LIMIT_MAX: usize = 1000;

/// Returns the routes of the service, with an empty index. Bodies larger than `body_bytes_max` are
/// rejected.
pub fn router(allocator: Allocator, body_bytes_max: usize) -> Router {
    let service = Service {
        index: Arc::default(),
        allocator,
    };
    let mut optional = Router::new();
    if allocator.profiles {
        optional = optional.merge(profile::routes());
    }
    if allocator.heaps {
        optional = optional.route("/words", get(frequent_words));
    }
    optional
        .route(
            "/documents",
            post(add_documents).delete(remove_all_documents),
        )
        .route("/documents/{id}", get(get_document).delete(remove_document))
        .route("/search", get(search))
        .route("/stats", get(stats))
        .route("/metrics", get(metrics))
        .fallback(|| async { Error::new(StatusCode::NOT_FOUND, "no such path") })
        .method_not_allowed_fallback(|| async {
            Error::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path has other methods",
            )
        })
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .with_state(service)
}

/// The state of the handlers. They hold the lock only while they use the index, not while they read
/// requests or write answers.
#[derive(Clone)]
struct Service {
    index: Arc<RwLock<Index>>,
    allocator: Allocator,
}

impl Service {
    // A panic in one handler must not affect other requests, so we ignore poisoning.
    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Error {
    status: StatusCode,
    cause: String,
}

impl Error {
    fn new(status: StatusCode, cause: impl Into<String>) -> Self {
        Self {
            status,
            cause: cause.into(),
        }
    }

    fn no_document(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("no document {id:?}"))
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.cause }))).into_response()
    }
}

macro_rules! error_from_rejection {
    ($($rejection:ty),*) => {
        $(impl From<$rejection> for Error {
            fn from(rejection: $rejection) -> Self {
                Self::new(rejection.status(), rejection.body_text())
            }
        })*
    };
}
error_from_rejection!(BytesRejection, PathRejection, QueryRejection);

#[derive(Serialize)]
struct Added {
    added: usize,
    replaced: usize,
}

/// `POST /documents`: one or more documents (JSON lines). If any of them is invalid, none is added.
async fn add_documents(
    State(service): State<Service>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Added>), Error> {
    let documents = serde_json::Deserializer::from_slice(&body?)
        .into_iter::<Document>()
        .map(|document| document.map(Prepared::from))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    if documents.is_empty() {
        return Err(Error::new(
            StatusCode::BAD_REQUEST,
            "no document in the body",
        ));
    }

    let count = documents.len();
    let mut index = service.index_mut();
    let replaced: Vec<_> = documents
        .into_iter()
        .filter_map(|d| index.insert(d))
        .collect();
    drop(index);
    let added = Added {
        added: count - replaced.len(),
        replaced: replaced.len(),
    };
    Ok((StatusCode::CREATED, Json(added)))
}

/// `GET /documents/{id}`
async fn get_document(
    State(service): State<Service>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Arc<Document>>, Error> {
    let Path(id) = id?;
    let document = service.index().get(&id);
    document.map(Json).ok_or_else(|| Error::no_document(&id))
}

/// `DELETE /documents`
async fn remove_all_documents(State(service): State<Service>) -> StatusCode {
    let removed = std::mem::take(&mut *service.index_mut());
    // This takes a while, so neither other requests nor the answer to this one wait for it.
    tokio::task::spawn_blocking(|| drop(removed));
    StatusCode::NO_CONTENT
}

/// `DELETE /documents/{id}`
async fn remove_document(
    State(service): State<Service>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Error> {
    let Path(id) = id?;
    let removed = service.index_mut().remove(&id);
    removed
        .map(|_| StatusCode::NO_CONTENT)
        .ok_or_else(|| Error::no_document(&id))
}

#[derive(Deserialize)]
struct SearchQuery {
    q: String,
    limit: Option<usize>,
}

/// `GET /search?q=words&limit=10`
async fn search(
    State(service): State<Service>,
    query: Result<Query<SearchQuery>, QueryRejection>,
) -> Result<Json<Found>, Error> {
    let Query(SearchQuery { q, limit }) = query?;
    let limit = limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
    let found = service.index().search(&q, limit);
    Ok(Json(found))
}

#[derive(Deserialize)]
struct WordsQuery {
    limit: Option<usize>,
}

/// `GET /words?limit=10`
async fn frequent_words(
    State(service): State<Service>,
    query: Result<Query<WordsQuery>, QueryRejection>,
) -> Result<Json<Vec<Word>>, Error> {
    let limit = query?.limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
    let index = service.index();
    let words = words::most_frequent(&index, limit, words::REQUEST_BYTES_MAX);
    words.map(Json).ok_or_else(|| {
        let cause = "the list of words needs too much memory";
        Error::new(StatusCode::SERVICE_UNAVAILABLE, cause)
    })
}

fn memory() -> Result<process::Memory, Error> {
    process::Memory::of(process::Pid::This)
        .map_err(|error| Error::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// `GET /stats`
async fn stats(State(service): State<Service>) -> Result<Json<Value>, Error> {
    let memory = memory()?;
    let index = service.index();
    let (documents, words) = (index.documents(), index.words());
    drop(index);
    Ok(Json(json!({
        "allocator": service.allocator.name,
        "documents": documents,
        "words": words,
        "rss_bytes": memory.rss_bytes,
        "rss_peak_bytes": memory.rss_peak_bytes,
        "statistics": (service.allocator.statistics)(),
    })))
}

/// `GET /metrics`
async fn metrics(State(service): State<Service>) -> Result<Metrics, Error> {
    let rss_bytes = memory()?.rss_bytes;
    let index = service.index();
    let (documents, words) = (index.documents(), index.words());
    drop(index);

    let mut metrics = Metrics::new((service.allocator.metrics)());
    metrics.gauge(
        "process_resident_memory_bytes",
        "Resident memory of the process",
        rss_bytes,
    );
    metrics.gauge("service_documents", "Documents", documents as u64);
    metrics.gauge("service_words", "Different words", words as u64);
    Ok(metrics)
}
