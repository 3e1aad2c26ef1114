//! `?wait=stored`: the answer comes after the COMMIT and says what became of each event.

use std::time::Duration;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use shared::{
    event::{Code, Event},
    publish::Outgoing,
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use super::{
    accepted::{Accepted, Said, Shown},
    intake::{PARSE_ASIDE_BYTES, put},
};
use crate::{
    http::{
        api::Api,
        edge::{
            paging::{Room, Whole},
            problem::{Cannot, Problem},
            query::Query,
        },
        openapi::{
            parameters::{self, number, parameters, whole},
            schemas::text,
        },
    },
    store::{Outcome, Wait},
};

/// How long an answer waits where the request does not say.
pub const DEFAULT: Duration = Duration::from_secs(5);

/// How long a request may have it wait.
pub const LONGEST: Duration = Duration::from_secs(30);

/// The parameters that are read here. Others are left alone: senders put what they like there.
const KNOWN: [&str; 2] = ["wait", "wait_ms"];

parameters! {
    /// Of `POST /publish` and `POST /cloudevents`.
    Waiting = [
        parameters::query("wait", "stored: the answer comes after the COMMIT and says what became of each event.")
            .schema(Some(text().enum_values(Some(["stored"])))),
        parameters::query("wait_ms", "So many milliseconds it waits at most.").schema(Some(number(
            1,
            whole(LONGEST.as_millis()),
            Some(whole(DEFAULT.as_millis())),
        ))),
    ];
}

/// How long the answer is to wait; none where it is not.
///
/// # Errors
/// 422 where the query says it wrong.
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
            let message = "must be stored".to_owned();
            Err(Problem::invalid_query("wait", Code::OutOfRange, message))
        }
    }
}

/// Puts valid events on the stream, and answers once all of them are there; where it is to wait, once they are stored.
pub async fn deliver(
    api: &Api,
    events: Vec<Outgoing>,
    waiting: Option<Duration>,
) -> Result<Response, Problem> {
    if let Some(time) = waiting {
        return stored(api, events, time).await;
    }
    let received = events.len();
    put(api, events).await?;
    Ok(Accepted::answer(received))
}

/// Publishes events and answers when they are stored, or when the time is over.
async fn stored(api: &Api, events: Vec<Outgoing>, time: Duration) -> Result<Response, Problem> {
    let deadline = Instant::now() + time;
    let wait = begin(api, &events).await?;
    let places = put(api, events).await?;
    let known = async {
        tokio::select! {
            () = wait.all(&places) => {}
            // Nothing more is applied then.
            () = api.process.stopping.cancelled() => {}
        }
    };
    // Whether in time or not, what is known is told.
    let _ = timeout_at(deadline, known).await;
    let known = wait.known(&places);
    answer(&known, wait)
}

/// Registers the wait before the events are published, for the commit can come before the `PubAck`.
async fn begin(api: &Api, events: &[Outgoing]) -> Result<Wait, Problem> {
    let bodies: Vec<_> = events.iter().map(|event| event.json.clone()).collect();
    let bytes = bodies.iter().map(Bytes::len).sum::<usize>();
    let writer = api.writer.clone();
    let begin = move || {
        let parse = |json: &Bytes| Event::parse_arrived(json, 0).ok();
        let parsed: Vec<_> = bodies.iter().filter_map(parse).collect();
        let identities = parsed.iter();
        writer.wait(identities.map(|event| (event.topic.as_str(), event.event_id.as_str())))
    };
    let wait = if bytes > PARSE_ASIDE_BYTES {
        let waiting = spawn_blocking(begin).await;
        waiting.unwrap_or_else(|err| std::panic::resume_unwind(err.into_panic()))
    } else {
        begin()
    };
    wait.ok_or_else(|| Problem::unavailable(Cannot::Wait))
}

/// The answer. It waits for no place, which clients that read slowly could make longer than the sender wants to wait: as
/// many events as can be waited for bound what such answers take, and a large one keeps its wait until it is taken.
fn answer(known: &[Option<Outcome>], wait: impl Send + 'static) -> Result<Response, Problem> {
    let (status, message) = match known {
        [Some(Outcome::Conflict(stored))] => return Err(Problem::conflict(*stored)),
        [Some(Outcome::Rejected)] => return Err(Problem::rejected()),
        [None] => (StatusCode::ACCEPTED, "Event queued for processing"),
        [Some(Outcome::Stored(_))] => (StatusCode::OK, "Event stored"),
        [Some(Outcome::Duplicate(_))] => (StatusCode::OK, "Event was stored before"),
        all if all.contains(&None) => (StatusCode::OK, "Events queued for processing"),
        _ => (StatusCode::OK, "Events processed"),
    };
    let mut shown: Vec<_> = known.iter().copied().map(shown).collect();
    let mut answer = Accepted::of(known.len(), message);
    if let [_] = shown.as_slice()
        && let Some(one) = shown.pop()
    {
        answer.outcome = Some(one.outcome);
        answer.sequence = one.sequence;
    } else {
        answer.outcomes = Some(shown);
    }
    let answer = Whole::of(&answer, Room::Page).answer_within(wait);
    Ok((status, answer).into_response())
}

fn shown(known: Option<Outcome>) -> Shown {
    let (outcome, sequence) = match known {
        Some(Outcome::Stored(sequence)) => (Said::Stored, Some(sequence)),
        Some(Outcome::Duplicate(stored)) => (Said::Duplicate, Some(stored)),
        Some(Outcome::Conflict(stored)) => (Said::Conflict, Some(stored)),
        Some(Outcome::Rejected) => (Said::Rejected, None),
        None => (Said::Pending, None),
    };
    Shown { outcome, sequence }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt;

    use super::*;

    async fn told(known: &[Option<Outcome>]) -> (u16, String) {
        let answer = answer(known, ()).unwrap_or_else(IntoResponse::into_response);
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn one_event_is_answered_by_its_status_and_several_by_a_list() {
        let (status, body) = told(&[Some(Outcome::Stored(7))]).await;
        assert_eq!(status, 200);
        assert_eq!(
            body,
            r#"{"status":"success","received":1,"message":"Event stored","outcome":"stored","sequence":7}"#
        );
        let (status, body) = told(&[Some(Outcome::Duplicate(7))]).await;
        assert_eq!(status, 200);
        assert!(
            body.ends_with(r#""outcome":"duplicate","sequence":7}"#),
            "{body}"
        );
        let (status, body) = told(&[Some(Outcome::Conflict(7))]).await;
        assert_eq!(status, 422);
        assert!(body.contains(r#""type":"urn:problem:conflict""#), "{body}");
        assert_eq!(told(&[None]).await.0, 202);
        let (status, body) = told(&[Some(Outcome::Conflict(7)), None]).await;
        assert_eq!(status, 200);
        assert_eq!(
            body,
            r#"{"status":"success","received":2,"message":"Events queued for processing","outcomes":[{"outcome":"conflict","sequence":7},{"outcome":"pending"}]}"#
        );
    }

    #[tokio::test]
    async fn a_large_answer_keeps_its_wait_until_it_is_taken_and_a_small_one_does_not() {
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
    fn only_what_is_known_here_is_read_of_the_query() {
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
