//! The parameters of `GET /events`.

mod cursor;
mod documented;

use axum::http::HeaderMap;
use serde::Serialize;
use shared::event::{Code, EventId, Instant, MAX_NAME_BYTES, Source, Timestamp};
use utoipa::ToSchema;

pub use self::{
    cursor::Cursor,
    documented::{
        OfEvents, contains_parameter, event_id_parameter, ignore_case_parameter, source_parameter,
        topic_parameter, value_parameters,
    },
};
use crate::{
    http::edge::{
        accept, paging,
        problem::Problem,
        query::{self, Query, time::check_range},
    },
    store::query::{EventQuery, Filter, Order, PayloadValue, Visible},
};

/// Maximum number of topics in one query.
pub const MAX_TOPICS: usize = 100;

/// Maximum number of payload values in one query: each requires another pass over the payload.
pub const MAX_VALUES: usize = 16;

/// The requested topics: one as a string, several as a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Topics {
    /// The only one.
    One(String),
    /// Sorted and without repetition.
    Many(Vec<String>),
}

impl Topics {
    /// `None` if no topic is requested, and so every one.
    pub fn of(topics: &[String]) -> Option<Self> {
        match topics {
            [] => None,
            [topic] => Some(Self::One(topic.clone())),
            topics => Some(Self::Many(topics.to_vec())),
        }
    }
}

/// The format of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One page, as a JSON object.
    Page,
    /// All events, one per line.
    Lines,
}

/// A parsed request for events.
#[derive(Debug)]
pub struct EventsRequest {
    pub query: EventQuery,
    /// The sequence at which the previous page ended.
    pub from: Option<i64>,
    /// The time to which relative times refer, in microseconds since 1970; `None` if there are none.
    pub base: Option<i64>,
    pub limit: usize,
    pub format: Format,
}

/// The parameters that are times.
const TIMES: [&str; 4] = ["since", "until", "time_since", "time_until"];

impl EventsRequest {
    /// Parses the query string. Relative times refer to `now`, or to the time of the first page if there is a cursor, so that
    /// all pages are of the same query. The header `Accept` selects the format if the query string does not.
    ///
    /// # Errors
    /// 422 that names each invalid parameter.
    pub fn parse(query: Option<&str>, headers: &HeaderMap, now: i64) -> Result<Self, Problem> {
        let parameters = Query::parse_many(query, &documented::names(), is_repeatable)?;
        let cursor = parameters
            .text("cursor")
            .map(|text| Cursor::parse(text).ok_or_else(paging::wrong_cursor))
            .transpose()?;
        let now = cursor.and_then(|cursor| cursor.base).unwrap_or(now);
        let query = EventQuery {
            topics: topics(&parameters, MAX_TOPICS)?,
            since: parameters.time("since", now)?,
            until: parameters.time("until", now)?,
            order: if parameters.is_descending(true)? {
                Order::NewestFirst
            } else {
                Order::OldestFirst
            },
            filter: Filter {
                time_since: parameters.event_time("time_since", now)?,
                time_until: parameters.event_time("time_until", now)?,
                ..conditions(&parameters)?
            },
            visible: Visible::default(),
        };
        check_range(("since", query.since), ("until", query.until))?;
        let Filter {
            time_since,
            time_until,
            ..
        } = &query.filter;
        let [from, to] = [time_since, time_until].map(|time| instant(time.as_ref()));
        check_range(("time_since", from), ("time_until", to))?;
        let is_relative = parameters.is_relative(&TIMES);
        if cursor.is_some_and(|cursor| !cursor.is_of(&query, is_relative)) {
            return Err(paging::wrong_cursor());
        }
        let format = format(&parameters, headers)?;
        let limit = match format {
            Format::Page => parameters.limit(paging::DEFAULT_LIMIT, paging::MAX_LIMIT)?,
            Format::Lines => parameters.limit(usize::MAX, usize::MAX)?,
        };
        Ok(Self {
            query,
            from: cursor.map(|cursor| cursor.sequence),
            base: is_relative.then_some(now),
            limit,
            format,
        })
    }
}

fn instant(time: Option<&Timestamp>) -> Option<Instant<'_>> {
    Instant::parse(time?.as_str()).ok()
}

/// Whether a parameter of a request for events can be given more than once.
pub fn is_repeatable(name: &str) -> bool {
    name == "topic" || name.starts_with("payload.")
}

/// The conditions on the content of events, other than on their own time.
///
/// # Errors
/// 422 if one is not valid.
pub fn conditions(parameters: &Query) -> Result<Filter, Problem> {
    let contains = parameters.filled("contains")?;
    let ignore_case = parameters.flag("ignore_case", false)?;
    if ignore_case && contains.is_none() {
        let message = "is allowed only with contains".to_owned();
        return Err(Problem::invalid_query(
            "ignore_case",
            Code::OutOfRange,
            message,
        ));
    }
    Ok(Filter {
        event_id: event_id(parameters)?,
        source: source(parameters)?,
        contains,
        ignore_case,
        payload: payload(parameters)?,
        time_since: None,
        time_until: None,
    })
}

/// The topics in a query string, sorted and without repetition.
///
/// # Errors
/// 422 if one is not a valid topic, or if there are more than `most`.
pub fn topics(parameters: &Query, most: usize) -> Result<Vec<String>, Problem> {
    let named = parameters.all("topic").filter(|(rest, _)| rest.is_empty());
    let mut topics = named
        .map(|(_, text)| Ok(query::topic(text)?.to_string()))
        .collect::<Result<Vec<_>, Problem>>()?;
    if topics.len() > most {
        let message = format!(
            "is given {} times; at most {most} are allowed",
            topics.len()
        );
        return Err(Problem::invalid_query("topic", Code::TooMany, message));
    }
    topics.sort_unstable();
    topics.dedup();
    Ok(topics)
}

fn event_id(parameters: &Query) -> Result<Option<String>, Problem> {
    let parse = |text: &str| match EventId::new(text) {
        Ok(event_id) => Ok(event_id.to_string()),
        Err((code, message)) => Err(Problem::invalid_query("event_id", code, message)),
    };
    parameters.text("event_id").map(parse).transpose()
}

fn source(parameters: &Query) -> Result<Option<String>, Problem> {
    let parse = |text: &str| match Source::new(text) {
        Ok(source) => Ok(source.to_string()),
        Err((code, message)) => Err(Problem::invalid_query("source", code, message)),
    };
    parameters.text("source").map(parse).transpose()
}

fn payload(parameters: &Query) -> Result<Vec<PayloadValue>, Problem> {
    let parse = |(path, value): (&str, &str)| {
        if (1..=MAX_NAME_BYTES).contains(&path.len()) {
            let (path, value) = (path.to_owned(), value.to_owned());
            return Ok(PayloadValue { path, value });
        }
        let message = format!("needs a path of 1 to {MAX_NAME_BYTES} bytes after the dot");
        Err(Problem::invalid_query(
            "payload.",
            Code::OutOfRange,
            message,
        ))
    };
    let values = parameters.all("payload.").map(parse);
    let values: Vec<_> = values.collect::<Result<_, _>>()?;
    if values.len() > MAX_VALUES {
        let message = format!(
            "is given {} times; at most {MAX_VALUES} are allowed",
            values.len()
        );
        return Err(Problem::invalid_query("payload.", Code::TooMany, message));
    }
    Ok(values)
}

fn format(parameters: &Query, headers: &HeaderMap) -> Result<Format, Problem> {
    match parameters.text("format") {
        Some("json") => Ok(Format::Page),
        Some("ndjson") => Ok(Format::Lines),
        Some(_) => {
            let message = "must be json or ndjson".to_owned();
            Err(Problem::invalid_query("format", Code::OutOfRange, message))
        }
        // A client that accepts neither gets a page (RFC 9110, 12.5.1, leaves that to the server).
        None => match accept::preferred(headers, &["application/json", "application/x-ndjson"]) {
            Some(1) => Ok(Format::Lines),
            _ => Ok(Format::Page),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-31T12:00:00Z.
    const NOW: i64 = 1_769_860_800_000_000;

    fn cursor(sequence: i64, request: &EventsRequest) -> String {
        Cursor::new(&request.query, sequence, request.base).to_text()
    }

    fn parse(query: &str) -> Result<EventsRequest, Problem> {
        EventsRequest::parse(Some(query), &HeaderMap::new(), NOW)
    }

    #[test]
    fn a_cursor_continues_its_own_query_and_no_other() {
        let request = parse("topic=b&topic=a&topic=b&payload.x=1").unwrap();
        assert_eq!(request.query.topics, ["a", "b"]);
        let next = cursor(7, &request);
        let same = parse(&format!(
            "payload.x=1&topic=a&topic=b&limit=3&cursor={next}"
        ));
        assert_eq!(same.unwrap().from, Some(7));
        for other in ["topic=a", "topic=a&topic=b&payload.x=2", "order=asc", ""] {
            assert!(parse(&format!("{other}&cursor={next}")).is_err(), "{other}");
        }
    }

    #[test]
    fn cursors_of_earlier_versions_stay_valid() {
        let filtered = "topic=b&topic=a&since=2026-01-31T12:00:00Z&until=2026-02-01T12:00:00Z&order=asc\
            &source=s&contains=x&payload.n=1.50&payload.y=z";
        for (query, expected) in [
            ("", "lV1rIAcAAAAAAAAA"),
            ("topic=a", "XSjdJQcAAAAAAAAA"),
            (filtered, "d4EBOgcAAAAAAAAA"),
        ] {
            assert_eq!(cursor(7, &parse(query).unwrap()), expected, "{query}");
        }
    }

    #[test]
    fn a_cursor_keeps_the_time_to_which_relative_times_refer() {
        let relative = "since=-1h&until=-5m&time_since=-2d&contains=x";
        let first = parse(relative).unwrap();
        assert_eq!(first.query.since, Some(NOW - 3_600_000_000));
        assert_eq!(first.query.until, Some(NOW - 300_000_000));
        let time_since = first.query.filter.time_since.as_ref().unwrap();
        assert_eq!(time_since.as_str(), "2026-01-29T12:00:00.000000Z");
        let next = format!("{relative}&cursor={}", cursor(7, &first));
        let later = EventsRequest::parse(Some(&next), &HeaderMap::new(), NOW + 60_000_000);
        let later = later.unwrap();
        assert_eq!((&later.query, later.base), (&first.query, first.base));
        assert_eq!(later.from, Some(7));
        // The same times, but not relative ones: their cursors are others.
        let absolute = "since=2026-01-31T11:00:00Z&until=2026-01-31T11:55:00Z\
            &time_since=2026-01-29T12:00:00.000000Z&contains=x";
        let of_absolute = cursor(7, &parse(absolute).unwrap());
        assert!(parse(&format!("{relative}&cursor={of_absolute}")).is_err());
        assert!(parse(&format!("{absolute}&cursor={}", cursor(7, &first))).is_err());
    }

    #[test]
    fn a_cursor_distinguishes_all_conditions() {
        let queries = [
            "",
            "contains=x",
            "contains=x&ignore_case=true",
            "time_since=2026-01-31T12:00:00Z",
            "time_until=2026-01-31T12:00:00Z",
            "event_id=1",
        ];
        let cursors = queries.map(|query| cursor(7, &parse(query).unwrap()));
        for (query, own) in queries.iter().zip(&cursors) {
            for cursor in &cursors {
                let continued = parse(&format!("{query}&cursor={cursor}"));
                assert_eq!(continued.is_ok(), cursor == own, "{query} {cursor}");
            }
        }
    }

    #[test]
    fn invalid_queries_are_refused() {
        for wrong in [
            "order=up",
            "since=yesterday",
            "since=1h",
            "until=-1w",
            "time_since=2026-01-31",
            "time_until=-",
            "until=2026-01-31",
            "since=2026-01-31x12:00:00Z",
            "since=2026-01-31%2012:00:00Z",
            "until=2026-01-31%0012:00:00Z",
            "until=2026-01-31712:00:00Z",
            "contains=",
            "contains=x&ignore_case=yes",
            "ignore_case=true",
            "source=",
            "event_id=",
            "topic=",
            "payload.=1",
            "payload=1",
            "format=xml",
            "limit=1001",
            "since=2026-01-31T12:00:00Z&since=2026-01-31T12:00:00Z",
            "cursor=7",
            "since=-1h&until=-2h",
            "since=-0s&until=2026-01-31T12:00:00Z",
            "time_since=2026-01-31T12:00:00Z&time_until=2026-01-31T13:00:00%2B02:00",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let empty = parse("since=-1h&until=-1h").unwrap_err();
        assert_eq!(
            empty.detail(),
            "the query parameter since must be earlier than until"
        );
        assert_eq!(parse("format=ndjson&limit=1001").unwrap().limit, 1_001);
    }

    #[test]
    fn a_time_between_two_microseconds_is_rounded_up() {
        let since = |time: &str| parse(&format!("since={time}")).unwrap().query.since;
        assert_eq!(since("1970-01-01T00:00:00.0000005Z"), Some(1));
        assert_eq!(since("1970-01-01T00:00:00.000001Z"), Some(1));
        assert_eq!(since("1969-12-31T23:59:59.9999999Z"), Some(0));
    }
}
