//! Generated traffic as a source of events.

use std::convert::Infallible;

use bytes::BytesMut;

use super::{Position, Traffic};
use crate::flow::{Sample, Source};

/// Maximum events per chunk.
const CHUNK_EVENTS: usize = 256;

/// Maximum bytes per chunk, unless a single event is larger.
const CHUNK_BYTES: usize = 256 * 1024;

/// Memory is allocated in blocks of at least this many bytes; a block is freed once every event in it has been dropped.
const BLOCK_BYTES: usize = 64 * 1024;

/// Bytes reserved for an event in addition to its payload. An event for which the current block has too little space
/// starts a new one.
const ENVELOPE_BYTES: usize = 512;

/// Generates the events of the traffic in order.
#[derive(Debug)]
pub struct Generator<'a> {
    traffic: &'a Traffic,
    position: u64,
    end: u64,
    /// The current block. Events are written into it one after another, so that many events share one allocation.
    buffer: BytesMut,
}

impl<'a> Generator<'a> {
    /// Generates `count` events, or an endless sequence if `None`.
    #[must_use]
    pub fn new(traffic: &'a Traffic, count: Option<u64>) -> Self {
        Self {
            traffic,
            position: 0,
            end: count.unwrap_or(u64::MAX),
            buffer: BytesMut::new(),
        }
    }

    /// Generates the next events, at most `limit` and at most 256; none after the last one.
    pub fn take(&mut self, limit: usize) -> Vec<Sample> {
        let fitting = (CHUNK_BYTES / self.event_space()).max(1);
        let most = limit.min(CHUNK_EVENTS).min(fitting);
        let left = (self.end - self.position).min(most as u64);
        (0..left).map(|_| self.next()).collect()
    }

    /// Upper bound on the bytes of an event.
    fn event_space(&self) -> usize {
        self.traffic.payload_bytes() + ENVELOPE_BYTES
    }

    fn next(&mut self) -> Sample {
        let (index, is_new) = match self.traffic.at(self.position) {
            Position::New(index) => (index, true),
            Position::Duplicate(index) => (index, false),
        };
        self.position += 1;
        let space = self.event_space();
        if self.buffer.capacity() < space {
            self.buffer = BytesMut::with_capacity(BLOCK_BYTES.max(space));
        }
        let topic = self.traffic.write(index, &mut self.buffer);
        Sample {
            topic,
            json: self.buffer.split().freeze(),
            is_new,
        }
    }
}

impl Source for Generator<'_> {
    type Error = Infallible;

    async fn chunk(&mut self, limit: usize) -> Result<Option<Vec<Sample>>, Infallible> {
        let chunk = self.take(limit);
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Recipe, Share},
        *,
    };

    #[test]
    fn a_chunk_of_large_events_is_small() {
        let traffic = |payload_bytes| {
            Traffic::new(&Recipe {
                seed: 1,
                run_id: "r".to_owned(),
                topics: 3,
                share: Share::NONE,
                payload_bytes,
            })
        };
        for (payload_bytes, events) in [(100, 256), (50_000, 5), (523_264, 1)] {
            let traffic = traffic(payload_bytes);
            let chunk = Generator::new(&traffic, None).take(1_000);
            assert_eq!(chunk.len(), events, "{payload_bytes}");
        }
    }

    #[tokio::test]
    async fn it_generates_exactly_the_requested_events() {
        let traffic = Traffic::new(&Recipe {
            seed: 1,
            run_id: "r".to_owned(),
            topics: 3,
            share: Share::parse("0.25").unwrap(),
            payload_bytes: 100,
        });
        let mut generator = Generator::new(&traffic, Some(1_000));
        let (mut sent, mut new) = (0, 0);
        while let Some(chunk) = generator.chunk(77).await.unwrap() {
            assert!((1..=77).contains(&chunk.len()));
            sent += chunk.len();
            new += chunk.iter().filter(|sample| sample.is_new).count();
        }
        assert_eq!((sent, new), (1_000, 750));
    }
}
