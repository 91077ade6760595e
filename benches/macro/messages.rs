// SPDX-License-Identifier: MIT OR Apache-2.0

//! Passes messages through a chain of threads. The first thread creates them, the second one
//! decodes them, and the last one frees them.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context, anyhow};
use fastrand::Rng;

use crate::Size;
use crate::input::{log_uniform, random};
use crate::measure::{Outcome, timed};

/// Number of chains. Each has its own producer and decoder, and all share one collector.
const LINES: usize = 2;
const MESSAGES_PER_LINE: usize = 450_000;
/// Maximum number of messages in a channel. A sender blocks when it is full.
const QUEUE: usize = 512;
const FIELDS_MAX: usize = 6;
const FIELD_BYTES_MAX: usize = 4096;

/// Fields, each preceded by its length.
type Frame = Vec<u8>;

struct Message {
    fields: Vec<Box<[u8]>>,
}

pub(crate) fn run(size: Size) -> anyhow::Result<Outcome> {
    let messages = size.of(MESSAGES_PER_LINE);
    timed(|| {
        thread::scope(|scope| {
            let (decoded, collected) = sync_channel(QUEUE);
            let mut threads = Vec::new();
            for line in 0..LINES {
                let (produced, encoded) = sync_channel(QUEUE);
                let decoded = decoded.clone();
                let random = random(line as u64);
                threads.push(scope.spawn(move || produce(random, messages, &produced)));
                threads.push(scope.spawn(move || pass_on(&encoded, &decoded)));
            }
            // The collector ends with the last decoder.
            drop(decoded);
            let sum = collected
                .iter()
                .map(|message| message.sum())
                .fold(0, u64::wrapping_add);
            for thread in threads {
                thread.join().map_err(|_| anyhow!("a thread panicked"))??;
            }
            Ok(sum)
        })
    })
}

fn produce(mut random: Rng, messages: usize, next: &SyncSender<Frame>) -> anyhow::Result<()> {
    for _ in 0..messages {
        let mut frame = Frame::new();
        for _ in 0..random.usize(1..=FIELDS_MAX) {
            let bytes = log_uniform(&mut random, 8, FIELD_BYTES_MAX + 1);
            frame.extend((bytes as u32).to_le_bytes());
            frame.resize(frame.len() + bytes, random.u8(..));
        }
        next.send(frame)?;
    }
    Ok(())
}

fn pass_on(frames: &Receiver<Frame>, next: &SyncSender<Message>) -> anyhow::Result<()> {
    for frame in frames {
        next.send(Message::decode(&frame).context("a bad frame")?)?;
    }
    Ok(())
}

impl Message {
    fn decode(mut frame: &[u8]) -> Option<Self> {
        let mut fields = Vec::new();
        while let Some((length, rest)) = frame.split_first_chunk() {
            let (field, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            fields.push(field.into());
            frame = rest;
        }
        frame.is_empty().then_some(Self { fields })
    }

    fn sum(&self) -> u64 {
        let sums = self.fields.iter();
        sums.map(|field| field.len() as u64 * u64::from(field[field.len() / 2]))
            .sum()
    }
}
