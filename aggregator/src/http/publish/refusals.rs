//! The error responses that the publishing routes share, for the OpenAPI document.

use bytes::Bytes;
use shared::event::Event;

use super::waiting;
use crate::http::{
    edge::{
        body::{body_problems, not_json},
        problem::{ItemErrors, Problem, Unavailable},
    },
    openapi::refusals::{Refusals, problems},
};

/// Errors of publishing events, whatever their format.
pub fn event_refusals() -> Refusals {
    problems(body_problems())
        .problems(stream_problems())
        .problems([
            not_json(),
            invalid_events(),
            wrong_wait(),
            Problem::conflict(7),
            Problem::rejected(),
            Problem::unavailable(Unavailable::TooManyWaits),
        ])
}

/// Errors of putting events on the stream.
pub fn stream_problems() -> [Problem; 4] {
    [
        Unavailable::BrokerUnreachable,
        Unavailable::StreamFull,
        Unavailable::Unconfirmed,
        Unavailable::BrokerRefuses,
    ]
    .map(Problem::unavailable)
}

/// The error for an event that is not valid.
pub fn invalid_events() -> Problem {
    let event = Bytes::from_static(
        br#"{"topic":"readme","event_id":"3","timestamp":"yesterday","source":"curl","payload":{},"level":"info"}"#,
    );
    let mut errors = ItemErrors::default();
    errors.add(
        Some(0),
        Event::parse(&event).expect_err("its timestamp is not valid"),
    );
    Problem::invalid_events(errors)
}

fn wrong_wait() -> Problem {
    waiting::parse(Some("wait=applied")).expect_err("applied is not a known value")
}
