//! The delivery of one message to the stream: tried again, under one id, until its `PubAck` comes.

use std::time::Duration;

use async_nats::jetstream::{
    self, ErrorCode,
    context::{PublishError as NatsError, PublishErrorKind},
    message::PublishMessage,
};
use bytes::Bytes;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tracing::debug;

use super::{Observer, PubAck, PublishError, gather::Message};
use crate::{
    connection::Connection,
    message, subject,
    trace::{Kind, Span, TraceContext, Tracer},
};

/// How long a message is tried again after an attempt whose outcome is unknown. The broker knows its id
/// for [`crate::stream::DUPLICATE_WINDOW`] (120 s) from when it stored it; the last attempt must end well before.
pub const UNCONFIRMED_AFTER: Duration = Duration::from_secs(90);

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What deliveries need and share.
#[derive(Debug)]
pub(super) struct Delivery<'a> {
    pub connection: &'a Connection,
    pub stream: &'a str,
    /// Why a message is being tried again; cleared by the next confirmation.
    pub obstacle: &'a watch::Sender<Option<String>>,
    pub observer: Option<&'a dyn Observer>,
    pub tracer: &'a Tracer,
}

impl Delivery<'_> {
    /// Sends a message until it is confirmed, refused or given up, and tells its callers.
    pub async fn run(&self, mut message: Message) {
        let id = nuid::next();
        let mut span = span(self.tracer, self.stream, &message, &id);
        // The context that the message has in the stream: that of its span, or what the first of its requests brought.
        let context = span.context();
        let context = context.or_else(|| contexts(&message).next().cloned());
        let outcome = self.confirm(&mut message, &id, context.as_ref()).await;
        match &outcome {
            Ok(ack) => span.set("stream.sequence", number(ack.sequence)),
            Err(err) => span.fail(err.to_string()),
        }
        drop(span);
        if let Ok(ack) = &outcome {
            if let Some(observer) = self.observer {
                observer.confirmed(ack.latency);
            }
            self.obstacle
                .send_if_modified(|obstacle| obstacle.take().is_some());
        }
        let mut first = 0;
        for piece in message.pieces {
            // A caller that no longer waits does not want to know.
            let _ = piece.done.send(outcome.clone().map(|ack| (ack, first)));
            first += piece.events.len();
        }
    }

    async fn confirm(
        &self,
        message: &mut Message,
        id: &str,
        context: Option<&TraceContext>,
    ) -> Result<PubAck, PublishError> {
        let Self {
            connection, stream, ..
        } = self;
        let subject = subject::of(&message.topic);
        let mut body: Option<Bytes> = None;
        let mut started: Option<Instant> = None;
        // When the first attempt began whose outcome is unknown.
        let mut unsure_since: Option<Instant> = None;
        let mut pause = FIRST_PAUSE;
        let mut last_error = "the connection was lost".to_owned();
        loop {
            // The client would queue a publish while it is disconnected and send it at some later time.
            let give_up = unsure_since.map(|since| since + UNCONFIRMED_AFTER);
            match give_up {
                None => drop(connection.connected().await),
                Some(deadline) => {
                    let connected = timeout_at(deadline, connection.connected()).await;
                    if connected.is_err() || Instant::now() + pause >= deadline {
                        return Err(PublishError::Unconfirmed(last_error));
                    }
                }
            }
            // What nobody waits for any more, and was never sent, need not be sent.
            if body.is_none() {
                message.pieces.retain(|piece| !piece.done.is_closed());
            }
            if message.pieces.iter().all(|piece| piece.done.is_closed()) {
                return Err(PublishError::Unconfirmed(
                    "its callers have gone".to_owned(),
                ));
            }
            let body = body.get_or_insert_with(|| encode(message)).clone();
            let attempt = Instant::now();
            let started = *started.get_or_insert(attempt);
            match publish(connection, stream, &subject, id, context, body).await {
                Attempt::Confirmed { sequence } => {
                    return Ok(PubAck {
                        sequence,
                        latency: started.elapsed(),
                    });
                }
                Attempt::Final(err) => return Err(err),
                Attempt::NotStored(err) => last_error = err,
                Attempt::Unknown(err) => {
                    last_error = err;
                    unsure_since.get_or_insert(attempt);
                }
            }
            self.obstacle.send_replace(Some(last_error.clone()));
            tell(message, &last_error);
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// A span from the first sending to the `PubAck`, in the trace of the first request that the message has events of,
/// with links to the others (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>).
fn span(tracer: &Tracer, stream: &str, message: &Message, id: &str) -> Span {
    let mut contexts = contexts(message);
    let first = contexts.next();
    let name = || format!("send {}", stream);
    let mut span = tracer.start(name, Kind::Producer, first);
    if span.is_recording() {
        let mut last = first;
        for context in contexts.filter(|context| Some(*context) != first) {
            // Pieces of one request stand beside each other.
            if last != Some(context) {
                span.link(context);
            }
            last = Some(context);
        }
        span.set("messaging.system", "nats");
        span.set("messaging.operation.type", "send");
        span.set("messaging.destination.name", stream.to_owned());
        span.set("messaging.message.id", id.to_owned());
        span.set("event.topic", message.topic.as_str().to_owned());
        span.set("message.events", number(message.events as u64));
    }
    span
}

/// The traces of the requests that a message has events of, in their order.
fn contexts(message: &Message) -> impl Iterator<Item = &TraceContext> {
    let pieces = message.pieces.iter();
    pieces.filter_map(|piece| piece.origin.context.as_ref())
}

/// A number as spans have them.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Says that a message is tried again, for each of the requests that it has events of.
fn tell(message: &Message, error: &str) {
    let mut told: Option<Option<tracing::Id>> = None;
    for piece in &message.pieces {
        let request = piece.origin.log.id();
        // Pieces of one request stand beside each other.
        if told.as_ref() == Some(&request) {
            continue;
        }
        debug!(
            parent: &piece.origin.log,
            event.topic = message.topic.as_str(),
            error,
            "a message is not confirmed yet; trying it again under the same id"
        );
        told = Some(request);
    }
}

fn encode(message: &Message) -> Bytes {
    let events = || message.pieces.iter().flat_map(|piece| &piece.events);
    let capacity = events().map(|event| event.len() + 1).sum::<usize>() + 1;
    message::encode(events(), capacity)
}

/// How one attempt ended.
#[derive(Debug, PartialEq, Eq)]
enum Attempt {
    Confirmed {
        sequence: u64,
    },
    /// Trying again is of no use.
    Final(PublishError),
    /// The broker did not store it; it may at another time.
    NotStored(String),
    /// No answer: it may be stored.
    Unknown(String),
}

async fn publish(
    connection: &Connection,
    stream: &str,
    subject: &str,
    id: &str,
    context: Option<&TraceContext>,
    body: Bytes,
) -> Attempt {
    let mut publish = PublishMessage::build().message_id(id).payload(body);
    for (name, value) in context.map(TraceContext::headers).unwrap_or_default() {
        publish = publish.header(name, value);
    }
    let sent = connection
        .jetstream()
        .send_publish(subject.to_owned(), publish)
        .await;
    let acked = match sent {
        Ok(ack) => ack.await,
        Err(err) => Err(err),
    };
    match acked {
        Ok(ack) if ack.stream == stream => Attempt::Confirmed {
            sequence: ack.sequence,
        },
        Ok(ack) => Attempt::Final(PublishError::Refused(format!(
            "stream {} takes {subject}, which belongs to {stream}",
            ack.stream
        ))),
        Err(err) => judge(&err),
    }
}

fn judge(err: &NatsError) -> Attempt {
    let text = match std::error::Error::source(err) {
        Some(source) => format!("{err}: {source}"),
        None => err.to_string(),
    };
    match err.kind() {
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => Attempt::Unknown(text),
        // Nobody answers for the stream: JetStream is starting, or the stream is not there.
        PublishErrorKind::StreamNotFound | PublishErrorKind::MaxAckPending => {
            Attempt::NotStored(text)
        }
        PublishErrorKind::MaxPayloadExceeded
        | PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::WrongLastSequence => Attempt::Final(PublishError::Refused(text)),
        PublishErrorKind::Other => {
            let source = std::error::Error::source(err);
            match source.and_then(|source| source.downcast_ref::<jetstream::Error>()) {
                Some(answer) => judge_answer(answer.code(), answer.error_code(), text),
                None => Attempt::Unknown(text),
            }
        }
    }
}

/// Judges an answer in which the broker says that it did not store the message.
fn judge_answer(status: usize, code: ErrorCode, text: String) -> Attempt {
    let full = match code {
        // The text tells a full stream from a disk that fails; the code is the same.
        ErrorCode::STREAM_STORE_FAILED => text.contains("maximum"),
        ErrorCode::STORAGE_RESOURCES_EXCEEDED | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED => true,
        _ => false,
    };
    match status {
        _ if full => Attempt::Final(PublishError::StreamFull(text)),
        // 429, "too many requests": the broker's intake is full. Back-pressure, not a refusal.
        408 | 429 | 500.. => Attempt::NotStored(text),
        _ => Attempt::Final(PublishError::Refused(text)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{SdkTracerProvider, SpanData, SpanExporter},
    };
    use tokio::sync::{Semaphore, oneshot};

    use super::{
        super::{Origin, Piece, gather::Gather},
        *,
    };
    use crate::event::Topic;

    /// Keeps the spans that have ended.
    #[derive(Debug, Clone, Default)]
    struct Ended(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Ended {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    /// Of a request whose trace has this number, or of one that has none.
    fn piece(trace: Option<u8>) -> Piece {
        let context = trace.map(|trace| {
            let parent = format!("00-{trace:032x}-{trace:016x}-01");
            TraceContext::parse(&parent, None).unwrap()
        });
        Piece {
            topic: Topic::new("a").unwrap(),
            events: vec![Bytes::from_static(b"{}")],
            bytes: 2,
            origin: Origin {
                context,
                log: tracing::Span::none(),
            },
            done: oneshot::channel().0,
            _permit: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
        }
    }

    #[test]
    fn a_message_is_in_the_trace_of_its_first_request_and_linked_to_the_others() {
        let ended = Ended::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(ended.clone())
            .build();
        let tracer = Tracer::on(provider.tracer("test"));
        let mut gather = Gather::new(100, Duration::ZERO);
        let now = Instant::now();
        for trace in [None, Some(1), Some(1), Some(2), None, Some(2), Some(3)] {
            gather.add(piece(trace), now);
        }
        let message = gather.pop(0, now).unwrap();
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

    #[test]
    fn a_full_stream_is_told_from_a_broker_that_cannot_now() {
        let judged = |status, code, text: &str| judge_answer(status, code, text.to_owned());
        assert!(matches!(
            judged(
                503,
                ErrorCode::STREAM_STORE_FAILED,
                "maximum bytes exceeded"
            ),
            Attempt::Final(PublishError::StreamFull(_))
        ));
        assert!(matches!(
            judged(
                503,
                ErrorCode::STREAM_STORE_FAILED,
                "no space left on device"
            ),
            Attempt::NotStored(_)
        ));
        assert!(matches!(
            judged(429, ErrorCode::INSUFFICIENT_RESOURCES, "too many requests"),
            Attempt::NotStored(_)
        ));
        assert!(matches!(
            judged(400, ErrorCode::STREAM_SEALED, "sealed stream"),
            Attempt::Final(PublishError::Refused(_))
        ));
    }

    #[test]
    fn no_answer_is_not_taken_for_a_refusal() {
        let unknown = judge(&NatsError::new(PublishErrorKind::TimedOut));
        assert!(matches!(unknown, Attempt::Unknown(_)));
        let nobody = judge(&NatsError::new(PublishErrorKind::StreamNotFound));
        assert!(matches!(nobody, Attempt::NotStored(_)));
    }
}
