//! `POST /publish`: everything is valid, or nothing is published; success means that all of it is in the stream.

mod lines;
pub mod waiting;

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Request, State as Extract},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;
use shared::{
    event::{Code, Event, Violation},
    message::{self, BodyError, Elements},
    publish::{Outgoing, PublishError},
};
use tokio::{task::spawn_blocking, time::timeout};
use tracing::{error, warn};
use utoipa::ToSchema;

use super::{
    Api,
    body::{Intake, media_type},
    openapi::{Events, Lines, Packed, Publishing, Received, Waiting},
    problem::{Cannot, ItemErrors, Problem},
};
use crate::{health::Part, store::StreamPlace};

/// Most events in one request.
pub const MAX_EVENTS: usize = 10_000;

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
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    status: &'static str,
    received: usize,
    message: &'static str,
}

impl Accepted {
    /// The answer, once all of `received` events are in the stream.
    pub fn answer(received: usize) -> Response {
        Json(Self {
            status: "success",
            received,
            message: "Events queued for processing",
        })
        .into_response()
    }
}

/// How the events of a body are told apart.
#[derive(Debug, Clone, Copy)]
pub enum Layout {
    /// One event, an array of events, or `{"events":[…]}`.
    Json,
    /// An event on each line that has one (<https://github.com/ndjson/ndjson-spec>).
    Lines,
}

impl Layout {
    fn of(media_type: &str) -> Option<Self> {
        match media_type.to_ascii_lowercase().as_str() {
            "application/json" => Some(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
                Some(Self::Lines)
            }
            _ => None,
        }
    }
}

/// Takes one event, an array of events, `{"events":[…]}`, or an event on each line.
///
/// All of them are valid, or nothing is published. Success means that every event is in the stream; with `wait=stored` the
/// answer says what became of each.
#[utoipa::path(
    post,
    path = "/publish",
    tag = "publish",
    params(Waiting, Packed),
    request_body(content((Events = "application/json"), (Lines = "application/x-ndjson"))),
    responses((status = OK, body = Received), (status = ACCEPTED, body = waiting::Answer), Publishing)
)]
pub async fn publish(
    Extract(state): Extract<State>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let waiting = waiting::parse(head.uri.query())?;
    let layout = media_type(&head.headers).and_then(Layout::of);
    let layout = layout.ok_or_else(Problem::not_events_type)?;
    let body = state.intake.take(&head.headers, body).await?;
    send(&state.api, layout, &body.bytes, waiting).await
}

/// Publishes what a body holds, which has to be whole and valid.
pub async fn send(
    api: &Api,
    layout: Layout,
    body: &Bytes,
    waiting: Option<Duration>,
) -> Result<Response, Problem> {
    let events = parse_aside(body, move |body| parse(layout, body)).await?;
    deliver(api, events, waiting).await
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

/// Puts valid events on the stream, and answers once all of them are there; where it is to wait, once they are stored.
pub async fn deliver(
    api: &Api,
    events: Vec<Outgoing>,
    waiting: Option<Duration>,
) -> Result<Response, Problem> {
    if let Some(time) = waiting {
        return waiting::deliver(api, events, time).await;
    }
    let received = events.len();
    put(api, events).await?;
    Ok(Accepted::answer(received))
}

/// Puts valid events on the stream. Returns the place of each there.
pub async fn put(api: &Api, events: Vec<Outgoing>) -> Result<Vec<StreamPlace>, Problem> {
    let received = events.len();
    // The client would keep what is published now and send it at some later time.
    if !api.connection.is_connected() {
        return Err(Problem::unavailable(Cannot::Reach));
    }
    // The stream may lose it, or its PubAck may come too early.
    if api.health.is_failing(Part::Stream) {
        return Err(Problem::unavailable(Cannot::Agree));
    }
    let confirmed = async { api.publisher.submit(events).await?.confirmed().await };
    match timeout(CONFIRM_TIMEOUT, confirmed).await {
        Ok(Ok(confirmed)) => Ok(confirmed.places),
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

fn parse(layout: Layout, body: &Bytes) -> Result<Vec<Outgoing>, Problem> {
    let Elements { kept, total } = match layout {
        Layout::Json => elements(body)?,
        Layout::Lines => lines::elements(body, MAX_EVENTS)?,
    };
    if total == 0 {
        return Err(refused(Code::Empty, "there is no event in it".to_owned()));
    }
    if total > MAX_EVENTS {
        return Err(too_many(total));
    }
    // Events are slices of the body: few of them would hold all of it in memory after the request is gone.
    let is_sparse = kept.iter().map(Bytes::len).sum::<usize>() < body.len() / 2;
    let mut events = Vec::with_capacity(total);
    let mut errors = ItemErrors::default();
    for (index, json) in kept.into_iter().enumerate() {
        match Event::parse(&json) {
            Ok(event) => events.push(Outgoing {
                topic: event.topic,
                json: if is_sparse {
                    Bytes::copy_from_slice(&json)
                } else {
                    json
                },
            }),
            Err(violations) => errors.add(Some(index), violations),
        }
    }
    if errors.is_empty() {
        return Ok(events);
    }
    Err(Problem::invalid_events(errors))
}

fn elements(body: &Bytes) -> Result<Elements, Problem> {
    if body.trim_ascii_start().first() == Some(&b'{') {
        match message::wrapped(body, MAX_EVENTS) {
            Ok(Some(elements)) => return Ok(elements),
            Ok(None) => {}
            Err(err) if err.is_data() => {
                let message =
                    format!("an object with events has a list there and nothing else: {err}");
                return Err(refused(Code::WrongType, message));
            }
            Err(err) => return Err(Problem::not_json(&err)),
        }
    }
    message::elements(body, MAX_EVENTS).map_err(|err| match err {
        BodyError::NotJson(err) => Problem::not_json(&err),
        err @ BodyError::NotEvents => refused(Code::WrongType, err.to_string()),
    })
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
