//! Generated traffic as a source of events.

use std::convert::Infallible;

use bytes::BytesMut;

use super::{Position, Traffic};
use crate::flow::{Sample, Source};

/// Maximum events per chunk.
const CHUNK_EVENTS: u64 = 256;

/// Memory is allocated in blocks of this many bytes; a block is freed when its last event is confirmed.
const BLOCK_BYTES: usize = 64 * 1024;

/// Approximate bytes of an event without its payload: if a block has less space, the event starts the next one.
const ENVELOPE_BYTES: usize = 512;

/// Generates the events of the traffic in order.
#[derive(Debug)]
pub struct Generator<'a> {
    traffic: &'a Traffic,
    position: u64,
    end: u64,
    /// Events are written one after another into shared blocks, so that many events need one allocation.
    buffer: BytesMut,
}

impl<'a> Generator<'a> {
    /// Generates `count` events, or events without end.
    #[must_use]
    pub fn new(traffic: &'a Traffic, count: Option<u64>) -> Self {
        Self {
            traffic,
            position: 0,
            end: count.unwrap_or(u64::MAX),
            buffer: BytesMut::new(),
        }
    }

    /// Generates the next events, at most `limit`; none at the end.
    pub fn take(&mut self, limit: usize) -> Vec<Sample> {
        let left = (self.end - self.position)
            .min(CHUNK_EVENTS)
            .min(limit as u64);
        (0..left).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Sample {
        let (index, is_new) = match self.traffic.at(self.position) {
            Position::New(index) => (index, true),
            Position::Duplicate(index) => (index, false),
        };
        self.position += 1;
        let space = self.traffic.payload_bytes() + ENVELOPE_BYTES;
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
