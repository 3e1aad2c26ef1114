//! `POST /cloudevents`: `CloudEvents` 1.0 over their HTTP binding, in all three modes. Nothing is published unless every
//! event is valid.

mod binary;
pub mod schema;

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::value::RawValue;
use shared::{
    event::{Code, cloudevent},
    message::{self, BodyError, Elements},
    publish::Outgoing,
};
use utoipa::openapi::SchemaFormat;

use self::schema::{CloudEvent, CloudEvents, Data};
use super::{
    accepted::Accepted,
    intake::{self, IntakeState, MAX_EVENTS, refused},
    refusals::event_refusals,
    waiting::{self, WaitParameters},
};
use crate::http::{
    edge::{
        access::Caller,
        body::ContentEncoding,
        problem::{ItemErrors, Problem},
    },
    openapi::{
        parameters::{self, parameters},
        refusals::refusals,
        schemas::text,
    },
};

/// How a request carries events (section 3 of the binding).
#[derive(Debug)]
pub enum Mode {
    /// One event as JSON.
    Structured,
    /// An array of them. It may be empty.
    Batched,
    /// The attributes in headers, the data in the body.
    Binary(HeaderMap),
}

impl Mode {
    /// `None` if the headers name none of the modes, or a format other than JSON.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(header::CONTENT_TYPE);
        let kind = String::from_utf8_lossy(kind.map_or(b"", |kind| kind.as_bytes()));
        match essence(&kind).as_str() {
            "application/cloudevents+json" => Some(Self::Structured),
            "application/cloudevents-batch+json" => Some(Self::Batched),
            other if other.starts_with("application/cloudevents") => None,
            _ if headers.contains_key("ce-specversion") => Some(Self::Binary(headers.clone())),
            _ => None,
        }
    }

    /// The JSON of the events, which is not validated yet.
    fn elements(&self, body: &Bytes) -> Result<Vec<Bytes>, Problem> {
        match self {
            Self::Structured => {
                let event: &RawValue =
                    serde_json::from_slice(body).map_err(|err| Problem::not_json(&err))?;
                Ok(vec![body.slice_ref(event.get().as_bytes())])
            }
            Self::Batched => batch(body),
            Self::Binary(headers) => Ok(vec![binary::structured(headers, body)?]),
        }
    }
}

parameters! {
    /// Of `POST /cloudevents` in the binary mode.
    Attributes = [
        parameters::header("ce-specversion", "Binary mode: 1.0.").schema(Some(text().enum_values(Some(["1.0"])))),
        parameters::header("ce-type", "Binary mode: the topic.").schema(Some(text().min_length(Some(1)))),
        parameters::header("ce-source", "Binary mode: the source.").schema(Some(text().min_length(Some(1)))),
        parameters::header("ce-id", "Binary mode: with the source, the event_id.").schema(Some(text().min_length(Some(1)))),
        // Not date-time: client generators that map that to a type of their own cannot write it as a header.
        parameters::header("ce-time", "Binary mode: the timestamp, RFC 3339 with an offset.")
            .schema(Some(text().format(Some(SchemaFormat::Custom("rfc3339".to_owned()))))),
    ];
}

refusals! {
    /// Of `POST /cloudevents`.
    CloudEventRefusals = event_refusals().problems([Problem::not_cloudevents_type()]);
}

/// Publishes `CloudEvents` 1.0: one, an array of them, or one in headers and body.
#[utoipa::path(
    post,
    path = "/cloudevents",
    tag = "publish",
    params(WaitParameters, ContentEncoding, Attributes),
    request_body(content(
        (CloudEvent = "application/cloudevents+json"),
        (CloudEvents = "application/cloudevents-batch+json"),
        (Data = "application/json")
    )),
    responses((status = OK, body = Accepted), (status = ACCEPTED, body = Accepted), CloudEventRefusals)
)]
pub async fn publish(
    State(state): State<IntakeState>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let waiting = waiting::parse(head.uri.query())?;
    let mode = Mode::of(&head.headers).ok_or_else(Problem::not_cloudevents_type)?;
    let body = state.intake.take(&head.headers, body).await?;
    send(&state, &caller, mode, &body.bytes, waiting).await
}

/// The sender's name, by `HTTP 1.1 Web Hooks for Event Delivery`, section 4.
const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

parameters! {
    /// Of `OPTIONS /cloudevents`.
    Handshake = [
        parameters::header("WebHook-Request-Origin", "The name of the sender, such as eventemitter.example.com.")
            .schema(Some(text())),
    ];
}

/// Allows the delivery of `CloudEvents` by webhook.
///
/// A sender asks for permission before its first delivery, with the header WebHook-Request-Origin. Without it the response is
/// 204, as for OPTIONS on every other path.
#[utoipa::path(
    options,
    path = "/cloudevents",
    tag = "publish",
    params(Handshake),
    responses(
        (status = OK, description = "Any sender may deliver at any rate", headers(
            ("WebHook-Allowed-Origin" = String, description = "The sender's own WebHook-Request-Origin."),
            ("WebHook-Allowed-Rate" = String, description = "`*`: there is no limit."),
            ("Allow" = String, description = "The methods that the path supports.")
        )),
        (status = NO_CONTENT, description = "Without WebHook-Request-Origin", headers(
            ("Allow" = String, description = "The methods that the path supports.")
        ))
    )
)]
pub async fn handshake(headers: HeaderMap) -> Response {
    let allow = [(header::ALLOW, HeaderValue::from_static("POST,OPTIONS"))];
    let Some(origin) = headers.get(REQUEST_ORIGIN) else {
        return (StatusCode::NO_CONTENT, allow).into_response();
    };
    let agreed = [
        (ALLOWED_ORIGIN, origin.clone()),
        (ALLOWED_RATE, HeaderValue::from_static("*")),
    ];
    (allow, agreed).into_response()
}

/// Publishes the events of a complete body.
pub async fn send(
    state: &IntakeState,
    caller: &Caller,
    mode: Mode,
    body: &Bytes,
    waiting: Option<Duration>,
) -> Result<Response, Problem> {
    let events = intake::parse_body(&state.api, body, move |body| parse(&mode, body)).await?;
    if events.is_empty() {
        return Ok(Accepted::answer(0));
    }
    // The JSON of the events is not a slice of the body, and can be several times its size.
    let mut held = state.intake.hold();
    held.add(events.iter().map(|event| event.json.len()).sum())?;
    waiting::deliver(&state.api, caller, events, waiting).await
}

fn parse(mode: &Mode, body: &Bytes) -> Result<Vec<Outgoing>, Problem> {
    let elements = mode.elements(body)?;
    let mut events = Vec::with_capacity(elements.len());
    let mut errors = ItemErrors::default();
    for (index, json) in elements.into_iter().enumerate() {
        // An event without a time is written with a null timestamp; the consumer fills in the stream's time of arrival.
        match cloudevent::parse(&json, 0) {
            Ok(event) => events.push(Outgoing {
                json: event.to_json(),
                topic: event.topic,
                event_id: event.event_id,
            }),
            Err(violations) => errors.add(Some(index), violations),
        }
    }
    if errors.is_empty() {
        return Ok(events);
    }
    Err(Problem::invalid_events(errors))
}

/// A media type without its parameters, in lower case.
fn essence(kind: &str) -> String {
    let essence = kind.split(';').next().unwrap_or("");
    essence.trim().to_ascii_lowercase()
}

fn batch(body: &Bytes) -> Result<Vec<Bytes>, Problem> {
    let not_a_batch = || refused(Code::WrongType, "a batch is an array of events".to_owned());
    let elements = message::elements(body, MAX_EVENTS).map_err(|err| match err {
        BodyError::NotJson(err) => Problem::not_json(&err),
        BodyError::NotEvents => not_a_batch(),
    })?;
    if body.trim_ascii_start().first() == Some(&b'{') {
        return Err(not_a_batch());
    }
    let Elements { kept, total } = elements;
    if total > MAX_EVENTS {
        return Err(intake::too_many(total));
    }
    Ok(kept)
}
