//! `?wait=stored`: the response is sent after the COMMIT, or when the wait expires, and gives the outcome of each
//! event.

use std::time::Duration;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use shared::{event::Code, publish::Outgoing};
use tokio::time::{Instant, timeout_at};

use super::{
    accepted::{Accepted, EventOutcome, OutcomeKind},
    intake::{put, put_allowed},
};
use crate::{
    http::{
        api::Api,
        edge::{
            access::Caller,
            paging::{Room, Whole},
            problem::{Problem, Unavailable},
            query::Query,
        },
        openapi::{
            parameters::{self, number, parameters, whole},
            schemas::text,
        },
    },
    store::{Outcome, Wait},
};

/// How long a response waits if the request does not set `wait_ms`.
pub const DEFAULT: Duration = Duration::from_secs(5);

/// Longest wait that a request may ask for.
pub const LONGEST: Duration = Duration::from_secs(30);

/// The parameters that are read here. Others are ignored: senders may add their own.
const KNOWN: [&str; 2] = ["wait", "wait_ms"];

parameters! {
    /// The query parameters of `POST /publish` and `POST /cloudevents`.
    WaitParameters = [
        parameters::query("wait", "stored: the response is sent after the COMMIT and gives the outcome of each event.")
            .schema(Some(text().enum_values(Some(["stored"])))),
        parameters::query("wait_ms", "Longest wait in milliseconds. Outcomes not known by then are pending.")
            .schema(Some(number(
                1,
                whole(LONGEST.as_millis()),
                Some(whole(DEFAULT.as_millis())),
            ))),
    ];
}

/// The longest time that the response may wait for the outcomes, or `None` if the request has no `wait`.
///
/// # Errors
/// 422 if `wait` or `wait_ms` is not valid or is given more than once, or if the query is not UTF-8 when
/// percent-decoded.
pub fn parse(query: Option<&str>) -> Result<Option<Duration>, Problem> {
    let query = Query::parse_many(query, &KNOWN, |name| !KNOWN.contains(&name))?;
    let time = match query.text("wait_ms") {
        None => DEFAULT,
        Some(text) => {
            let time = text.parse().ok().map(Duration::from_millis);
            let time = time.filter(|time| (Duration::from_millis(1)..=LONGEST).contains(time));
            time.ok_or_else(|| {
                let message = format!("must be a whole number from 1 to {}", LONGEST.as_millis());
                Problem::invalid_query("wait_ms", Code::OutOfRange, message)
            })?
        }
    };
    match query.text("wait") {
        None => Ok(None),
        Some("stored") => Ok(Some(time)),
        Some(_) => {
            let message = r#"must be "stored""#.to_owned();
            Err(Problem::invalid_query("wait", Code::OutOfRange, message))
        }
    }
}

/// Publishes valid events and responds once all of them are in the stream. With `waiting`, the response also waits, at
/// most that long, for their outcomes.
///
/// # Errors
/// 403 if the caller may not publish them, and 429 if they exceed the rate of its token; 503 if the events cannot be published or are
/// not confirmed. With `waiting`, also 503 if too many events are already waited for, and 422 if there is only one event and it is a
/// conflict or was rejected.
pub async fn deliver(
    api: &Api,
    caller: &Caller,
    events: Vec<Outgoing>,
    waiting: Option<Duration>,
) -> Result<Response, Problem> {
    if let Some(time) = waiting {
        return deliver_and_wait(api, caller, events, time).await;
    }
    let received = events.len();
    put(api, caller, events).await?;
    Ok(Accepted::answer(received))
}

/// Publishes events and responds once their outcomes are known, or after `time`, but never before the `PubAck`s.
async fn deliver_and_wait(
    api: &Api,
    caller: &Caller,
    events: Vec<Outgoing>,
    time: Duration,
) -> Result<Response, Problem> {
    let deadline = Instant::now() + time;
    // Before the wait: a request that is refused takes no place among those that wait.
    caller.check_publish(&events)?;
    let wait = begin(api, &events)?;
    let places = put_allowed(api, caller, events).await?;
    let known = async {
        tokio::select! {
            () = wait.all(&places) => {}
            // A stopping service pulls no further messages, so these events may not be applied until the next start.
            () = api.process.stopping.cancelled() => {}
        }
    };
    // Outcomes that are not known in time are reported as pending.
    let _ = timeout_at(deadline, known).await;
    let known = wait.known(&places);
    answer(&known, wait)
}

/// Registers the wait. This must happen before the events are published: the commit can precede the `PubAck`.
fn begin(api: &Api, events: &[Outgoing]) -> Result<Wait, Problem> {
    let identities = events
        .iter()
        .map(|event| (event.topic.as_str(), event.event_id.as_str()));
    let wait = api.writer.wait(identities);
    wait.ok_or_else(|| Problem::unavailable(Unavailable::TooManyWaits))
}

/// Builds the response. It does not wait for a permit, which could take longer than the sender asked to wait: clients
/// that read slowly hold permits. Instead, the limit on events waited for bounds the memory of these responses: a large
/// response keeps `wait`, which counts towards that limit, until it is sent.
fn answer(known: &[Option<Outcome>], wait: impl Send + 'static) -> Result<Response, Problem> {
    let (status, message) = match known {
        [Some(Outcome::Conflict(stored))] => return Err(Problem::conflict(*stored)),
        [Some(Outcome::Rejected)] => return Err(Problem::rejected()),
        [None] => (StatusCode::ACCEPTED, "Event queued for processing"),
        [Some(Outcome::Stored(_))] => (StatusCode::OK, "Event stored"),
        [Some(Outcome::Duplicate(_))] => (StatusCode::OK, "Event already stored"),
        all if all.contains(&None) => (StatusCode::OK, "Events queued for processing"),
        _ => (StatusCode::OK, "Events processed"),
    };
    let mut outcomes: Vec<_> = known.iter().copied().map(event_outcome).collect();
    let mut answer = Accepted::of(known.len(), message);
    if let [_] = outcomes.as_slice()
        && let Some(one) = outcomes.pop()
    {
        answer.outcome = Some(one.outcome);
        answer.sequence = one.sequence;
    } else {
        answer.outcomes = Some(outcomes);
    }
    let answer = Whole::of(&answer, Room::Page).answer_within(wait);
    Ok((status, answer).into_response())
}

fn event_outcome(known: Option<Outcome>) -> EventOutcome {
    let (outcome, sequence) = match known {
        Some(Outcome::Stored(sequence)) => (OutcomeKind::Stored, Some(sequence)),
        Some(Outcome::Duplicate(stored)) => (OutcomeKind::Duplicate, Some(stored)),
        Some(Outcome::Conflict(stored)) => (OutcomeKind::Conflict, Some(stored)),
        Some(Outcome::Rejected) => (OutcomeKind::Rejected, None),
        None => (OutcomeKind::Pending, None),
    };
    EventOutcome { outcome, sequence }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt;

    use super::*;

    async fn response(known: &[Option<Outcome>]) -> (u16, String) {
        let answer = answer(known, ()).unwrap_or_else(IntoResponse::into_response);
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn one_outcome_sets_the_status_and_several_are_listed() {
        let (status, body) = response(&[Some(Outcome::Stored(7))]).await;
        assert_eq!(status, 200);
        assert_eq!(
            body,
            r#"{"status":"success","received":1,"message":"Event stored","outcome":"stored","sequence":7}"#
        );
        let (status, body) = response(&[Some(Outcome::Duplicate(7))]).await;
        assert_eq!(status, 200);
        assert!(
            body.ends_with(r#""outcome":"duplicate","sequence":7}"#),
            "{body}"
        );
        let (status, body) = response(&[Some(Outcome::Conflict(7))]).await;
        assert_eq!(status, 422);
        assert!(body.contains(r#""type":"urn:problem:conflict""#), "{body}");
        assert_eq!(response(&[None]).await.0, 202);
        let (status, body) = response(&[Some(Outcome::Conflict(7)), None]).await;
        assert_eq!(status, 200);
        assert_eq!(
            body,
            r#"{"status":"success","received":2,"message":"Events queued for processing","outcomes":[{"outcome":"conflict","sequence":7},{"outcome":"pending"}]}"#
        );
    }

    #[tokio::test]
    async fn a_large_response_keeps_its_wait_until_it_is_sent_and_a_small_one_does_not() {
        for (events, is_kept) in [(2, false), (10_000, true)] {
            let wait = Arc::new(());
            let known = vec![Some(Outcome::Stored(i64::MAX)); events];
            let answer = answer(&known, Arc::clone(&wait)).unwrap();
            assert_eq!(Arc::strong_count(&wait) == 2, is_kept, "{events}");
            answer.into_body().collect().await.unwrap();
            assert_eq!(Arc::strong_count(&wait), 1, "{events}");
        }
    }

    #[test]
    fn only_the_known_parameters_are_read_from_the_query() {
        assert_eq!(parse(None).unwrap(), None);
        assert_eq!(parse(Some("key=a&key=b")).unwrap(), None);
        assert_eq!(parse(Some("wait=stored")).unwrap(), Some(DEFAULT));
        let millisecond = Some(Duration::from_millis(1));
        assert_eq!(parse(Some("wait_ms=1&wait=stored")).unwrap(), millisecond);
        for wrong in [
            "wait=",
            "wait=applied",
            "wait=stored&wait_ms=0",
            "wait=stored&wait_ms=30001",
            "wait_ms=30001",
        ] {
            assert!(parse(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
