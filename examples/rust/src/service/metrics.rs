// SPDX-License-Identifier: MIT OR Apache-2.0

//! The answer to `GET /metrics`, in the text format of Prometheus. A service on axum can copy this
//! module.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

/// The metrics of the allocator, followed by those of the service.
#[derive(Debug)]
pub struct Metrics(String);

impl Metrics {
    /// Starts with those of the allocator, for instance `hakmem::report(Format::Prometheus)`.
    pub fn new(allocator: impl ToString) -> Self {
        Self(allocator.to_string())
    }

    /// Adds a current value.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.0.push_str(&format!(
            "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"
        ));
    }
}

impl IntoResponse for Metrics {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "text/plain; version=0.0.4")], self.0).into_response()
    }
}
