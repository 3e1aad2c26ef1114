//! `POST /publish`: nothing is published unless every event is valid; success means that all events are in the stream.

pub mod schema;

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::Deserializer;
use shared::{
    event::{Code, Event},
    message::{self, BodyError, Elements},
    publish::Outgoing,
};

use self::schema::Events;
use super::{
    accepted::Accepted,
    intake::{IntakeState, MAX_EVENTS, parse_body, refused, too_many},
    lines::{self, Lines},
    refusals::event_refusals,
    waiting::{self, WaitParameters, deliver},
};
use crate::http::{
    api::Api,
    edge::{
        access::Caller,
        body::{ContentEncoding, media_type},
        problem::{ItemErrors, Problem},
    },
    openapi::refusals::refusals,
};

/// How a body holds events.
#[derive(Debug, Clone, Copy)]
pub enum Layout {
    /// One event, an array of events, or `{"events":[…]}`.
    Json,
    /// One event per line; blank lines are skipped (<https://github.com/ndjson/ndjson-spec>).
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

refusals! {
    /// Of `POST /publish`.
    PublishRefusals = event_refusals().problems([Problem::not_events_type()]);
}

/// Publishes one event, an array of events, `{"events":[…]}`, or one event per line.
///
/// Nothing is published unless every event is valid. Success means that every event is in the stream; with `wait=stored`
/// the response gives the outcome of each.
#[utoipa::path(
    post,
    path = "/publish",
    tag = "publish",
    params(WaitParameters, ContentEncoding),
    request_body(content((Events = "application/json"), (Lines = "application/x-ndjson"))),
    responses((status = OK, body = Accepted), (status = ACCEPTED, body = Accepted), PublishRefusals)
)]
pub async fn publish(
    State(state): State<IntakeState>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let waiting = waiting::parse(head.uri.query())?;
    let layout = media_type(&head.headers).and_then(Layout::of);
    let layout = layout.ok_or_else(Problem::not_events_type)?;
    let body = state.intake.take(&head.headers, body).await?;
    send(&state.api, &caller, layout, &body.bytes, waiting).await
}

/// Publishes the events of a complete body.
pub async fn send(
    api: &Api,
    caller: &Caller,
    layout: Layout,
    body: &Bytes,
    waiting: Option<Duration>,
) -> Result<Response, Problem> {
    let events = parse_body(api, body, move |body| parse(layout, body)).await?;
    deliver(api, caller, events, waiting).await
}

fn parse(layout: Layout, body: &Bytes) -> Result<Vec<Outgoing>, Problem> {
    let Elements { kept, total } = match layout {
        Layout::Json => elements(body).map_err(|problem| {
            let hint = "for one event per line send Content-Type: application/x-ndjson";
            let is_several = problem.status() == StatusCode::BAD_REQUEST && is_several(body);
            problem.with_hint_if(is_several, hint)
        })?,
        Layout::Lines => lines::elements(body, MAX_EVENTS)
            .map_err(|problem| problem.with_hint_if(is_one(body), AS_JSON))?,
    };
    if total == 0 {
        return Err(refused(Code::Empty, "the request has no events".to_owned()));
    }
    if total > MAX_EVENTS {
        return Err(too_many(total));
    }
    // Events are slices of the body: a few small ones would keep all of it in memory after the request has ended.
    let is_sparse = kept.iter().map(Bytes::len).sum::<usize>() < body.len() / 2;
    let mut events = Vec::with_capacity(total);
    let mut errors = ItemErrors::default();
    for (index, json) in kept.into_iter().enumerate() {
        match Event::parse(&json) {
            Ok(event) => events.push(Outgoing {
                topic: event.topic,
                event_id: event.event_id,
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
    let is_array =
        matches!(layout, Layout::Lines) && body.trim_ascii_start().first() == Some(&b'[');
    Err(Problem::invalid_events(errors).with_hint_if(is_array, AS_JSON))
}

/// The hint for a single JSON document that was sent as lines.
const AS_JSON: &str = "send an array of events with Content-Type: application/json";

/// Whether a body begins with a complete JSON value that is followed by anything but white space.
fn is_several(body: &[u8]) -> bool {
    let mut values = Deserializer::from_slice(body).into_iter::<IgnoredAny>();
    matches!(values.next(), Some(Ok(_))) && !body[values.byte_offset()..].trim_ascii().is_empty()
}

/// Whether a body is one JSON value.
fn is_one(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

fn elements(body: &Bytes) -> Result<Elements, Problem> {
    if body.trim_ascii_start().first() == Some(&b'{') {
        match message::wrapped(body, MAX_EVENTS) {
            Ok(Some(elements)) => return Ok(elements),
            Ok(None) => {}
            Err(err) if err.is_data() => {
                let message = format!(
                    "an object with the member events must hold an array in it and no other member: {err}"
                );
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
