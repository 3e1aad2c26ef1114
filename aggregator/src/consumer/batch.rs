//! What the consumer has in hand: deliveries decoded and waiting for their COMMIT, with the means to ack them.

use async_nats::jetstream::{
    self,
    message::{AckKind, Acker},
};
use shared::{
    message,
    trace::{Span, Tracer},
};
use tokio::time::Instant;

use super::{BatchLimits, trace};
use crate::store::Delivery;

/// What a span of a message takes in memory, beside what its headers say.
const SPAN_BYTES: usize = 1024;

/// Deliveries that are appended together. Its bytes are those of messages and of what was made of them.
#[derive(Default)]
pub(super) struct Batch {
    pub deliveries: Vec<Delivery>,
    pub ackers: Ackers,
    /// Of those of its messages that came with a trace context, where spans are made.
    pub spans: Vec<Span>,
    events: usize,
    bytes: usize,
    since: Option<Instant>,
}

impl Batch {
    /// Decodes a message and adds it. A message that JetStream did not send has no place in the stream: it
    /// is returned as an error, and there is nothing to ack.
    pub fn add(
        &mut self,
        message: jetstream::Message,
        tracer: &Tracer,
    ) -> Result<(), async_nats::Error> {
        let (sequence, time, mut span) = {
            let info = message.info()?;
            let sequence = info.stream_sequence;
            let span = trace::message(tracer, &message.message, info.stream, sequence);
            (sequence, info.published.unix_timestamp_nanos(), span)
        };
        let (message, acker) = message.split();
        let time = i64::try_from(time).unwrap_or(i64::MAX);
        let arrivals = message::decode(&message.subject, &message.payload, time);
        if let Some(span) = &mut span {
            trace::events(span, arrivals.len());
            self.bytes += SPAN_BYTES;
        }
        self.spans.extend(span);
        self.events += arrivals.len();
        self.bytes += message.length + size_of_val(arrivals.as_slice());
        self.since.get_or_insert_with(Instant::now);
        self.deliveries.push(Delivery {
            subject: message.subject.to_string(),
            sequence,
            time,
            arrivals,
        });
        self.ackers.0.push(acker);
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    pub fn is_full(&self, limits: &BatchLimits) -> bool {
        self.events >= limits.events || self.bytes >= limits.bytes
    }

    /// When it is to be appended, full or not.
    pub fn due(&self, limits: &BatchLimits) -> Option<Instant> {
        self.since.map(|since| since + limits.wait)
    }

    pub fn events(&self) -> usize {
        self.events
    }
}

/// The means to ack the messages of a batch.
#[derive(Default)]
pub(super) struct Ackers(Vec<Acker>);

impl Ackers {
    /// Sends an ack of this kind for each. One that does not get through means a redelivery, no more.
    pub async fn send(&self, kind: AckKind) {
        for acker in &self.0 {
            if let Err(err) = acker.ack_with(kind).await {
                tracing::debug!(error = %err, "an ack was not sent");
                return;
            }
        }
    }
}
