//! The query of `GET /events`, and the cursor that goes on with it.

use axum::http::HeaderMap;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use shared::event::{Code, MAX_NAME_BYTES, Source};
use utoipa::openapi::{
    path::{ParameterBuilder, ParameterStyle},
    schema::{ArrayBuilder, ObjectBuilder, Type},
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
            parameters::{self, parameters},
            schemas::{name, text, time},
        },
    },
    store::query::{EventQuery, Filter, Order, PayloadValue},
};

/// Most topics of one question.
pub const MAX_TOPICS: usize = 100;

/// Most values in the payload of one question: each reads it again.
pub const MAX_VALUES: usize = 16;

const KNOWN: [&str; 10] = [
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
];

/// How the answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One page, as a JSON object.
    Page,
    /// All that there is, an event a line.
    Lines,
}

/// What is asked for.
#[derive(Debug)]
pub struct Asked {
    pub question: EventQuery,
    /// The page before ended at this sequence.
    pub from: Option<i64>,
    pub limit: usize,
    pub format: Format,
}

impl Asked {
    /// Reads it from the query, and the format from the header `Accept` where the query has none.
    ///
    /// # Errors
    /// 422 that names what is wrong.
    pub fn parse(query: Option<&str>, headers: &HeaderMap) -> Result<Self, Problem> {
        let is_many = |name: &str| name == "topic" || name.starts_with("payload.");
        let query = Query::parse_many(query, &KNOWN, is_many)?;
        let question = EventQuery {
            topics: topics(&query)?,
            since: query.time("since")?,
            until: query.time("until")?,
            order: if query.is_descending(true)? {
                Order::NewestFirst
            } else {
                Order::OldestFirst
            },
            filter: Filter {
                source: source(&query)?,
                contains: query.filled("contains")?,
                payload: payload(&query)?,
            },
        };
        let from = query
            .text("cursor")
            .map(|cursor| read_cursor(cursor, &question).ok_or_else(paging::wrong_cursor))
            .transpose()?;
        let format = format(&query, headers)?;
        let limit = match format {
            Format::Page => query.limit(paging::DEFAULT_LIMIT, paging::MAX_LIMIT)?,
            Format::Lines => query.limit(usize::MAX, usize::MAX)?,
        };
        Ok(Self {
            question,
            from,
            limit,
            format,
        })
    }
}

/// The topics that a query names, each once.
///
/// # Errors
/// 422 where one is none, or where there are too many.
pub fn topics(query: &Query) -> Result<Vec<String>, Problem> {
    let named = query.all("topic").filter(|(rest, _)| rest.is_empty());
    let mut topics = named
        .map(|(_, text)| Ok(query::topic(text)?.to_string()))
        .collect::<Result<Vec<_>, Problem>>()?;
    if topics.len() > MAX_TOPICS {
        let message = format!("stands there {} times, at most {MAX_TOPICS}", topics.len());
        return Err(Problem::invalid_query("topic", Code::TooMany, message));
    }
    topics.sort_unstable();
    topics.dedup();
    Ok(topics)
}

fn source(query: &Query) -> Result<Option<String>, Problem> {
    let parse = |text: &str| match Source::new(text) {
        Ok(source) => Ok(source.to_string()),
        Err((code, message)) => Err(Problem::invalid_query("source", code, message)),
    };
    query.text("source").map(parse).transpose()
}

fn payload(query: &Query) -> Result<Vec<PayloadValue>, Problem> {
    let parse = |(path, value): (&str, &str)| {
        if (1..=MAX_NAME_BYTES).contains(&path.len()) {
            let (path, value) = (path.to_owned(), value.to_owned());
            return Ok(PayloadValue { path, value });
        }
        let message = format!("needs a path of 1 to {MAX_NAME_BYTES} bytes behind the dot");
        Err(Problem::invalid_query(
            "payload.",
            Code::OutOfRange,
            message,
        ))
    };
    let values: Vec<_> = query.all("payload.").map(parse).collect::<Result<_, _>>()?;
    if values.len() > MAX_VALUES {
        let message = format!("stand there {} times, at most {MAX_VALUES}", values.len());
        return Err(Problem::invalid_query("payload.", Code::TooMany, message));
    }
    Ok(values)
}

fn format(query: &Query, headers: &HeaderMap) -> Result<Format, Problem> {
    match query.text("format") {
        Some("json") => Ok(Format::Page),
        Some("ndjson") => Ok(Format::Lines),
        Some(_) => {
            let message = "must be json or ndjson".to_owned();
            Err(Problem::invalid_query("format", Code::OutOfRange, message))
        }
        // Who accepts neither gets a page, with its type (RFC 9110, 12.5.1, leaves that to the server).
        None => match accept::preferred(headers, &["application/json", "application/x-ndjson"]) {
            Some(1) => Ok(Format::Lines),
            _ => Ok(Format::Page),
        },
    }
}

/// The cursor that goes on behind a sequence: which question it belongs to, and the sequence. Rows are never deleted, so it
/// is good for ever.
pub fn cursor(sequence: i64, question: &EventQuery) -> String {
    let mut bytes = hash(question).to_le_bytes().to_vec();
    bytes.extend(sequence.to_le_bytes());
    BASE64.encode(bytes)
}

fn read_cursor(text: &str, question: &EventQuery) -> Option<i64> {
    let bytes: [u8; 12] = BASE64.decode(text).ok()?.try_into().ok()?;
    let (hash_of, sequence) = bytes.split_at(4);
    let sequence = i64::from_le_bytes(sequence.try_into().ok()?);
    (hash_of == hash(question).to_le_bytes() && sequence > 0).then_some(sequence)
}

/// Tells a question from others, in every version of this program. The text of a list cannot be that of another one.
fn hash(question: &EventQuery) -> u32 {
    let EventQuery {
        topics,
        since,
        until,
        order,
        filter,
    } = question;
    let is_oldest_first = *order == Order::OldestFirst;
    let payload = filter.payload.iter();
    let payload: Vec<_> = payload.map(|part| (&part.path, &part.value)).collect();
    let all = (
        topics,
        since,
        until,
        is_oldest_first,
        (&filter.source, &filter.contains, payload),
    );
    let text = serde_json::to_vec(&all).expect("texts and numbers are JSON");
    u32::try_from(xxh3_64(&text) >> 32).expect("32 bits are left")
}

parameters! {
    /// Of `GET /events`.
    OfEvents = [
        topic_parameter(),
        parameters::query("source", "Of exactly this source.").schema(Some(name())),
        parameters::query("since", "Stored at this time or later.").schema(Some(time())),
        parameters::query("until", "Stored before this time.").schema(Some(time())),
        parameters::query("order", "desc for the newest first, asc for the oldest first.").schema(Some(
            text().enum_values(Some(["desc", "asc"])).default(Some("desc".into())),
        )),
        parameters::query("contains", "With this text in the payload, as its JSON is written.")
            .schema(Some(text().min_length(Some(1)))),
        value_parameters(),
        parameters::query("limit", "Most events: 1,000 of a page, any number with format=ndjson.")
            .schema(Some(
                ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).default(Some(paging::DEFAULT_LIMIT.into())),
            )),
        parameters::query("cursor", "next_cursor of the page before, of the same question.")
            .schema(Some(text().pattern(Some("^[A-Za-z0-9_-]{16}$")))),
        parameters::query("format", "json for a page, ndjson for all of it, an event a line. The header Accept says it too.")
            .schema(Some(text().enum_values(Some(["json", "ndjson"])).default(Some("json".into())))),
    ];
}

/// A topic, or several of them, each under the same name.
pub fn topic_parameter() -> ParameterBuilder {
    parameters::query("topic", "Of this topic; given again, of any of these.")
        .schema(Some(
            ArrayBuilder::new()
                .items(name())
                .max_items(Some(MAX_TOPICS)),
        ))
        .style(Some(ParameterStyle::Form))
        .explode(Some(true))
}

/// Parameters whose names are paths in the payload.
fn value_parameters() -> ParameterBuilder {
    let path = format!("^payload\\..{{1,{MAX_NAME_BYTES}}}$");
    parameters::query(
        "payload.<path>",
        "With this value at the path, such as payload.amount=2.00: a string's text, or a number, true, false, null as it is written.",
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

    fn asked(query: &str) -> Result<Asked, Problem> {
        Asked::parse(Some(query), &HeaderMap::new())
    }

    #[test]
    fn a_cursor_goes_on_with_its_own_question_and_with_no_other() {
        let question = asked("topic=b&topic=a&topic=b&payload.x=1")
            .unwrap()
            .question;
        assert_eq!(question.topics, ["a", "b"]);
        let next = cursor(7, &question);
        let again = asked(&format!(
            "payload.x=1&topic=a&topic=b&limit=3&cursor={next}"
        ));
        assert_eq!(again.unwrap().from, Some(7));
        for other in ["topic=a", "topic=a&topic=b&payload.x=2", "order=asc", ""] {
            assert!(asked(&format!("{other}&cursor={next}")).is_err(), "{other}");
        }
    }

    #[test]
    fn what_is_no_question_is_refused() {
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
            assert!(asked(wrong).is_err(), "{wrong}");
        }
        assert_eq!(asked("format=ndjson&limit=1001").unwrap().limit, 1_001);
    }

    #[test]
    fn a_time_between_two_microseconds_is_the_later_one() {
        let since = |time: &str| asked(&format!("since={time}")).unwrap().question.since;
        assert_eq!(since("1970-01-01T00:00:00.0000005Z"), Some(1));
        assert_eq!(since("1970-01-01T00:00:00.000001Z"), Some(1));
        assert_eq!(since("1969-12-31T23:59:59.9999999Z"), Some(0));
    }
}
