//! The intake that all ways in share: it reads a body aside where that takes long, and puts events on the stream.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use shared::{
    event::{Code, Violation},
    publish::{Outgoing, PublishError},
};
use tokio::{task::spawn_blocking, time::timeout};
use tracing::{error, warn};

use crate::{
    health::Part,
    http::{
        api::Api,
        edge::{
            body::Intake,
            problem::{Cannot, ItemErrors, Problem},
        },
    },
    store::StreamPlace,
};

/// Most events in one request.
pub const MAX_EVENTS: usize = 10_000;

/// How long a request waits for its `PubAck`s.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(20);

/// A body of more bytes is parsed on a thread of its own, so that other requests go on.
pub const PARSE_ASIDE_BYTES: usize = 128 * 1024;

/// What the handler works with.
#[derive(Debug, Clone)]
pub struct State {
    pub api: Arc<Api>,
    pub intake: Intake,
}

/// What `parse` makes of a body, on a thread of its own where that takes long.
pub async fn parse_aside(
    body: &Bytes,
    parse: impl FnOnce(&Bytes) -> Result<Vec<Outgoing>, Problem> + Send + 'static,
) -> Result<Vec<Outgoing>, Problem> {
    if body.len() <= PARSE_ASIDE_BYTES {
        return parse(body);
    }
    let body = body.clone();
    let parsed = spawn_blocking(move || parse(&body)).await;
    parsed.unwrap_or_else(|err| std::panic::resume_unwind(err.into_panic()))
}

/// Puts valid events on the stream. Returns the place of each there.
pub async fn put(api: &Api, events: Vec<Outgoing>) -> Result<Vec<StreamPlace>, Problem> {
    let received = events.len();
    // The client would keep what is published now and send it at some later time.
    if !api.broker.connection.is_connected() {
        return Err(Problem::unavailable(Cannot::Reach));
    }
    // The stream may lose it, or its PubAck may come too early.
    if api.process.health.is_failing(Part::Stream) {
        return Err(Problem::unavailable(Cannot::Agree));
    }
    let confirmed = async { api.broker.publisher.submit(events).await?.confirmed().await };
    match timeout(CONFIRM_TIMEOUT, confirmed).await {
        Ok(Ok(confirmed)) => Ok(confirmed.positions),
        Ok(Err(PublishError::StreamFull(_))) => Err(Problem::unavailable(Cannot::Take)),
        Ok(Err(err @ PublishError::Refused(_))) => {
            error!(error = %err, events = received, "the broker will never take a request's events");
            Err(Problem::unavailable(Cannot::Agree))
        }
        Ok(Err(err)) => {
            warn!(error = %err, events = received, "a request was not confirmed");
            Err(Problem::unavailable(Cannot::Confirm))
        }
        Err(_) => {
            warn!(events = received, "a request was not confirmed in time");
            Err(Problem::unavailable(Cannot::Confirm))
        }
    }
}

/// The request has more than [`MAX_EVENTS`].
pub fn too_many(total: usize) -> Problem {
    let message = format!("there are {total} events in it, at most {MAX_EVENTS} are taken");
    refused(Code::TooMany, message)
}

/// The request as a whole is not valid.
pub fn refused(code: Code, message: String) -> Problem {
    let mut errors = ItemErrors::default();
    errors.add(None, vec![Violation::new(None, code, message.clone())]);
    Problem::invalid(message, errors)
}
