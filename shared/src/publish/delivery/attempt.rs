//! One attempt to publish a message: what the broker's answer, or its absence, says about the message.

use std::{future::IntoFuture, pin::pin, time::Duration};

use async_nats::jetstream::{
    self, ErrorCode,
    context::{PublishError as NatsError, PublishErrorKind},
    message::PublishMessage,
};
use bytes::Bytes;
use tokio::time::timeout;

use crate::{
    connection::{Connection, Denial},
    publish::{chunk::PublishError, senders},
    stream::ClusterError,
    subject::MIXED,
    trace::TraceContext,
};

/// How long a `PubAck` may still arrive after the broker has reported that its subject is not permitted.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Why a cluster does not take a message, if no server answers.
const NO_LEADER: &str = "no server of the broker's cluster takes messages for the stream: it does not exist yet, or more than half of its replicas are not reachable";

/// How one attempt ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Attempt {
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

/// Sends a message once, and waits for its `PubAck`.
pub(super) async fn publish(
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

/// Why the broker refuses a message, and the remedy.
pub(super) fn denied(subject: &str) -> String {
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
    use super::*;

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
        const UNKNOWN: &str = "words of the server";
        for (status, code) in [
            (503, ErrorCode::CLUSTER_NOT_AVAILABLE),
            (500, ErrorCode::CLUSTER_NOT_LEADER),
            (500, ErrorCode::STREAM_OFFLINE),
            (503, ErrorCode::INSUFFICIENT_RESOURCES),
        ] {
            let classified = classify_response(status, code, UNKNOWN.to_owned(), true);
            match classified {
                Attempt::NotStored(text) => assert_ne!(text, UNKNOWN),
                other => panic!("{code:?}: {other:?}"),
            }
        }
    }
}
