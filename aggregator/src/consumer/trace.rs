//! The consumer's spans: one for each message, in its sender's trace, and one for each batch.
//!
//! One trace follows an event from its request to its COMMIT: a message's span lasts from its delivery
//! until its transaction has committed. The batch's span, in a trace of its own, shows the other messages of the transaction:
//! the spans are linked both ways, and the batch's keeps the first 128 links. A message without a context has
//! no span, and a batch has one if a span of one of its messages is recorded.

use async_nats::Message;
use shared::trace::{Kind, Span, TraceContext, Tracer};

use crate::store::Appended;

/// The span of a delivered message; `None` if tracing is off, or the message has no trace context.
pub(super) fn message(
    tracer: &Tracer,
    message: &Message,
    stream: &str,
    sequence: u64,
) -> Option<Span> {
    if !tracer.is_on() {
        return None;
    }
    let headers = message.headers.as_ref()?;
    let values = |name| headers.get_all(name).map(|value| value.as_str().as_bytes());
    let context = TraceContext::parse(values(TraceContext::PARENT), values(TraceContext::STATE))?;
    let name = || format!("process {stream}");
    let mut span = tracer.start(name, Kind::Consumer, Some(&context));
    if span.is_recording() {
        span.set("messaging.system", "nats");
        span.set("messaging.operation.type", "process");
        span.set("messaging.destination.name", stream.to_owned());
        if let Some(id) = headers.get("Nats-Msg-Id") {
            span.set("messaging.message.id", id.as_str().to_owned());
        }
        span.set("stream.sequence", number(sequence));
    }
    Some(span)
}

/// Records how many events a message contains.
pub(super) fn events(span: &mut Span, events: usize) {
    span.set("message.events", number(events as u64));
}

/// The span of a batch, linked to the recorded spans of its messages; not recorded if there are none.
pub(super) fn batch(
    tracer: &Tracer,
    messages: usize,
    events: usize,
    of_messages: &mut [Span],
) -> Span {
    let mut recorded = of_messages
        .iter_mut()
        .filter(|span| span.is_recording())
        .peekable();
    if recorded.peek().is_none() {
        return Span::default();
    }
    let mut span = tracer.start(|| "append", Kind::Internal, None);
    let Some(context) = span.context() else {
        return span;
    };
    span.set("batch.messages", number(messages as u64));
    span.set("batch.events", number(events as u64));
    for of_message in recorded {
        of_message.link(&context);
        if let Some(context) = of_message.context() {
            span.link(&context);
        }
    }
    span
}

/// Records what the store did with a batch.
pub(super) fn committed(span: &mut Span, appended: &Appended) {
    if span.is_recording() {
        span.set("batch.unique", number(appended.unique));
        span.set("batch.duplicates", number(appended.duplicates));
        span.set("batch.conflicts", number(appended.conflicts));
        span.set("batch.rejected", number(appended.rejected));
        span.set("batch.redelivered", number(appended.redelivered));
    }
}

/// Marks the spans of a batch that was not committed; its messages stay in the stream.
pub(super) fn not_committed(span: &mut Span, of_messages: &mut [Span]) {
    for span in std::iter::once(span).chain(of_messages) {
        span.fail("not committed".to_owned());
    }
}

/// Span attributes are signed.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
