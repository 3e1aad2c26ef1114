//! The delivery of one message to the stream: retried with the same id until its `PubAck` arrives.

use std::{future::IntoFuture, pin::pin, time::Duration};

use async_nats::jetstream::{
    self, ErrorCode,
    context::{PublishError as NatsError, PublishErrorKind},
    message::PublishMessage,
};
use bytes::Bytes;
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};
use tracing::debug;

use super::{
    Observer,
    chunk::{PubAck, PublishError},
    gather::Message,
    senders,
    trace::{contexts, number, span},
};
use crate::{
    connection::{Connection, Denial},
    event::Topic,
    message,
    stream::{ClusterError, UNCONFIRMED_AFTER},
    subject::MIXED,
    trace::{TraceContext, Tracer},
};

/// How long a `PubAck` may still arrive after the broker has reported that its subject is not permitted.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Why a cluster does not take a message, if no server answers.
const NO_LEADER: &str = "no server of the broker's cluster takes messages for the stream: it does not exist yet, or more than half of its replicas are not reachable";

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What all deliveries share.
#[derive(Debug)]
pub(super) struct Delivery<'a> {
    pub connection: &'a Connection,
    pub stream: &'a str,
    /// Why a message is being retried; cleared by the next confirmation.
    pub obstacle: &'a watch::Sender<Option<String>>,
    /// Why the broker does not permit a message; cleared by the next confirmation.
    pub refusal: &'a watch::Sender<Option<String>>,
    pub observer: Option<&'a dyn Observer>,
    pub tracer: &'a Tracer,
}

impl Delivery<'_> {
    /// Sends a message until it is confirmed, rejected or given up, and notifies its callers. Returns how long the `PubAck`
    /// took, if it was confirmed.
    pub async fn run(&self, mut message: Message) -> Option<Duration> {
        let id = nuid::next();
        let mut span = span(self.tracer, self.stream, &message, &id);
        // The message carries the context of its span, or else that of its first request.
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
            for reason in [self.obstacle, self.refusal] {
                reason.send_if_modified(|reason| reason.take().is_some());
            }
        }
        let mut first = 0;
        for chunk in message.chunks {
            // The caller may have stopped waiting.
            let _ = chunk.done.send(outcome.clone().map(|ack| (ack, first)));
            first += chunk.events.len();
        }
        outcome.ok().map(|ack| ack.latency)
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
        let subject = message.subject();
        let mut body: Option<(Bytes, Option<String>)> = None;
        let mut started: Option<Instant> = None;
        // Start of the first attempt with an unknown outcome.
        let mut unsure_since: Option<Instant> = None;
        let mut pause = FIRST_PAUSE;
        let mut last_error = "the connection was lost".to_owned();
        loop {
            // A disconnected client would queue the message and send it at an arbitrary later time.
            let give_up = unsure_since.map(|since| since + UNCONFIRMED_AFTER);
            let connects = match give_up {
                None => connection.connected().await,
                Some(deadline) => match timeout_at(deadline, connection.connected()).await {
                    Ok(connects) if Instant::now() + pause < deadline => connects,
                    _ => return Err(PublishError::Unconfirmed(last_error)),
                },
            };
            // Chunks without a waiting caller need not be sent, unless they were sent before.
            if body.is_none() {
                message.chunks.retain(|chunk| !chunk.done.is_closed());
            }
            if message.chunks.iter().all(|chunk| chunk.done.is_closed()) {
                return Err(PublishError::Unconfirmed(
                    "all callers stopped waiting".to_owned(),
                ));
            }
            let (body, senders) = body
                .get_or_insert_with(|| (encode(message), message.senders().to_header()))
                .clone();
            let attempt = Instant::now();
            let started = *started.get_or_insert(attempt);
            match publish(connection, stream, &subject, (id, senders), context, body).await {
                // Another server, not checked yet, may have received the message from the client's queue.
                Attempt::Confirmed { .. } if !connection.is_still(connects) => {
                    "the connection changed before the PubAck arrived".clone_into(&mut last_error);
                    unsure_since.get_or_insert(attempt);
                }
                Attempt::Confirmed { sequence } => {
                    return Ok(PubAck {
                        sequence,
                        latency: started.elapsed(),
                    });
                }
                Attempt::Denied => {
                    let reason = denied(&subject);
                    self.refusal.send_replace(Some(reason.clone()));
                    return Err(if unsure_since.is_none() {
                        PublishError::Refused(reason)
                    } else {
                        PublishError::Unconfirmed(reason)
                    });
                }
                Attempt::Final(err) if unsure_since.is_none() => return Err(err),
                // Replicated streams check their limits before the id, so an earlier attempt may be stored.
                Attempt::Final(err) => return Err(PublishError::Unconfirmed(err.to_string())),
                Attempt::NotStored(err) => last_error = err,
                Attempt::Unknown(err) => {
                    last_error = err;
                    unsure_since.get_or_insert(attempt);
                }
            }
            self.obstacle.send_replace(Some(last_error.clone()));
            log_retry(message, &last_error);
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Logs that a message is being retried, once for each request with events in it.
fn log_retry(message: &Message, error: &str) {
    let mut logged: Option<Option<tracing::Id>> = None;
    for chunk in &message.chunks {
        let request = chunk.origin.log.id();
        // Chunks of the same request are adjacent.
        if logged.as_ref() == Some(&request) {
            continue;
        }
        debug!(
            parent: &chunk.origin.log,
            event.topic = message.topic.as_ref().map(Topic::as_str),
            error,
            "message not confirmed; retrying with the same id"
        );
        logged = Some(request);
    }
}

fn encode(message: &Message) -> Bytes {
    let events = || message.chunks.iter().flat_map(|chunk| &chunk.events);
    let capacity = events().map(|event| event.len() + 1).sum::<usize>() + 1;
    message::encode(events(), capacity)
}

/// How one attempt ended.
#[derive(Debug, PartialEq, Eq)]
enum Attempt {
    Confirmed {
        sequence: u64,
    },
    /// Retrying cannot help.
    Final(PublishError),
    /// The user may not publish on the subject.
    Denied,
    /// The broker did not store the message; a retry may succeed.
    NotStored(String),
    /// No response: the message may be stored.
    Unknown(String),
}

async fn publish(
    connection: &Connection,
    stream: &str,
    subject: &str,
    (id, senders): (&str, Option<String>),
    context: Option<&TraceContext>,
    body: Bytes,
) -> Attempt {
    let mut publish = PublishMessage::build().message_id(id).payload(body);
    if let Some(senders) = senders {
        publish = publish.header(senders::HEADER, senders);
    }
    for (name, value) in context.map(TraceContext::headers).unwrap_or_default() {
        publish = publish.header(name, value);
    }
    let denials = connection.denials();
    let sent = connection
        .jetstream()
        .send_publish(subject.to_owned(), publish)
        .await;
    let acked = match sent {
        Ok(ack) => {
            let mut ack = pin!(ack.into_future());
            tokio::select! {
                acked = &mut ack => acked,
                // The report may be about an earlier message, and the permission may have changed since: then a PubAck follows.
                _ = connection.denied(denials, |denial| is_of(denial, subject)) => match timeout(LAST_WAIT, ack).await {
                    Ok(acked) => acked,
                    Err(_) => return Attempt::Denied,
                },
            }
        }
        Err(err) => Err(err),
    };
    match acked {
        Ok(ack) if ack.stream == stream => Attempt::Confirmed {
            sequence: ack.sequence,
        },
        Ok(ack) => Attempt::Final(PublishError::Refused(format!(
            "the subject {subject} is bound to stream {}, not {stream}",
            ack.stream
        ))),
        Err(err) => classify(&err, connection.client().server_info().cluster.is_some()),
    }
}

/// Whether a message on the subject is not stored because of a refusal. One that may be stored, and whose `PubAck` may not be
/// received, is retried.
fn is_of(denial: &Denial, subject: &str) -> bool {
    match denial {
        Denial::Publish(denied) => denied == subject,
        Denial::Subscribe(_) => false,
    }
}

fn denied(subject: &str) -> String {
    let remedy = if subject == MIXED {
        ", which carries messages of several topics; permit it, or start this program with --subjects topic"
    } else {
        "; permit it"
    };
    let denial = Denial::Publish(subject.to_owned());
    format!("{denial}{remedy}")
}

fn classify(err: &NatsError, is_cluster: bool) -> Attempt {
    let text = match std::error::Error::source(err) {
        Some(source) => format!("{err}: {source}"),
        None => err.to_string(),
    };
    match err.kind() {
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => Attempt::Unknown(text),
        // No responders: JetStream is starting, the stream does not exist, or it has no leader.
        PublishErrorKind::StreamNotFound if is_cluster => Attempt::NotStored(NO_LEADER.to_owned()),
        PublishErrorKind::StreamNotFound | PublishErrorKind::MaxAckPending => {
            Attempt::NotStored(text)
        }
        PublishErrorKind::MaxPayloadExceeded
        | PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::WrongLastSequence => Attempt::Final(PublishError::Refused(text)),
        PublishErrorKind::Other => {
            let source = std::error::Error::source(err);
            match source.and_then(|source| source.downcast_ref::<jetstream::Error>()) {
                Some(error) => {
                    classify_response(error.code(), error.error_code(), text, is_cluster)
                }
                None => Attempt::Unknown(text),
            }
        }
    }
}

/// Classifies an error response. Except where it says otherwise, the broker did not store the message.
fn classify_response(status: usize, code: ErrorCode, text: String, is_cluster: bool) -> Attempt {
    let full = match code {
        // A full stream and a failing disk have the same code and differ only in the text.
        ErrorCode::STREAM_STORE_FAILED => text.contains("maximum"),
        ErrorCode::STORAGE_RESOURCES_EXCEEDED | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED => true,
        _ => false,
    };
    let text = match ClusterError::of_code(code) {
        Some(known) => known.to_string(),
        None => text,
    };
    match status {
        _ if full => Attempt::Final(PublishError::StreamFull(text)),
        // The leader has proposed an earlier attempt, and the replicas have not agreed yet: they may, even after minutes.
        _ if code == ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT => {
            Attempt::Unknown("the replicas have not agreed on the message yet".to_owned())
        }
        // The leader's disk fails after the replicas have agreed, and they store what it cannot.
        _ if code == ErrorCode::STREAM_STORE_FAILED && is_cluster => Attempt::Unknown(text),
        // 429, "too many requests", means that the broker's intake queue is full: back-pressure, not a rejection.
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

    /// Collects the log.
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
    fn a_retry_is_logged_once_for_each_request_of_the_message() {
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
            log_retry(&message_of(origins), "an error");
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
    fn a_full_stream_is_distinguished_from_a_temporary_failure() {
        let classified =
            |status, code, text: &str| classify_response(status, code, text.to_owned(), false);
        assert!(matches!(
            classified(
                503,
                ErrorCode::STREAM_STORE_FAILED,
                "maximum bytes exceeded"
            ),
            Attempt::Final(PublishError::StreamFull(_))
        ));
        assert!(matches!(
            classified(
                503,
                ErrorCode::STREAM_STORE_FAILED,
                "no space left on device"
            ),
            Attempt::NotStored(_)
        ));
        assert!(matches!(
            classified(429, ErrorCode::INSUFFICIENT_RESOURCES, "too many requests"),
            Attempt::NotStored(_)
        ));
        assert!(matches!(
            classified(400, ErrorCode::STREAM_SEALED, "sealed stream"),
            Attempt::Final(PublishError::Refused(_))
        ));
    }

    #[test]
    fn a_missing_response_is_not_a_rejection() {
        for is_cluster in [false, true] {
            let classified = |kind| classify(&NatsError::new(kind), is_cluster);
            let unknown = classified(PublishErrorKind::TimedOut);
            assert!(matches!(unknown, Attempt::Unknown(_)));
            let no_responders = classified(PublishErrorKind::StreamNotFound);
            assert!(matches!(no_responders, Attempt::NotStored(_)));
        }
    }

    #[test]
    fn what_the_replicas_may_yet_store_is_not_given_up() {
        let classified = |status, code, is_cluster| {
            classify_response(status, code, "of the broker".to_owned(), is_cluster)
        };
        for is_cluster in [false, true] {
            let proposed = ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT;
            let proposed = classified(409, proposed, is_cluster);
            assert!(matches!(proposed, Attempt::Unknown(_)), "{proposed:?}");
        }
        let failed = |is_cluster| classified(503, ErrorCode::STREAM_STORE_FAILED, is_cluster);
        assert!(matches!(failed(false), Attempt::NotStored(_)));
        assert!(matches!(failed(true), Attempt::Unknown(_)));
    }

    #[test]
    fn a_cluster_without_a_leader_passes_and_says_so() {
        for (status, code) in [
            (503, ErrorCode::CLUSTER_NOT_AVAILABLE),
            (500, ErrorCode::CLUSTER_NOT_LEADER),
            (500, ErrorCode::STREAM_OFFLINE),
            (503, ErrorCode::INSUFFICIENT_RESOURCES),
        ] {
            let classified = classify_response(status, code, "of the broker".to_owned(), true);
            match classified {
                Attempt::NotStored(text) => assert!(!text.contains("of the broker"), "{text}"),
                other => panic!("{code:?}: {other:?}"),
            }
        }
    }
}
