//! Traffic as a source of events.

use std::convert::Infallible;

use bytes::BytesMut;

use super::{Position, Traffic};
use crate::flow::{Sample, Source};

/// Events made at once.
const CHUNK_EVENTS: u64 = 256;

/// Memory is asked for in blocks of so many bytes; one is given back when its last event is confirmed.
const BLOCK_BYTES: usize = 64 * 1024;

/// Bytes of an event beside its payload, about: where a block has less, the event begins the next one.
const AROUND_PAYLOAD_BYTES: usize = 512;

/// Makes events from the first position on.
#[derive(Debug)]
pub struct Generator<'a> {
    traffic: &'a Traffic,
    position: u64,
    end: u64,
    /// Events are written one behind the other, so that memory is asked for once for many of them.
    buffer: BytesMut,
}

impl<'a> Generator<'a> {
    /// Makes `count` events, or goes on for ever.
    #[must_use]
    pub fn new(traffic: &'a Traffic, count: Option<u64>) -> Self {
        Self {
            traffic,
            position: 0,
            end: count.unwrap_or(u64::MAX),
            buffer: BytesMut::new(),
        }
    }

    /// Makes the next events, at most `limit`; none at the end.
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
        let room = self.traffic.payload_bytes() + AROUND_PAYLOAD_BYTES;
        if self.buffer.capacity() < room {
            self.buffer = BytesMut::with_capacity(BLOCK_BYTES.max(room));
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
    async fn it_makes_as_many_events_as_asked_for() {
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
