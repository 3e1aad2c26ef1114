//! What the operator should review: rejected arrivals, conflicts, and sequences that the stream lost.

pub mod conflicts;
pub mod missing;
pub mod rejected;
pub mod seen;

use shared::{
    event::{Code, EventId, Topic},
    message::Reason,
};
use utoipa::openapi::path::ParameterBuilder;

use super::{
    edge::{
        access::Caller,
        paging::{self, limit},
        problem::Problem,
        query::{Query, time::check_range},
    },
    openapi::{
        parameters::{parameters, query},
        schemas::{name, text, time_or_relative},
    },
};
use crate::store::query::ReviewQuery;

/// Example requests and responses: by method and path, then by query, body and status.
pub const EXAMPLES: &str = include_str!("review/examples.json");

/// Paths whose request body is optional.
pub const MAY_BE_EMPTY: [&str; 4] = [
    "/conflicts/seen",
    "/missing/acknowledge",
    "/rejected/seen",
    "/rejected/{id}/requeue",
];

parameters! {
    /// The parameters of `GET /rejected`.
    OfRejected = [
        query("topic", "Only arrivals on the subject of this topic, or on the subject events with this topic in the body.").schema(Some(name())),
        query("reason", "Only arrivals that were rejected for this reason.")
            .schema(Some(text().enum_values(Some(Reason::ALL.map(Reason::as_str))))),
        since(),
        until(),
        limit(),
        cursor(),
    ];

    /// The parameters of `GET /conflicts`.
    OfConflicts = [
        query("topic", "Only conflicts of this topic.").schema(Some(name())),
        query("event_id", "Only conflicts of events with this event_id.").schema(Some(name())),
        since(),
        until(),
        limit(),
        cursor(),
    ];
}

fn since() -> ParameterBuilder {
    let about = "Only rows counted at or after this time: RFC 3339, or relative to the time of the request, such as -15m, -2h or -7d.";
    query("since", about).schema(Some(time_or_relative()))
}

fn until() -> ParameterBuilder {
    query(
        "until",
        "Only rows counted before this time, which is later than since.",
    )
    .schema(Some(time_or_relative()))
}

fn cursor() -> ParameterBuilder {
    query("cursor", "next_cursor of the previous page.")
        .schema(Some(text().pattern(Some("^[1-9][0-9]{0,17}$"))))
}

/// The rows that the parameters of a query string select. Relative times refer to `now`.
///
/// # Errors
/// 422 if a parameter is not valid, and 403 if the topic may not be read.
fn selected(caller: &Caller, parameters: &Query, now: i64) -> Result<ReviewQuery, Problem> {
    let since = parameters.time("since", now)?;
    let until = parameters.time("until", now)?;
    check_range(("since", since), ("until", until))?;
    let topic = parameters.topic()?;
    Ok(ReviewQuery {
        visible: caller.visible(topic.as_ref().map(Topic::as_str))?,
        topic,
        event_id: parameters.text("event_id").map(event_id).transpose()?,
        reason: parameters.text("reason").map(reason).transpose()?,
        since,
        until,
        before: paging::cursor(parameters)?,
    })
}

fn event_id(text: &str) -> Result<EventId, Problem> {
    EventId::new(text).map_err(|(code, message)| Problem::invalid_query("event_id", code, message))
}

fn reason(text: &str) -> Result<Reason, Problem> {
    let mut all = Reason::ALL.into_iter();
    all.find(|reason| reason.as_str() == text).ok_or_else(|| {
        let names = Reason::ALL.map(Reason::as_str).join(", ");
        let message = format!("must be one of: {names}");
        Problem::invalid_query("reason", Code::OutOfRange, message)
    })
}
