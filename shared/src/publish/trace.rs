//! The span of a message: its parent and its links.

use super::gather::Message;
use crate::trace::{Kind, Span, TraceContext, Tracer};

/// Starts a span that covers the time from the first attempt to the `PubAck`. It belongs to the trace of the first request
/// with events in the message and is linked to the first 128 others
/// (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>).
pub(super) fn span(tracer: &Tracer, stream: &str, message: &Message, id: &str) -> Span {
    let mut contexts = contexts(message);
    let first = contexts.next();
    let name = || format!("send {stream}");
    let mut span = tracer.start(name, Kind::Producer, first);
    if span.is_recording() {
        let mut last = first;
        for context in contexts.filter(|context| Some(*context) != first) {
            // Chunks of the same request are adjacent.
            if last != Some(context) {
                span.link(context);
            }
            last = Some(context);
        }
        span.set("messaging.system", "nats");
        span.set("messaging.operation.type", "send");
        span.set("messaging.destination.name", stream.to_owned());
        span.set("messaging.message.id", id.to_owned());
        if let Some(topic) = &message.topic {
            span.set("event.topic", topic.as_str().to_owned());
        }
        span.set("message.events", number(message.events as u64));
    }
    span
}

/// The trace contexts of the requests with events in the message, in order.
pub(super) fn contexts(message: &Message) -> impl Iterator<Item = &TraceContext> {
    let chunks = message.chunks.iter();
    chunks.filter_map(|chunk| chunk.origin.context.as_ref())
}

/// A number as a span attribute.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{SdkTracerProvider, SpanData, SpanExporter},
    };
    use tokio::{
        sync::{Semaphore, oneshot},
        time::Instant,
    };

    use super::{
        super::{
            chunk::{Chunk, Origin, Subjects},
            gather::Gather,
        },
        *,
    };
    use crate::{event::Topic, stream::LARGEST_MESSAGE};

    /// Collects the spans that have ended.
    #[derive(Debug, Clone, Default)]
    struct Ended(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Ended {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    /// A message with one event of each request, given by its trace and its log span.
    pub fn message_of(requests: impl IntoIterator<Item = (Option<u8>, tracing::Span)>) -> Message {
        let mut gather = Gather::new(100, Subjects::default());
        let now = Instant::now();
        for (trace, log) in requests {
            let parent = trace.map(|trace| format!("00-{trace:032x}-{trace:016x}-01"));
            let context = parent.and_then(|parent| TraceContext::parse([parent.as_bytes()], None));
            let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
            let chunk = Chunk {
                topic: Some(Topic::new("a").unwrap()),
                events: vec![Bytes::from_static(b"{}")],
                bytes: 2,
                origin: Origin {
                    context,
                    log,
                    sender: None,
                },
                done: oneshot::channel().0,
                _permit: permit,
            };
            gather.add(chunk, LARGEST_MESSAGE, now);
        }
        gather.pop(0, now).unwrap()
    }

    #[test]
    fn a_message_is_in_the_trace_of_its_first_request_and_linked_to_the_others() {
        let ended = Ended::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(ended.clone())
            .build();
        let tracer = Tracer::on(provider.tracer("test"));
        let requests = [None, Some(1), Some(1), Some(2), None, Some(2), Some(3)];
        let message = message_of(requests.map(|trace| (trace, tracing::Span::none())));
        drop(span(&tracer, "EVENTS", &message, "id"));
        let ended = ended.0.lock().unwrap();
        let [span] = ended.as_slice() else {
            panic!("{ended:?}")
        };
        assert_eq!(span.name, "send EVENTS");
        assert_eq!(span.span_context.trace_id(), 1_u128.into());
        assert_eq!(span.parent_span_id, 1_u64.into());
        let links = span.links.iter();
        let links: Vec<_> = links.map(|link| link.span_context.trace_id()).collect();
        assert_eq!(links, [2_u128.into(), 3_u128.into()]);
    }
}
