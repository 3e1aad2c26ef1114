//! What the consumer has in hand: deliveries decoded and waiting for their COMMIT, with the means to ack them.

use async_nats::jetstream::{
    self,
    message::{AckKind, Acker},
};
use shared::{
    message::{self, Arrivals},
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
        self.bytes += bytes_in_hand(&message, &arrivals);
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

/// What a message takes in memory until it is acked: its own bytes, and all that was made of them.
fn bytes_in_hand(message: &async_nats::Message, arrivals: &Arrivals) -> usize {
    let delivery = size_of::<Delivery>() + message.subject.len();
    let decoded = message::decoded_bytes(arrivals, &message.payload);
    message.length + decoded + delivery + size_of::<Acker>()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What counts for a message with so many of these elements.
    fn counted(element: &str, elements: usize) -> (usize, Arrivals) {
        let body = format!("[{}]", vec![element; elements].join(","));
        let message = async_nats::Message {
            subject: "events.t".into(),
            reply: None,
            length: body.len(),
            payload: body.into(),
            headers: None,
            status: None,
            description: None,
        };
        let arrivals = message::decode(&message.subject, &message.payload, 0);
        assert_eq!(arrivals.len(), elements);
        (bytes_in_hand(&message, &arrivals), arrivals)
    }

    #[test]
    fn the_texts_that_are_made_of_poison_count_in_the_bytes_of_a_batch() {
        let of_other_topic = format!(
            r#"{{"topic":"{}","event_id":"1","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{{}}}}"#,
            "é".repeat(120)
        );
        let strange = r#"{"a":1,"b":2,"c":3,"d":4,"e":5}"#;
        for element in ["{}", strange, r#"{"topic":""}"#, &of_other_topic] {
            let (bytes, arrivals) = counted(element, 1_000);
            let texts = arrivals.iter().filter_map(|arrival| arrival.as_ref().err());
            let texts: usize = texts.map(|rejection| rejection.detail.len()).sum();
            assert!(texts > 20 * 1_000, "{element}");
            let made = texts + size_of_val(arrivals.as_slice());
            assert!(bytes >= 1_000 * element.len() + made, "{element}: {bytes}");
        }
    }

    #[test]
    fn names_and_payloads_that_are_copies_count_in_the_bytes_of_a_batch() {
        let name = "n".repeat(200);
        let cloudevent = format!(
            r#"{{"specversion":"1.0","type":"t","source":"{name}","id":"1","data":"{name}"}}"#
        );
        let event = format!(
            r#"{{"topic":"t","event_id":"{name}","timestamp":"2026-01-31T12:00:00Z","source":"{name}","payload":{{}}}}"#
        );
        for element in [cloudevent, event] {
            let (bytes, arrivals) = counted(&element, 100);
            let made = size_of_val(arrivals.as_slice()) + 100 * 2 * name.len();
            assert!(arrivals.iter().all(Result::is_ok), "{element}");
            assert!(bytes >= 100 * element.len() + made, "{element}: {bytes}");
        }
    }
}
