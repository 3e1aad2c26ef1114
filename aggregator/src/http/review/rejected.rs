//! `GET /rejected` and `POST /rejected/{id}/requeue`: arrivals that could not be stored, and sending them again.

use std::sync::Arc;

use axum::{
    extract::{Path, RawQuery, Request, State as Extract},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use serde::Serialize;
use shared::event::cloudevent;
use utoipa::{ToSchema, openapi::schema::OneOfBuilder};

use super::OfRejected;
use crate::{
    clock,
    http::{
        api::Api,
        edge::{
            access::Caller,
            body::{ContentEncoding, body_problems, is_json, not_json},
            paging::{self, PagedRefusals, Row, Rows},
            problem::Problem,
            query::Query,
        },
        openapi::{
            refusals::{problems, refusals},
            schemas::{schemas, to},
        },
        publish::{
            accepted::Accepted,
            cloudevents::{self, Mode, schema::CloudEvent},
            intake::IntakeState,
            native::{
                self, Layout,
                schema::{Event, events},
            },
            refusals::{invalid_events, stream_problems},
        },
    },
    store::{StoreError, query::Rejected},
};

/// A page of rejected arrivals.
#[derive(Debug, Serialize, ToSchema)]
struct RejectedPage {
    rejected: Vec<RejectedView>,
    /// Number of all rejected arrivals ever received; null with a token that may not read every topic.
    #[schema(required)]
    total: Option<u64>,
    /// Number of rejected arrivals whose body is no longer kept; null likewise.
    #[schema(required)]
    evicted: Option<u64>,
    #[schema(required)]
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rejected)]
struct RejectedView {
    id: i64,
    reason: String,
    detail: String,
    subject: String,
    stream_sequence: u64,
    position: u64,
    #[schema(format = DateTime)]
    processed_at: String,
    #[schema(required)]
    #[schema(format = DateTime)]
    requeued_at: Option<String>,
    /// The name of the token that it was sent with. Only for `admin`, and not of arrivals that were published over NATS.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    sent_by: Option<String>,
    /// The body as received, if it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    body: Option<String>,
    /// The body as received, in base64, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    body_base64: Option<String>,
}

/// Lists the kept rejected arrivals, latest first.
#[utoipa::path(
    get,
    path = "/rejected",
    tag = "kept",
    params(OfRejected),
    responses((status = OK, body = RejectedPage), PagedRefusals)
)]
pub async fn list(
    Extract(api): Extract<Arc<Api>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let parameters = ["topic", "reason", "since", "until", "limit", "cursor"];
    let parameters = Query::parse(query.as_deref(), &parameters)?;
    let limit = parameters.limit(paging::DEFAULT_LIMIT, paging::MAX_LIMIT)?;
    let query = super::selected(&caller, &parameters, api.reader.clock().now())?;
    let render = if caller.grant.admin {
        render::<true>
    } else {
        render::<false>
    };
    paging::answer(&api.permits, async |room| {
        let rows = Rows::items(room, render);
        let rows = api.reader.rejected(query.clone(), limit, rows).await;
        let rows = rows.map_err(|err| Problem::internal(&err))?;
        rows.rows.page(&RejectedPage {
            rejected: Vec::new(),
            total: rows.total,
            evicted: rows.evicted,
            next_cursor: rows.next.map(|id| id.to_string()),
        })
    })
    .await
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the rows of other lists can be damaged"
)]
fn render<const IS_ADMIN: bool>(row: Rejected, to: &mut Row) -> Result<(), StoreError> {
    serde_json::to_writer(to, &view(row, IS_ADMIN)).expect("strings and numbers are JSON");
    Ok(())
}

fn view(row: Rejected, is_admin: bool) -> RejectedView {
    let (body, body_base64) = match String::from_utf8(row.body) {
        Ok(text) => (Some(text), None),
        Err(err) => (None, Some(BASE64.encode(err.as_bytes()))),
    };
    RejectedView {
        id: row.id,
        reason: row.reason,
        detail: row.detail,
        subject: row.subject,
        stream_sequence: row.stream_sequence,
        position: row.position,
        processed_at: clock::rfc3339(row.processed_at),
        requeued_at: row.requeued_at.map(clock::rfc3339),
        sent_by: row.sent_by.filter(|_| is_admin),
        body,
        body_base64,
    }
}

refusals! {
    /// The refusals of `POST /rejected/{id}/requeue`.
    RequeueRefusals = problems(body_problems())
        .problems(stream_problems())
        .problems([
            Problem::not_found("rejected arrival 7 does not exist or is no longer kept".to_owned()),
            Problem::not_json_type(),
            not_json(),
            invalid_events(),
            Problem::store_unreadable(),
        ]);
}

schemas! {
    /// The body to send in place of a rejected one.
    RequeueBody(Event, CloudEvent) = OneOfBuilder::new()
        .item(to::<Event>())
        .item(events())
        .item(to::<CloudEvent>())
        .description(Some(
            "The body to send in place of the rejected one. If it is empty, the rejected body is sent again.",
        ))
        .build();
}

/// Publishes a rejected body again, or the body of the request in its place, as `POST /publish` would, or `POST /cloudevents`
/// if it is such an event. It counts as a new arrival; the rejected one is kept and marked.
#[utoipa::path(
    post,
    path = "/rejected/{id}/requeue",
    tag = "kept",
    params(("id" = i64, Path, description = "The id of the rejected arrival.", example = 1), ContentEncoding),
    request_body = RequeueBody,
    responses((status = OK, body = Accepted), RequeueRefusals)
)]
pub async fn requeue(
    Extract(state): Extract<IntakeState>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::not_json_type());
    }
    let unknown = || {
        Problem::not_found(format!(
            "rejected arrival {id} does not exist or is no longer kept"
        ))
    };
    let id: i64 = id.parse().map_err(|_| unknown())?;
    let (head, body) = request.into_parts();
    let sent = state.intake.take(&head.headers, body).await?;
    let permit = state.api.permits.page().await;
    let stored = state.api.reader.rejected_one(id).await;
    let stored = stored.map_err(|err| Problem::internal(&err))?;
    let stored = Bytes::from(stored.ok_or_else(unknown)?.body);
    // From here on it counts as a request body: publishing takes a while, and pages must not wait for it.
    let mut in_flight = state.intake.hold();
    in_flight.add(stored.len())?;
    drop(permit);
    let is_changed = !sent.bytes.trim_ascii().is_empty();
    let body = if is_changed { &sent.bytes } else { &stored };
    let accepted = if cloudevent::has_specversion(body) {
        cloudevents::send(&state, &caller, Mode::Structured, body, None).await?
    } else {
        native::send(&state.api, &caller, Layout::Json, body, None).await?
    };
    let marked = state
        .api
        .writer
        .requeued(id, state.api.writer.clock().now())
        .await;
    // Its events are in the stream. The request succeeds even if the row was evicted meanwhile or cannot be marked.
    if let Err(err) = marked {
        tracing::warn!(rejected.id = id, error = %err, "requeued, but not marked as requeued");
    }
    Ok(accepted)
}
