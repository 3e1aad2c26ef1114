//! The parameters of `GET /events/tail`.

use axum::http::HeaderMap;
use shared::event::Code;

use super::super::filter;
use crate::{
    http::{
        edge::{problem::Problem, query::Query},
        openapi::{
            parameters::{self, number, parameters, whole},
            schemas::text,
        },
    },
    store::query::{EventQuery, Filter, Order},
};

/// Maximum number of events that such a client receives at a time.
const MAX_LATEST: usize = 100;

/// The names of the parameters.
pub const NAMES: [&str; 7] = [
    "topic",
    EVENT_ID,
    SOURCE,
    CONTAINS,
    IGNORE_CASE,
    PAYLOAD,
    LATEST,
];
const EVENT_ID: &str = "event_id";
const SOURCE: &str = "source";
const CONTAINS: &str = "contains";
const IGNORE_CASE: &str = "ignore_case";
const PAYLOAD: &str = "payload.<path>";
const LATEST: &str = "latest";

parameters! {
    /// The parameters of `GET /events/tail`.
    OfTail = [
        filter::topic_parameter(filter::MAX_TOPICS),
        filter::event_id_parameter(EVENT_ID),
        filter::source_parameter(SOURCE),
        filter::contains_parameter(CONTAINS),
        filter::ignore_case_parameter(IGNORE_CASE),
        filter::value_parameters(PAYLOAD),
        parameters::query(LATEST, "Send at most this number of the latest events, twice a second, or every two seconds while events are skipped; only without conditions other than topic. The event missed gives the number of events skipped.")
            .schema(Some(number(1, whole(MAX_LATEST), None))),
        parameters::header("Last-Event-ID", "The id of the last event that the client received; events after it are sent. If the id is unknown, the tail sends events stored from now on.")
            .schema(Some(text())),
    ];
}

/// Which events are sent, and how many of the latest at a time.
pub fn parse(query: Option<&str>) -> Result<(EventQuery, Option<usize>), Problem> {
    let parameters = Query::parse_many(query, &NAMES, filter::is_repeatable)?;
    let latest = parameters.number(LATEST, MAX_LATEST)?;
    let query = EventQuery {
        topics: filter::topics(&parameters, filter::MAX_TOPICS)?,
        order: Order::OldestFirst,
        filter: filter::conditions(&parameters)?,
        ..EventQuery::default()
    };
    // The latest events are read backwards, where a search would have no end.
    if latest.is_some() && query.filter != Filter::default() {
        let message = "is allowed only without conditions other than topic".to_owned();
        return Err(Problem::invalid_query(LATEST, Code::OutOfRange, message));
    }
    Ok((query, latest))
}

/// The id of the last event that a client received before it lost the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastId {
    /// It gives none, and continues with the newest event.
    None,
    /// It is no sequence.
    Wrong,
    /// The sequence. It may be ahead of the store, as of one that was restored from a backup.
    Of(i64),
}

/// The id that a client gives.
pub fn last_id(headers: &HeaderMap) -> LastId {
    let mut ids = headers.get_all("last-event-id").iter();
    let Some(id) = ids.next() else {
        return LastId::None;
    };
    let sequence = id.to_str().ok().and_then(|text| {
        let sequence: i64 = text.parse().ok()?;
        (sequence >= 0 && sequence.to_string() == text).then_some(sequence)
    });
    let only = sequence.filter(|_| ids.next().is_none());
    only.map_or(LastId::Wrong, LastId::Of)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn from(ids: &[&[u8]]) -> LastId {
        let mut headers = HeaderMap::new();
        for id in ids {
            headers.append("last-event-id", HeaderValue::from_bytes(id).unwrap());
        }
        last_id(&headers)
    }

    #[test]
    fn events_can_be_selected_by_their_content() {
        let (query, latest) = parse(Some(
            "topic=b&topic=a&source=s&event_id=7&contains=x&ignore_case=true&payload.n=1.50",
        ))
        .unwrap();
        assert_eq!((query.topics.len(), latest), (2, None));
        let Filter {
            event_id,
            source,
            contains,
            ignore_case: true,
            payload,
            time_since: None,
            time_until: None,
        } = query.filter
        else {
            panic!("no time was given, and the case is to be ignored");
        };
        let all = [event_id.unwrap(), source.unwrap(), contains.unwrap()];
        assert_eq!(all, ["7", "s", "x"]);
        assert_eq!((&*payload[0].path, &*payload[0].value), ("n", "1.50"));
        for wrong in [
            "source=",
            "contains=",
            "payload.=1",
            "since=-1h",
            "latest=9&source=s",
            "latest=101",
        ] {
            assert!(parse(Some(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(parse(Some("topic=a&latest=9")).unwrap().1, Some(9));
    }

    #[test]
    fn an_empty_or_wrong_id_is_not_an_error() {
        assert_eq!(from(&[]), LastId::None);
        for known in [0, 1, 100, i64::MAX] {
            let text = known.to_string();
            assert_eq!(from(&[text.as_bytes()]), LastId::Of(known));
        }
        for wrong in [
            "",
            "9223372036854775808",
            "-1",
            "+1",
            "01",
            "1.0",
            "0x1",
            "abc",
            "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
            "\u{661}",
        ] {
            assert_eq!(from(&[wrong.as_bytes()]), LastId::Wrong, "{wrong}");
        }
        assert_eq!(from(&[b"\xff"]), LastId::Wrong);
        assert_eq!(from(&[b"1", b"2"]), LastId::Wrong);
    }
}
