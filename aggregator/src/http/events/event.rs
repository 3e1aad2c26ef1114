//! `GET /event`: one event by its identity, with its positions and its number of duplicates.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use serde::Serialize;
use shared::event::{Code, EventId};
use utoipa::{ToSchema, openapi::Required};

use super::view::{self, EventView};
use crate::{
    http::{
        api::Api,
        edge::{
            access::Caller,
            paging::{self, Whole},
            problem::Problem,
            query::{Query, unknown_parameter},
        },
        openapi::{
            parameters::{self, parameters},
            refusals::{problems, refusals},
            schemas::name,
        },
    },
    store::{IndexError, StoreError},
};

/// An event, with its position in the store and in the stream, and its duplicates.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FoundEvent)]
pub struct EventDetails {
    event: EventView,
    /// Its position in the order of storing.
    sequence: i64,
    /// The sequence of its message in the stream.
    stream_sequence: u64,
    /// Its position in the message, starting at 0.
    position: u64,
    /// The size of `event` in bytes.
    bytes: usize,
    duplicates: DuplicateCounts,
}

/// The number of duplicates of the event since it was stored: exact if both are equal. They differ if some 200 million duplicates
/// of all topics are newer than the event, or if the event is older than the migration of its store to schema version 8.
#[derive(Debug, Serialize, ToSchema)]
struct DuplicateCounts {
    at_least: u64,
    at_most: u64,
}

parameters! {
    /// The parameters of `GET /event`.
    OfEvent = [
        parameters::query("topic", "The topic of the event.").required(Required::True).schema(Some(name())).example(Some("readme".into())),
        parameters::query("event_id", "The event_id of the event.").required(Required::True).schema(Some(name())).example(Some("1".into())),
    ];
}

refusals! {
    /// The refusals of `GET /event`.
    EventRefusals = problems([
        Problem::not_found("topic readme has no event 7 stored".to_owned()),
        unknown_parameter(&["topic", "event_id"]),
        Problem::store_unreadable(),
        Problem::index_away(),
    ]);
}

/// Returns the event with a given topic and `event_id`.
#[utoipa::path(
    get,
    path = "/event",
    tag = "events",
    params(OfEvent),
    responses((status = OK, body = EventDetails), EventRefusals)
)]
pub async fn find(
    State(api): State<Arc<Api>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::parse(query.as_deref(), &["topic", "event_id"])?;
    let required =
        |name: &str| Problem::invalid_query(name, Code::Missing, "is required".to_owned());
    let topic = query.topic()?.ok_or_else(|| required("topic"))?;
    let event_id = query.text("event_id").ok_or_else(|| required("event_id"))?;
    let event_id = EventId::new(event_id)
        .map_err(|(code, message)| Problem::invalid_query("event_id", code, message))?;
    caller.visible([topic.as_str()])?;
    paging::answer(&api.permits, async |room| {
        let found = api.reader.event(topic.to_string(), event_id.to_string());
        let found = match found.await {
            Err(StoreError::Index(IndexError::Away)) => return Err(Problem::index_away()),
            found => found.map_err(|err| Problem::internal(&err))?,
        };
        let found = found.ok_or_else(|| {
            Problem::not_found(format!("topic {topic} has no event {event_id} stored"))
        })?;
        let (at_least, at_most) = found.again;
        let sequence = found.event.sequence;
        let event = view::view(found.event).map_err(|err| Problem::internal(&err))?;
        let found = EventDetails {
            sequence,
            stream_sequence: found.stream_sequence,
            position: found.position,
            bytes: serde_json::to_vec(&event)
                .expect("strings and JSON values are JSON")
                .len(),
            duplicates: DuplicateCounts { at_least, at_most },
            event,
        };
        Ok(Whole::of(&found, room))
    })
    .await
}
