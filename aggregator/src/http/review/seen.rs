//! `POST /rejected/seen` and `POST /conflicts/seen`: mark rows as seen by an operator, for every client.

use std::{
    num::{IntErrorKind, ParseIntError},
    sync::Arc,
};

use axum::{
    Json,
    extract::{RawQuery, State},
    http::HeaderMap,
};
use serde::Serialize;
use shared::event::Code;
use utoipa::{
    ToSchema,
    openapi::{
        Required,
        schema::{ObjectBuilder, Type},
    },
};

use super::missing::IgnoredBody;
use crate::{
    http::{
        api::Api,
        edge::{
            body::is_json,
            problem::Problem,
            query::{Query, unknown_parameter},
        },
        openapi::{
            parameters::{parameters, query},
            refusals::{problems, refusals},
        },
    },
    store::query::Review,
};

/// What is marked as seen.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Seen)]
pub struct SeenUpTo {
    /// The highest id that is marked. It is lower than the given one if several aggregators share the store and an earlier row may
    /// still come.
    seen: u64,
    /// How many rows are marked, including those that are no longer kept.
    count: u64,
}

parameters! {
    /// The parameters of `POST /rejected/seen` and `POST /conflicts/seen`.
    OfSeen = [
        query("up_to", "The id of the last row to mark: rows with this id and all lower ids count as seen. A mark is never lowered.")
            .required(Required::True)
            .schema(Some(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1))))
            .example(Some(1.into())),
    ];
}

refusals! {
    /// The refusals of both.
    SeenRefusals = problems([
        Problem::not_json_type(),
        unknown_parameter(&["up_to"]),
        Problem::store_unwritable(),
    ]);
}

/// Marks rejected arrivals as seen. Nothing is deleted: `/stats` reports up to which id they have been seen.
#[utoipa::path(
    post,
    path = "/rejected/seen",
    tag = "kept",
    params(OfSeen),
    request_body = IgnoredBody,
    responses((status = OK, body = SeenUpTo), SeenRefusals)
)]
pub async fn rejected(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<SeenUpTo>, Problem> {
    mark(&api, Review::Rejected, query.as_deref(), &headers).await
}

/// Marks conflicts as seen. Nothing is deleted: `/stats` reports up to which id they have been seen.
#[utoipa::path(
    post,
    path = "/conflicts/seen",
    tag = "kept",
    params(OfSeen),
    request_body = IgnoredBody,
    responses((status = OK, body = SeenUpTo), SeenRefusals)
)]
pub async fn conflicts(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<SeenUpTo>, Problem> {
    mark(&api, Review::Conflicts, query.as_deref(), &headers).await
}

async fn mark(
    api: &Api,
    rows: Review,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Json<SeenUpTo>, Problem> {
    if !is_json(headers) {
        return Err(Problem::not_json_type());
    }
    let query = Query::parse(query, &["up_to"])?;
    let invalid = |code, message: &str| Problem::invalid_query("up_to", code, message.to_owned());
    let text = query
        .text("up_to")
        .ok_or_else(|| invalid(Code::Missing, "is required"))?;
    let upto = match text.parse() {
        // It is a number, and larger than any id.
        Err(err) if ParseIntError::kind(&err) == &IntErrorKind::PosOverflow => Some(u64::MAX),
        parsed => parsed.ok().filter(|upto| *upto > 0),
    };
    let upto = upto.ok_or_else(|| invalid(Code::OutOfRange, "must be a whole number above 0"))?;
    let seen = api.writer.seen(rows, upto).await;
    let seen = seen.map_err(|err| Problem::store_cannot_write(&err))?;
    let seen = seen.ok_or_else(|| invalid(Code::OutOfRange, "is beyond the latest id"))?;
    Ok(Json(SeenUpTo {
        seen: seen.up_to,
        count: seen.number,
    }))
}
