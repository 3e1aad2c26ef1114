//! A batch: decoded deliveries with the means to ack them, and the decision when it is appended.

use async_nats::{
    HeaderMap,
    jetstream::{
        self,
        message::{AckKind, Acker},
    },
};
use shared::{
    message::{self, Arrivals},
    publish::{SENDERS, Senders},
    trace::{Span, Tracer},
};
use tokio::time::Instant;

use super::{BatchLimits, trace};
use crate::store::{BATCHES_IN_FLIGHT, Delivery};

/// The memory of a message's span in addition to the message's headers.
const SPAN_BYTES: usize = 1024;

/// What to do with the batch that is gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Append it now.
    Append,
    /// Keep gathering until this time; without a time, the batch is empty and waits for a message.
    WaitUntil(Option<Instant>),
    /// Decide again after a commit. A batch that is not full keeps gathering meanwhile.
    WaitForCommit,
}

/// Deliveries that are appended together. Its bytes are those of its messages and of their decoded elements.
#[derive(Default)]
pub(super) struct Batch {
    pub deliveries: Vec<Delivery>,
    pub ackers: Ackers,
    /// The spans of its messages that have a trace context, if tracing is on.
    pub spans: Vec<Span>,
    events: usize,
    bytes: usize,
    since: Option<Instant>,
}

impl Batch {
    /// Decodes a message and adds it. A message that JetStream did not send has no sequence: it
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
        self.bytes += bytes_in_memory(&message, &arrivals);
        self.since.get_or_insert_with(Instant::now);
        self.deliveries.push(Delivery {
            subject: message.subject.to_string(),
            sequence,
            time,
            arrivals,
            senders: senders(message.headers.as_ref()),
        });
        self.ackers.0.push(acker);
        Ok(())
    }

    /// What to do with the batch while this many others are in flight. A full batch is appended as soon as the store can
    /// take it. One that is not full waits for its time, and while another batch commits: until then it may still grow.
    pub fn next_step(&self, limits: &BatchLimits, now: Instant, in_flight: usize) -> Step {
        let Some(since) = self.since else {
            return Step::WaitUntil(None);
        };
        let due = since + limits.wait;
        match (self.is_full(limits), in_flight) {
            (true, 0..BATCHES_IN_FLIGHT) => Step::Append,
            (false, 0) if due <= now => Step::Append,
            (false, 0) => Step::WaitUntil(Some(due)),
            _ => Step::WaitForCommit,
        }
    }

    pub fn is_full(&self, limits: &BatchLimits) -> bool {
        self.events >= limits.events || self.bytes >= limits.bytes
    }

    pub fn events(&self) -> usize {
        self.events
    }
}

/// The senders of a message's elements.
pub(super) fn senders(headers: Option<&HeaderMap>) -> Senders {
    let header = headers.and_then(|headers| headers.get(SENDERS));
    header.map_or_else(Senders::default, |header| Senders::parse(header.as_str()))
}

/// The memory of a message until it is acked: its own bytes, and its decoded elements.
fn bytes_in_memory(message: &async_nats::Message, arrivals: &Arrivals) -> usize {
    let delivery = size_of::<Delivery>() + message.subject.len();
    let decoded = message::decoded_bytes(arrivals, &message.payload);
    message.length + decoded + delivery + size_of::<Acker>()
}

/// The means to ack the messages of a batch.
#[derive(Default)]
pub(super) struct Ackers(Vec<Acker>);

impl Ackers {
    /// Sends an ack of this kind for each message. A lost ack only causes a redelivery.
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
    use std::time::Duration;

    use super::*;

    const LIMITS: BatchLimits = BatchLimits {
        events: 100,
        bytes: 1_000,
        wait: Duration::from_millis(5),
    };

    fn batch(since: Instant, events: usize, bytes: usize) -> Batch {
        Batch {
            events,
            bytes,
            since: Some(since),
            ..Batch::default()
        }
    }

    #[test]
    fn an_empty_batch_waits_for_a_message_whatever_is_in_flight() {
        for in_flight in 0..=BATCHES_IN_FLIGHT {
            let step = Batch::default().next_step(&LIMITS, Instant::now(), in_flight);
            assert_eq!(step, Step::WaitUntil(None));
        }
    }

    #[test]
    fn a_batch_that_is_not_full_waits_for_its_time_and_for_the_batches_in_flight() {
        let start = Instant::now();
        let due = start + LIMITS.wait;
        let batch = batch(start, 99, 999);
        assert_eq!(
            batch.next_step(&LIMITS, start, 0),
            Step::WaitUntil(Some(due))
        );
        assert_eq!(batch.next_step(&LIMITS, due, 0), Step::Append);
        for in_flight in 1..=BATCHES_IN_FLIGHT {
            for now in [start, due, due + LIMITS.wait] {
                let step = batch.next_step(&LIMITS, now, in_flight);
                assert_eq!(step, Step::WaitForCommit);
            }
        }
    }

    #[test]
    fn a_full_batch_is_appended_as_soon_as_the_store_can_take_it() {
        let start = Instant::now();
        for full in [batch(start, 100, 1), batch(start, 1, 1_000)] {
            for in_flight in 0..BATCHES_IN_FLIGHT {
                let step = full.next_step(&LIMITS, start, in_flight);
                assert_eq!(step, Step::Append);
            }
            let step = full.next_step(&LIMITS, start + LIMITS.wait, BATCHES_IN_FLIGHT);
            assert_eq!(step, Step::WaitForCommit);
        }
    }

    #[test]
    fn the_last_batch_of_a_session_waits_for_no_further_message() {
        let start = Instant::now();
        let limits = LIMITS.without_wait();
        assert_eq!(
            batch(start, 1, 1).next_step(&limits, start, 0),
            Step::Append
        );
        assert_eq!(
            batch(start, 1, 1).next_step(&limits, start, 1),
            Step::WaitForCommit
        );
    }

    #[test]
    fn the_readme_names_the_number_of_batches_in_memory() {
        assert_eq!(BATCHES_IN_FLIGHT + 1, 4, "with the one that is gathered");
        let readme = include_str!("../../README.md");
        assert!(readme.contains("four batches of `--batch-bytes`"));
    }

    /// The bytes counted for a message with this many of these elements.
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
        (bytes_in_memory(&message, &arrivals), arrivals)
    }

    #[test]
    fn the_texts_of_rejections_count_in_the_bytes_of_a_batch() {
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
    fn copied_names_and_payloads_count_in_the_bytes_of_a_batch() {
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
