// SPDX-License-Identifier: MIT OR Apache-2.0

//! A client for one persistent HTTP connection.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use axum::body::Bytes;
use axum::http::{Method, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    /// Connects to a service on this machine. Other addresses are rejected.
    pub async fn open(target: SocketAddr) -> anyhow::Result<Self> {
        ensure!(
            target.ip().is_loopback(),
            "{target} is not a loopback address"
        );
        let stream = TcpStream::connect(target)
            .await
            .with_context(|| format!("cannot connect to {target}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // This task reads and writes. The waiting request also gets its errors.
        tokio::spawn(connection);
        let host = target.to_string();
        Ok(Self { sender, host })
    }

    /// Sends a request and reads the whole answer.
    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: String,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .body(Full::from(body))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}
