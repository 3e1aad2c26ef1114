//! `GET /missing` and `POST /missing/acknowledge`: stream sequences that were lost before they were applied.

use std::sync::Arc;

use axum::{
    Json,
    extract::{RawQuery, Request, State},
    response::Response,
};
use serde::Serialize;
use utoipa::{
    ToSchema,
    openapi::{Object, schema::SchemaType},
};

use crate::{
    clock,
    http::{
        api::Api,
        edge::{
            body::is_json,
            paging::{self, MAX_LIMIT, Whole},
            problem::Problem,
            query::{Query, UnpagedRefusals},
        },
        openapi::{
            refusals::{problems, refusals},
            schemas::schemas,
        },
    },
    store::query::Missing,
};

/// The latest ranges of missing stream sequences.
#[derive(Debug, Serialize, ToSchema)]
pub struct MissingRanges {
    missing: Vec<MissingRange>,
}

#[derive(Debug, Serialize, ToSchema)]
struct MissingRange {
    stream: String,
    first: u64,
    last: u64,
    #[schema(format = DateTime)]
    noticed_at: String,
    #[schema(required)]
    #[schema(format = DateTime)]
    acknowledged_at: Option<String>,
}

/// Lists missing stream sequences, the latest first, at most 1,000 ranges.
#[utoipa::path(
    get,
    path = "/missing",
    tag = "kept",
    responses((status = OK, body = MissingRanges), UnpagedRefusals)
)]
pub async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::parse(query.as_deref(), &[])?;
    paging::answer(&api.permits, async |room| {
        let missing = api.reader.missing(MAX_LIMIT).await;
        let missing = missing.map_err(|err| Problem::internal(&err))?;
        let missing = missing.into_iter().map(range).collect();
        Ok(Whole::of(&MissingRanges { missing }, room))
    })
    .await
}

fn range(missing: Missing) -> MissingRange {
    MissingRange {
        stream: missing.stream,
        first: missing.first,
        last: missing.last,
        noticed_at: clock::rfc3339(missing.noticed_at),
        acknowledged_at: missing.acknowledged_at.map(clock::rfc3339),
    }
}

/// The number of sequences acknowledged.
#[derive(Debug, Serialize, ToSchema)]
pub struct Acknowledged {
    acknowledged: u64,
}

refusals! {
    /// The refusals of `POST /missing/acknowledge`.
    AcknowledgeRefusals = problems([Problem::not_json_type(), Problem::store_unwritable()]);
}

schemas! {
    /// A request body that is ignored.
    IgnoredBody() = Object::builder()
        .schema_type(SchemaType::AnyValue)
        .description(Some("The body is ignored. The required Content-Type prevents HTML forms from sending this request."))
        .build();
}

/// Acknowledges all missing sequences: `/health` and `/stats` no longer count them.
#[utoipa::path(
    post,
    path = "/missing/acknowledge",
    tag = "kept",
    request_body = IgnoredBody,
    responses((status = OK, body = Acknowledged), AcknowledgeRefusals)
)]
pub async fn acknowledge(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<Json<Acknowledged>, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::not_json_type());
    }
    let acknowledged = api
        .writer
        .acknowledge_missing(api.writer.clock().now())
        .await;
    let acknowledged = acknowledged.map_err(|err| Problem::store_cannot_write(&err))?;
    Ok(Json(Acknowledged { acknowledged }))
}
