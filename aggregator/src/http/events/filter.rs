//! The parameters of `GET /events`, and the cursor that continues a query.

use axum::http::HeaderMap;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use shared::event::{Code, MAX_NAME_BYTES, Source};
use utoipa::{
    IntoParams,
    openapi::{
        path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle},
        schema::{ArrayBuilder, ObjectBuilder, Type},
    },
};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    http::{
        edge::{
            accept, paging,
            problem::Problem,
            query::{self, Query},
        },
        openapi::{
            parameters,
            schemas::{name, text, time},
        },
    },
    store::query::{EventQuery, Filter, Order, PayloadValue},
};

/// Maximum number of topics in one query.
pub const MAX_TOPICS: usize = 100;

/// Maximum number of payload values in one query: each requires another pass over the payload.
pub const MAX_VALUES: usize = 16;

/// The names of all parameters.
fn parameter_names() -> [&'static str; 10] {
    // Every field is set by a parameter: a new field does not compile until its parameter is named below.
    let EventQuery {
        topics: _,
        since: _,
        until: _,
        order: _,
        filter,
    } = EventQuery::default();
    let Filter {
        source: _,
        contains: _,
        payload: _,
    } = filter;
    [
        "topic",
        "source",
        "since",
        "until",
        "order",
        "contains",
        "payload.<path>",
        "limit",
        "cursor",
        "format",
    ]
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
    pub limit: usize,
    pub format: Format,
}

impl EventsRequest {
    /// Parses the query string. The header `Accept` selects the format if the query string does not.
    ///
    /// # Errors
    /// 422 that names each invalid parameter.
    pub fn parse(query: Option<&str>, headers: &HeaderMap) -> Result<Self, Problem> {
        let is_many = |name: &str| name == "topic" || name.starts_with("payload.");
        let parameters = Query::parse_many(query, &parameter_names(), is_many)?;
        let query = EventQuery {
            topics: topics(&parameters)?,
            since: parameters.time("since")?,
            until: parameters.time("until")?,
            order: if parameters.is_descending(true)? {
                Order::NewestFirst
            } else {
                Order::OldestFirst
            },
            filter: Filter {
                source: source(&parameters)?,
                contains: parameters.filled("contains")?,
                payload: payload(&parameters)?,
            },
        };
        let from = parameters
            .text("cursor")
            .map(|cursor| read_cursor(cursor, &query).ok_or_else(paging::wrong_cursor))
            .transpose()?;
        let format = format(&parameters, headers)?;
        let limit = match format {
            Format::Page => parameters.limit(paging::DEFAULT_LIMIT, paging::MAX_LIMIT)?,
            Format::Lines => parameters.limit(usize::MAX, usize::MAX)?,
        };
        Ok(Self {
            query,
            from,
            limit,
            format,
        })
    }
}

/// The topics in a query string, sorted and without repetition.
///
/// # Errors
/// 422 if one is not a valid topic, or if there are more than [`MAX_TOPICS`].
pub fn topics(parameters: &Query) -> Result<Vec<String>, Problem> {
    let named = parameters.all("topic").filter(|(rest, _)| rest.is_empty());
    let mut topics = named
        .map(|(_, text)| Ok(query::topic(text)?.to_string()))
        .collect::<Result<Vec<_>, Problem>>()?;
    if topics.len() > MAX_TOPICS {
        let message = format!(
            "is given {} times; at most {MAX_TOPICS} are allowed",
            topics.len()
        );
        return Err(Problem::invalid_query("topic", Code::TooMany, message));
    }
    topics.sort_unstable();
    topics.dedup();
    Ok(topics)
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

/// The cursor for the events after a sequence: a hash of the query, then the sequence. Events are never deleted, so a cursor
/// never expires.
pub fn cursor(sequence: i64, query: &EventQuery) -> String {
    let mut bytes = hash(query).to_le_bytes().to_vec();
    bytes.extend(sequence.to_le_bytes());
    BASE64.encode(bytes)
}

fn read_cursor(text: &str, query: &EventQuery) -> Option<i64> {
    let bytes: [u8; 12] = BASE64.decode(text).ok()?.try_into().ok()?;
    let (hash_of, sequence) = bytes.split_at(4);
    let sequence = i64::from_le_bytes(sequence.try_into().ok()?);
    (hash_of == hash(query).to_le_bytes() && sequence > 0).then_some(sequence)
}

/// Distinguishes a query from others. Every version of this program computes the same hash for the same query, so that cursors
/// stay valid. Different queries have different texts, because each text is JSON.
fn hash(query: &EventQuery) -> u32 {
    let EventQuery {
        topics,
        since,
        until,
        order,
        filter,
    } = query;
    let Filter {
        source,
        contains,
        payload,
    } = filter;
    let is_oldest_first = *order == Order::OldestFirst;
    let payload: Vec<_> = payload
        .iter()
        .map(|PayloadValue { path, value }| (path, value))
        .collect();
    let fields = (
        topics,
        since,
        until,
        is_oldest_first,
        (source, contains, payload),
    );
    // These fields are in the text even if they are not set. A field that is added later must be appended to the text with
    // its name, and only if it is set: otherwise the cursors of all other queries become invalid.
    let text = serde_json::to_vec(&fields).expect("strings and numbers are JSON");
    u32::try_from(xxh3_64(&text) >> 32).expect("32 bits are left")
}

/// The parameters of `GET /events`.
pub enum OfEvents {}

impl IntoParams for OfEvents {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        // A new parameter does not compile until it is described below.
        let [
            _topic,
            source,
            since,
            until,
            order,
            contains,
            payload,
            limit,
            cursor,
            format,
        ] = parameter_names();
        let parameters = [
            topic_parameter(),
            parameters::query(source, "Only events with exactly this source.").schema(Some(name())),
            parameters::query(since, "Only events stored at or after this time.")
                .schema(Some(time())),
            parameters::query(until, "Only events stored before this time.").schema(Some(time())),
            parameters::query(order, "desc for newest first, asc for oldest first.").schema(Some(
                text()
                    .enum_values(Some(["desc", "asc"]))
                    .default(Some("desc".into())),
            )),
            parameters::query(
                contains,
                "Only events whose payload contains this text, as its JSON is written.",
            )
            .schema(Some(text().min_length(Some(1)))),
            value_parameters(payload),
            parameters::query(
                limit,
                "Maximum number of events: up to 1,000 for a page, any number with format=ndjson.",
            )
            .schema(Some(
                ObjectBuilder::new()
                    .schema_type(Type::Integer)
                    .minimum(Some(1))
                    .default(Some(paging::DEFAULT_LIMIT.into())),
            )),
            parameters::query(
                cursor,
                "next_cursor of the previous page, with the other parameters unchanged.",
            )
            .schema(Some(text().pattern(Some("^[A-Za-z0-9_-]{16}$")))),
            parameters::query(
                format,
                "json for a page, ndjson for all events, one per line. Overrides the header Accept.",
            )
            .schema(Some(
                text()
                    .enum_values(Some(["json", "ndjson"]))
                    .default(Some("json".into())),
            )),
        ];
        parameters.map(ParameterBuilder::build).into()
    }
}

/// The parameter `topic`, which can be repeated.
pub fn topic_parameter() -> ParameterBuilder {
    parameters::query(
        "topic",
        "Only events of this topic; can be repeated for several topics.",
    )
    .schema(Some(
        ArrayBuilder::new()
            .items(name())
            .max_items(Some(MAX_TOPICS)),
    ))
    .style(Some(ParameterStyle::Form))
    .explode(Some(true))
}

/// Parameters whose names are paths in the payload.
fn value_parameters(parameter: &str) -> ParameterBuilder {
    let path = format!("^payload\\..{{1,{MAX_NAME_BYTES}}}$");
    parameters::query(
        parameter,
        "Only events with this value at the path, such as payload.amount=2.00: the text of a string, or a number, true, false or null as it is written.",
    )
    .schema(Some(
        ObjectBuilder::new()
            .property_names(Some(text().pattern(Some(path))))
            .additional_properties(Some(text()))
            .max_properties(Some(MAX_VALUES)),
    ))
    .style(Some(ParameterStyle::Form))
    .explode(Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<EventsRequest, Problem> {
        EventsRequest::parse(Some(query), &HeaderMap::new())
    }

    #[test]
    fn a_cursor_continues_its_own_query_and_no_other() {
        let query = parse("topic=b&topic=a&topic=b&payload.x=1").unwrap().query;
        assert_eq!(query.topics, ["a", "b"]);
        let next = cursor(7, &query);
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
            assert_eq!(cursor(7, &parse(query).unwrap().query), expected, "{query}");
        }
    }

    #[test]
    fn invalid_queries_are_refused() {
        for wrong in [
            "order=up",
            "since=yesterday",
            "until=2026-01-31",
            "since=2026-01-31x12:00:00Z",
            "since=2026-01-31%2012:00:00Z",
            "until=2026-01-31%0012:00:00Z",
            "until=2026-01-31712:00:00Z",
            "contains=",
            "source=",
            "topic=",
            "payload.=1",
            "payload=1",
            "format=xml",
            "limit=1001",
            "since=2026-01-31T12:00:00Z&since=2026-01-31T12:00:00Z",
            "cursor=7",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
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
