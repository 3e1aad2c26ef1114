//! `GET /missing` and `POST /missing/acknowledge`: stream sequences that were gone before they could be applied.

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

/// The latest ranges.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MissingRanges)]
pub struct List {
    missing: Vec<Shown>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MissingRange)]
struct Shown {
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
    responses((status = OK, body = List), UnpagedRefusals)
)]
pub async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::parse(query.as_deref(), &[])?;
    paging::answer(&api.permits, async |room| {
        let missing = api.reader.missing(MAX_LIMIT).await;
        let missing = missing.map_err(|err| Problem::internal(&err))?;
        let missing = missing.into_iter().map(shown).collect();
        Ok(Whole::of(&List { missing }, room))
    })
    .await
}

fn shown(missing: Missing) -> Shown {
    Shown {
        stream: missing.stream,
        first: missing.first,
        last: missing.last,
        noticed_at: clock::rfc3339(missing.noticed_at),
        acknowledged_at: missing.acknowledged_at.map(clock::rfc3339),
    }
}

/// How many were acknowledged.
#[derive(Debug, Serialize, ToSchema)]
pub struct Acknowledged {
    acknowledged: u64,
}

refusals! {
    /// Of `POST /missing/acknowledge`.
    Noting = problems([Problem::not_json_type(), Problem::store_unwritable()]);
}

schemas! {
    /// A body that is not looked at.
    Nothing() = Object::builder()
        .schema_type(SchemaType::AnyValue)
        .description(Some("It is not looked at; its type says that no form of a web page sent it."))
        .build();
}

/// A person has taken note of all of them: `/health` and `/stats` count them no longer.
#[utoipa::path(
    post,
    path = "/missing/acknowledge",
    tag = "kept",
    request_body = Nothing,
    responses((status = OK, body = Acknowledged), Noting)
)]
pub async fn acknowledge(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<Json<Acknowledged>, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::not_json_type());
    }
    let acknowledged = api.writer.acknowledge_missing(clock::now_micros()).await;
    let acknowledged = acknowledged.map_err(|err| Problem::store_cannot_write(&err))?;
    Ok(Json(Acknowledged { acknowledged }))
}
