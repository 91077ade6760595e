// SPDX-License-Identifier: MIT OR Apache-2.0

//! Heap profiles for any axum router: `go tool pprof http://host/debug/pprof/heap`. The paths must
//! not be open to the internet.
//!
//! | request | answer |
//! |---|---|
//! | `GET /debug/pprof/heap?seconds=30` | a profile of the next 30 seconds |
//! | `GET /debug/pprof/heap` | the profile so far. The first request starts it |
//! | the same with `format=collapsed` | lines for flame graphs |
//! | `DELETE /debug/pprof/heap` | 204, the profile is stopped |

use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hakmem::profile::{self, Error, Options};
use serde::Deserialize;

/// Returns the routes, which need no state.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/debug/pprof/heap", get(heap).delete(stop))
}

#[derive(Deserialize)]
struct HeapQuery {
    seconds: Option<u16>,
    format: Option<String>,
}

async fn heap(Query(query): Query<HeapQuery>) -> Result<impl IntoResponse, (StatusCode, String)> {
    let unavailable = |error: Error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    // The guard stops the profile at the end, even if the client closes the connection early.
    let guard = match profile::start(Options::default()) {
        Ok(guard) => Some(guard),
        Err(Error::Running) => None,
        Err(error) => return Err(unavailable(error)),
    };
    match query.seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds.into())).await,
        None => std::mem::forget(guard),
    }

    let mut bytes = Vec::new();
    let take = |piece: &[u8]| bytes.extend_from_slice(piece);
    match query.format.as_deref() {
        Some("collapsed") => profile::collapsed(take),
        _ => profile::pprof(take),
    }
    .map_err(unavailable)?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes))
}

async fn stop() -> StatusCode {
    profile::stop();
    StatusCode::NO_CONTENT
}
