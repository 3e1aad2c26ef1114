//! The delivery of one message to the stream: retried with the same id until its `PubAck` arrives.

mod attempt;

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tracing::debug;

use self::attempt::{Attempt, denied, publish};
use super::{
    Observer,
    chunk::{PubAck, PublishError},
    gather::Message,
    trace::{contexts, number, span},
};
use crate::{
    connection::Connection,
    event::Topic,
    message,
    stream::UNCONFIRMED_AFTER,
    trace::{TraceContext, Tracer},
};

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
}
