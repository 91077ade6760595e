// SPDX-License-Identifier: MIT OR Apache-2.0

//! Clients on a tokio runtime send requests over channels. A separate task answers each request.

use anyhow::ensure;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::Size;
use crate::input::{log_uniform, random};
use crate::measure::{Outcome, timed};

const CLIENTS: usize = 64;
const REQUESTS_PER_CLIENT: usize = 20_000;
/// Maximum number of queued requests. Clients wait when the queue is full.
const QUEUE: usize = 256;
const ANSWER_BYTES_MAX: usize = 4096;

struct Request {
    path: String,
    bytes: usize,
    answer: oneshot::Sender<Vec<u8>>,
}

pub(crate) fn run(size: Size) -> anyhow::Result<Outcome> {
    let requests = size.of(REQUESTS_PER_CLIENT);
    timed(|| {
        // A multi-threaded runtime with one thread per CPU.
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(async {
            let (sender, receiver) = mpsc::channel(QUEUE);
            tokio::spawn(serve(receiver));
            let mut clients = JoinSet::new();
            for number in 0..CLIENTS {
                clients.spawn(ask(number, requests, sender.clone()));
            }
            let mut sum: u64 = 0;
            while let Some(part) = clients.join_next().await {
                sum = sum.wrapping_add(part??);
            }
            Ok(sum)
        })
    })
}

async fn serve(mut requests: mpsc::Receiver<Request>) {
    while let Some(request) = requests.recv().await {
        tokio::spawn(async move {
            let mut answer = request.path.into_bytes();
            answer.resize(request.bytes, b' ');
            // A client that no longer waits reports its own failure.
            let _ = request.answer.send(answer);
        });
    }
}

async fn ask(
    number: usize,
    requests: usize,
    service: mpsc::Sender<Request>,
) -> anyhow::Result<u64> {
    let mut random = random(number as u64);
    let mut sum: u64 = 0;
    for index in 0..requests {
        let path = format!("/clients/{number}/requests/{index}");
        let bytes = log_uniform(&mut random, 64, ANSWER_BYTES_MAX + 1);
        let (answer, answered) = oneshot::channel();
        let request = Request {
            path: path.clone(),
            bytes,
            answer,
        };
        service.send(request).await?;
        let answer = answered.await?;
        ensure!(answer.starts_with(path.as_bytes()), "a wrong answer");
        sum += answer.len() as u64;
    }
    Ok(sum)
}
