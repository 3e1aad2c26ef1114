//! What is kept for review, independent of the storage engine: what a row takes, and what a rejection says.

use std::borrow::Cow;

use serde::Deserialize;
use shared::{
    event::Event,
    message::{Reason, Rejection},
    subject::Carried,
};

/// What a row takes in addition to its texts, approximately.
const ROW_BYTES: u64 = 200;

/// The bytes of a row with texts of these lengths, as counted against the limits.
pub(super) fn row_bytes(texts: &[usize]) -> u64 {
    ROW_BYTES + texts.iter().sum::<usize>() as u64
}

/// The rejection of an event whose fingerprint is that of the event `stored`, which has another identity. Its body is built
/// from its fields, because its original bytes are not kept.
pub(super) fn collision(event: &Event, stored: i64) -> Rejection {
    Rejection {
        reason: Reason::Collision,
        detail: format!(
            "event {stored} has the same fingerprint but another identity; send this event with another event_id"
        )
        .into(),
        body: event.to_json(),
    }
}

/// The topic of a rejected arrival: by its subject, or by its body if the subject is that of all topics.
pub(super) fn topic_of<'a>(subject: &str, body: &'a [u8]) -> Option<Cow<'a, str>> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        topic: Cow<'a, str>,
    }
    match Carried::on(subject) {
        Carried::Only(only) => Some(only.to_string().into()),
        Carried::Any => Some(serde_json::from_slice::<Body<'_>>(body).ok()?.topic),
        Carried::None => None,
    }
}
