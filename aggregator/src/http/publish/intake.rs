//! What all publishing routes share: parsing large bodies off the async threads, and putting events on the stream.

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
            access::Caller,
            body::Intake,
            problem::{ItemErrors, Problem, Unavailable},
        },
    },
    store::StreamPlace,
};

/// Most events in one request.
pub const MAX_EVENTS: usize = 10_000;

/// How long a request waits for its `PubAck`s.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(20);

/// A larger body is parsed on a blocking thread, so that it does not hold up other requests.
const PARSE_INLINE_BYTES: usize = 128 * 1024;

/// The state of the handlers that publish.
#[derive(Debug, Clone)]
pub struct IntakeState {
    pub api: Arc<Api>,
    pub intake: Intake,
}

/// Parses a body with `parse`: inline up to [`PARSE_INLINE_BYTES`], otherwise on a blocking thread.
pub async fn parse_body(
    api: &Api,
    body: &Bytes,
    parse: impl FnOnce(&Bytes) -> Result<Vec<Outgoing>, Problem> + Send + 'static,
) -> Result<Vec<Outgoing>, Problem> {
    if body.len() <= PARSE_INLINE_BYTES {
        return parse(body);
    }
    let permit = api.permits.parsing().await;
    let body = body.clone();
    let parsed = spawn_blocking(move || {
        let _permit = permit;
        parse(&body)
    });
    let parsed = parsed.await;
    parsed.unwrap_or_else(|err| std::panic::resume_unwind(err.into_panic()))
}

/// Puts valid events on the stream, all or none of which the caller may publish. Returns the position of each in it.
pub async fn put(
    api: &Api,
    caller: &Caller,
    events: Vec<Outgoing>,
) -> Result<Vec<StreamPlace>, Problem> {
    caller.check_publish(&events)?;
    put_allowed(api, caller, events).await
}

/// The same for events that were checked already.
pub async fn put_allowed(
    api: &Api,
    caller: &Caller,
    events: Vec<Outgoing>,
) -> Result<Vec<StreamPlace>, Problem> {
    let received = events.len();
    // The NATS client would buffer what is published now and send it at some later time.
    if !api.broker.connection.is_connected_soon().await {
        return Err(Problem::unavailable(Unavailable::BrokerUnreachable));
    }
    // The stream may lose events, or acknowledge them before they are durable.
    if api.process.health.is_failing(Part::Stream) {
        return Err(Problem::unavailable(Unavailable::BrokerRefuses));
    }
    // Last, so that a request that cannot be published now costs nothing.
    caller.spend(received)?;
    let sender = caller.grant.name.clone();
    let confirmed = async {
        let receipt = api.broker.publisher.submit(sender, events).await?;
        receipt.confirmed().await
    };
    match timeout(CONFIRM_TIMEOUT, confirmed).await {
        Ok(Ok(confirmed)) => Ok(confirmed.positions),
        Ok(Err(PublishError::StreamFull(_))) => Err(Problem::unavailable(Unavailable::StreamFull)),
        Ok(Err(err @ PublishError::Refused(_))) => {
            error!(error = %err, events = received, "the broker refuses a request's events");
            Err(Problem::unavailable(Unavailable::BrokerRefuses))
        }
        Ok(Err(err)) => {
            warn!(error = %err, events = received, "a request was not confirmed");
            Err(Problem::unavailable(Unavailable::Unconfirmed))
        }
        Err(_) => {
            warn!(events = received, "a request was not confirmed in time");
            Err(Problem::unavailable(Unavailable::Unconfirmed))
        }
    }
}

/// 422: the request has more than [`MAX_EVENTS`].
pub fn too_many(total: usize) -> Problem {
    let message = format!("the request has {total} events; at most {MAX_EVENTS} are accepted");
    refused(Code::TooMany, message)
}

/// 422: the request as a whole is not valid.
pub fn refused(code: Code, message: String) -> Problem {
    let mut errors = ItemErrors::default();
    errors.add(None, vec![Violation::new(None, code, message.clone())]);
    Problem::invalid(message, errors)
}
