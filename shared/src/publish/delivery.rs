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

use super::{
    Observer, PubAck, PublishError,
    gather::Message,
    trace::{contexts, number, span},
};
use crate::{
    connection::Connection,
    message, subject,
    trace::{TraceContext, Tracer},
};

/// How long a message is tried again after an attempt whose outcome is unknown. The broker knows its id
/// for [`crate::stream::DUPLICATE_WINDOW`] (120 s) from when it stored it; the last attempt must end well before. A stream
/// with a window shorter than this is refused.
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
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing::{Level, error_span};

    use super::{super::trace::tests::message_of, *};

    /// What was logged.
    #[derive(Debug, Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_request_of_a_message_that_is_tried_again_is_told_so_once() {
        let log = Log::default();
        let sink = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(Level::DEBUG)
            .with_writer(move || sink.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let [one, two] = ["one", "two"].map(|id| error_span!("request", request.id = id));
            let origins = [&one, &one, &two].map(|log| (None, log.clone()));
            tell(&message_of(origins), "an error");
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = log.lines().collect();
        let [one, two] = lines.as_slice() else {
            panic!("{log}")
        };
        assert!(one.contains("request.id=\"one\""), "{one}");
        assert!(two.contains("request.id=\"two\""), "{two}");
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
