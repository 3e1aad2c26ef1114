//! What all ways in are refused with.

use bytes::Bytes;
use shared::event::Event;

use super::waiting;
use crate::http::{
    edge::{
        body::{not_json, of_a_body},
        problem::{Cannot, ItemErrors, Problem},
    },
    openapi::refusals::{Refusals, problems},
};

/// Of events in a body, however they are told there.
pub fn publishing() -> Refusals {
    problems(of_a_body()).problems(on_the_way()).problems([
        not_json(),
        invalid_events(),
        wrong_wait(),
        Problem::conflict(7),
        Problem::rejected(),
        Problem::unavailable(Cannot::Wait),
    ])
}

/// Of bringing events onto the stream.
pub fn on_the_way() -> [Problem; 4] {
    [Cannot::Reach, Cannot::Take, Cannot::Confirm, Cannot::Agree].map(Problem::unavailable)
}

/// Of an event that is not valid.
pub fn invalid_events() -> Problem {
    let event = Bytes::from_static(
        br#"{"topic":"readme","event_id":"3","timestamp":"yesterday","source":"curl","payload":{},"level":"info"}"#,
    );
    let mut errors = ItemErrors::default();
    errors.add(Some(0), Event::parse(&event).expect_err("its time is none"));
    Problem::invalid_events(errors)
}

fn wrong_wait() -> Problem {
    waiting::parse(Some("wait=applied")).expect_err("it is not known")
}
