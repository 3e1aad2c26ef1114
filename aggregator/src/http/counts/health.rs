//! `GET /health`: whether all parts of the service work.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    clock::{self, Clock},
    health::Notice,
    http::{
        api::Api,
        edge::{
            access::MaybeCaller,
            problem::{Problem, STARTING_PAUSE},
            query::{ParameterRefusals, Query},
        },
    },
    store::{Opening, query},
};

/// The health of the service.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    status: &'static str,
    #[schema(format = DateTime)]
    timestamp: String,
    /// The failing parts, each with its reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    checks: BTreeMap<&'static str, String>,
    /// Stream sequences that were lost before they were applied and have not been acknowledged.
    #[serde(skip_serializing_if = "is_zero")]
    missing: u64,
    /// Notices that do not make the service unhealthy: `stream_size` if the stream keeps a larger size or another number of
    /// replicas than configured, `replicas` if servers that keep one are not reachable, `trimming` if another store holds trimming back or the stream is not trimmed for another reason, and `tokens`
    /// if the tokens file cannot be read, so that the tokens read before stay valid. The reason is given only with `admin`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    notices: BTreeMap<&'static str, String>,
    /// Set while the clock is behind the latest event, or, if aggregators share the store, while it is not that of the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    clock: Option<String>,
    /// `anonymous` if everybody who reaches the service may do everything, and `tokens` if a token is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    access: Option<&'static str>,
}

impl Health {
    /// What is said to a client without a token.
    fn of_nobody(status: &'static str, now: i64) -> Self {
        Self {
            status,
            timestamp: clock::rfc3339(now),
            checks: BTreeMap::new(),
            missing: 0,
            notices: BTreeMap::new(),
            clock: None,
            access: None,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Responds with 200 if all parts work, otherwise with 503 and the failing parts. Writes nothing.
///
/// Without a token only `status` and `timestamp` are given.
#[utoipa::path(
    get,
    path = "/health",
    tag = "service",
    responses(
        (status = OK, body = Health),
        (status = SERVICE_UNAVAILABLE, body = Health),
        ParameterRefusals
    )
)]
pub async fn health(
    State(api): State<Arc<Api>>,
    caller: MaybeCaller,
    RawQuery(query): RawQuery,
) -> Result<(StatusCode, Json<Health>), Problem> {
    Query::parse(query.as_deref(), &[])?;
    let (checks, read) = check(&api).await;
    // After the counts were read: waiting for them is no fault of the clock.
    let now = clock::now_micros();
    let missing = read.as_ref().map_or(0, |stats| stats.missing);
    let clock = read.and_then(|stats| clock_notice(&api.reader.clock(), stats.processed_at));
    let (status, code) = if checks.is_empty() {
        ("healthy", StatusCode::OK)
    } else {
        ("unhealthy", StatusCode::SERVICE_UNAVAILABLE)
    };
    let Some(caller) = caller.0 else {
        return Ok((code, Json(Health::of_nobody(status, now))));
    };
    let mut checks = checks;
    let grant = &caller.grant;
    if let Some(reason) = checks.get_mut("publish")
        && !(grant.admin || grant.reads_everything())
    {
        // It names the subject, which is another's topic.
        "the broker refuses some events, because of its permissions; with a token that reads every topic, this names the subject"
            .clone_into(reason);
    }
    let everybody = api.edge.authenticator.access.without_token();
    let health = Health {
        status,
        timestamp: clock::rfc3339(now),
        access: Some(if everybody.is_some() {
            "anonymous"
        } else {
            "tokens"
        }),
        checks,
        missing,
        notices: notices(&api, caller.grant.admin),
        clock,
    };
    Ok((code, Json(health)))
}

/// The notices. What is wrong with the tokens file names tokens and topics, which only those who manage them may know.
fn notices(api: &Api, is_admin: bool) -> BTreeMap<&'static str, String> {
    let mut notices = api.process.health.noticed();
    let name = Notice::Tokens.name();
    if !is_admin && notices.contains_key(name) {
        let text = "the tokens file is not valid, so the tokens that were read before stay valid; the log says why";
        notices.insert(name, text.to_owned());
    }
    notices
}

/// `GET /health` while the store is opening.
pub async fn starting(
    State(opening): State<Opening>,
    caller: MaybeCaller,
    RawQuery(query): RawQuery,
) -> Response {
    if let Err(problem) = Query::parse(query.as_deref(), &[]) {
        return problem.into_response();
    }
    let mut health = Health::of_nobody("starting", clock::now_micros());
    if caller.0.is_some() {
        health.checks.insert("store", opening.step());
    }
    let pause = [(header::RETRY_AFTER, STARTING_PAUSE.as_secs().to_string())];
    (StatusCode::SERVICE_UNAVAILABLE, pause, Json(health)).into_response()
}

/// The failing parts, including the store if it cannot be read, and the counters if it can.
pub async fn check(api: &Api) -> (BTreeMap<&'static str, String>, Option<query::Stats>) {
    let mut checks = failing(api);
    let read = api.reader.stats(0).await;
    let stats = read.inspect_err(|err| {
        checks.insert("store", err.to_string());
    });
    (checks, stats.ok())
}

/// The failing parts, each with the reason it reported.
pub fn failing(api: &Api) -> BTreeMap<&'static str, String> {
    let mut checks = api.process.health.failing();
    let link = api.broker.connection.link();
    if !link.connected {
        let unknown = || "not connected".to_owned();
        let reason = link.last_error.unwrap_or_else(unknown);
        checks.insert("broker", reason);
    }
    if let Some(reason) = api.broker.publisher.refusal() {
        checks.insert("publish", reason);
    }
    checks
}

/// How far the clock may be off without a notice, in microseconds: time services make smaller steps routinely.
const CLOCK_TOLERANCE: i64 = 1_000_000;

/// The notice while this machine's clock is not that of the database, or is behind the latest event if the times of events are its own.
pub fn clock_notice(clock: &Clock, processed_at: i64) -> Option<String> {
    match clock.ahead() {
        Some(ahead) => differs(ahead),
        None => is_behind(clock::now_micros(), processed_at),
    }
}

/// The notice for the clock of a machine that is this far ahead of the database's, or behind it.
fn differs(ahead: i64) -> Option<String> {
    let seconds = ahead.saturating_abs() / 1_000_000;
    let direction = if ahead > 0 { "ahead of" } else { "behind" };
    (ahead.saturating_abs() > CLOCK_TOLERANCE).then(|| {
        format!(
            "the clock of this machine is {seconds} s {direction} that of the database, which gives the times of events; let a time service set both"
        )
    })
}

/// The notice while the clock is behind the latest event and `processed_at` is therefore held.
fn is_behind(now: i64, processed_at: i64) -> Option<String> {
    let behind = processed_at.saturating_sub(now);
    (behind > CLOCK_TOLERANCE).then(|| {
        format!(
            "the clock is {} s behind the latest event; processed_at is held at {} until the clock catches up",
            behind / 1_000_000,
            clock::rfc3339(processed_at)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_went_back_is_reported_until_it_catches_up() {
        assert_eq!(is_behind(1_000_000, 2_000_000), None);
        let notice = is_behind(1_000_000, 61_000_000).unwrap();
        assert!(notice.contains("60 s behind"), "{notice}");
        assert!(notice.contains("1970-01-01T00:01:01"), "{notice}");
    }

    #[test]
    fn a_clock_that_is_not_that_of_the_database_is_reported() {
        assert_eq!(differs(1_000_000), None);
        assert_eq!(differs(-1_000_000), None);
        let ahead = differs(300_000_000).unwrap();
        assert!(
            ahead.contains("300 s ahead of that of the database"),
            "{ahead}"
        );
        let behind = differs(-60_000_000).unwrap();
        assert!(
            behind.contains("60 s behind that of the database"),
            "{behind}"
        );
    }
}
