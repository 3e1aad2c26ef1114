//! `POST /publish`: everything is valid, or nothing is published; success means that all of it is in the stream.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Request, State as Extract},
};
use bytes::Bytes;
use serde::Serialize;
use shared::{
    event::{Code, Event, Violation},
    message::{self, BodyError},
    publish::{Outgoing, PublishError},
};
use tokio::{task::spawn_blocking, time::timeout};
use tracing::warn;

use super::{
    Api,
    body::{Intake, is_json},
    problem::{Cannot, ItemError, Problem},
};

/// Most events in one request.
const MAX_EVENTS: usize = 10_000;

/// How long a request waits for its `PubAck`s.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(20);

/// A body of more bytes is parsed on a thread of its own, so that other requests go on.
const PARSE_ASIDE_BYTES: usize = 128 * 1024;

/// What the handler works with.
#[derive(Debug, Clone)]
pub struct State {
    pub api: Arc<Api>,
    pub intake: Intake,
}

/// What the sender of accepted events is told.
#[derive(Debug, Serialize)]
pub struct Accepted {
    status: &'static str,
    received: usize,
    message: &'static str,
}

/// Takes one event, an array of events, or `{"events":[…]}`.
pub async fn publish(
    Extract(state): Extract<State>,
    request: Request,
) -> Result<Json<Accepted>, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::not_json_type());
    }
    let body = state.intake.take(request.into_body()).await?;
    let bytes = body.bytes.clone();
    let events = if bytes.len() > PARSE_ASIDE_BYTES {
        let parsed = spawn_blocking(move || parse(&bytes)).await;
        parsed.unwrap_or_else(|err| std::panic::resume_unwind(err.into_panic()))?
    } else {
        parse(&bytes)?
    };
    let received = events.len();
    // The client would keep what is published now and send it at some later time.
    if !state.api.connection.is_connected() {
        return Err(Problem::unavailable(Cannot::Reach));
    }
    let confirmed = async { state.api.publisher.submit(events).await?.confirmed().await };
    match timeout(CONFIRM_TIMEOUT, confirmed).await {
        Ok(Ok(_)) => Ok(Json(Accepted {
            status: "success",
            received,
            message: "Events queued for processing",
        })),
        Ok(Err(PublishError::StreamFull(_))) => Err(Problem::unavailable(Cannot::Take)),
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

fn parse(body: &Bytes) -> Result<Vec<Outgoing>, Problem> {
    let elements = elements(body)?;
    let count = elements.len();
    let whole = |code, message: String| {
        let detail = message.clone();
        let violation = Violation::new(None, code, message);
        Problem::invalid(detail, vec![ItemError::new(None, violation)])
    };
    if count == 0 {
        return Err(whole(Code::Empty, "there is no event in it".to_owned()));
    }
    if count > MAX_EVENTS {
        let message = format!("there are {count} events in it, at most {MAX_EVENTS} are taken");
        return Err(whole(Code::TooMany, message));
    }
    let mut events = Vec::with_capacity(count);
    let mut errors = Vec::new();
    for (index, json) in elements.into_iter().enumerate() {
        match Event::parse(&json) {
            Ok(event) => events.push(Outgoing {
                topic: event.topic,
                json,
            }),
            Err(violations) => errors.extend(
                violations
                    .into_iter()
                    .map(|violation| ItemError::new(Some(index), violation)),
            ),
        }
    }
    if errors.is_empty() {
        return Ok(events);
    }
    let detail = "events of this request are not valid; nothing was published".to_owned();
    Err(Problem::invalid(detail, errors))
}

fn elements(body: &Bytes) -> Result<Vec<Bytes>, Problem> {
    let refused = |message: String| {
        let violation = Violation::new(None, Code::WrongType, message.clone());
        Problem::invalid(message, vec![ItemError::new(None, violation)])
    };
    let mut elements = match message::elements(body) {
        Ok(elements) => elements,
        Err(BodyError::NotJson(err)) => return Err(Problem::not_json(&err)),
        Err(err @ BodyError::NotEvents) => return Err(refused(err.to_string())),
    };
    let is_object = elements.len() == 1 && body.trim_ascii_start().first() == Some(&b'{');
    if !is_object {
        return Ok(elements);
    }
    match message::wrapped(body) {
        Ok(Some(wrapped)) => elements = wrapped,
        Ok(None) => {}
        Err(err) => {
            let message =
                format!("an object with events has nothing else, and a list there: {err}");
            return Err(refused(message));
        }
    }
    Ok(elements)
}
