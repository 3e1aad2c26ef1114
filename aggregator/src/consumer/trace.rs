//! Spans of the consumer's: one of each message, in the trace of those who sent it, and one of each batch.
//!
//! Who follows one event finds it in one trace, from its request to its COMMIT: a message's span lasts from its delivery
//! until its transaction has committed. What it shared that transaction with is in the batch's span, which stands in a
//! trace of its own: each is linked to the other, of which the batch's keeps the first 128. A message without a context gets
//! no span, and a batch gets one where one of its messages has a span that is kept.

use async_nats::Message;
use shared::trace::{Kind, Span, TraceContext, Tracer};

use crate::store::Appended;

/// Of a message that was delivered; none where spans are not made, or nobody has begun a trace.
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

/// How many events a message turned out to have.
pub(super) fn events(span: &mut Span, events: usize) {
    span.set("message.events", number(events as u64));
}

/// Of a batch, linked to those of its messages, as their senders have them kept; none where none is.
pub(super) fn batch(
    tracer: &Tracer,
    messages: usize,
    events: usize,
    of_messages: &mut [Span],
) -> Span {
    let mut kept = of_messages
        .iter_mut()
        .filter(|span| span.is_recording())
        .peekable();
    if kept.peek().is_none() {
        return Span::default();
    }
    let mut span = tracer.start(|| "append", Kind::Internal, None);
    let Some(context) = span.context() else {
        return span;
    };
    span.set("batch.messages", number(messages as u64));
    span.set("batch.events", number(events as u64));
    for of_message in kept {
        of_message.link(&context);
        if let Some(context) = of_message.context() {
            span.link(&context);
        }
    }
    span
}

/// What the store did with a batch.
pub(super) fn committed(span: &mut Span, appended: &Appended) {
    if span.is_recording() {
        span.set("batch.unique", number(appended.unique));
        span.set("batch.duplicates", number(appended.duplicates));
        span.set("batch.conflicts", number(appended.conflicts));
        span.set("batch.rejected", number(appended.rejected));
        span.set("batch.redelivered", number(appended.redelivered));
    }
}

/// A batch was not committed; its messages stay in the stream.
pub(super) fn given_up(span: &mut Span, of_messages: &mut [Span]) {
    for span in std::iter::once(span).chain(of_messages) {
        span.fail("not committed".to_owned());
    }
}

/// As spans have numbers.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
