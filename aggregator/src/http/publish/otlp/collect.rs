//! Converts log records into events.

use std::fmt::Write;

use bytes::Bytes;
use serde::Serialize;
use shared::{
    event::{Event, MAX_EVENT_BYTES, bounded_name},
    publish::Outgoing,
};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use super::{
    digest::Digest,
    message::{LogRecord, Resource, Scope, text},
    request::{Part, Unusable, Visit},
};
use crate::http::edge::{body::HeldBytes, problem::Problem};

/// Most bytes of the events of one request. Each event carries its resource and scope, so they can be many times larger than
/// the request.
pub const MAX_EVENTS_BYTES: usize = 32 * 1024 * 1024;

/// Approximate memory of an event in addition to its JSON.
const EVENT_OVERHEAD: usize = 128;

/// Most bytes of an event's JSON in addition to its values.
const FIELDS_BYTES: usize = 128;

/// Reasons of rejected records in a response; further ones are only counted.
const MAX_REASONS: usize = 3;

/// Unknown members that are named in a response, and the bytes that are kept of each name.
const MAX_UNKNOWN: usize = 3;
const MAX_MEMBER_BYTES: usize = 64;

/// Topic of records whose resource names none: the default `service.name` of OpenTelemetry's semantic conventions.
const UNKNOWN_TOPIC: &str = "unknown_service";

/// Source of records whose resource names none.
const UNKNOWN_SOURCE: &str = "otlp";

/// RFC 3339 with nanoseconds.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");

/// The outcome of a request's records.
#[derive(Debug)]
pub struct Collected {
    /// The events, in the order of their records.
    pub events: Vec<Outgoing>,
    /// How many of them have a digest as their id.
    pub by_digest: u64,
    /// The number of records that cannot become events.
    pub rejected: i64,
    /// The reasons for the first of them.
    pub reasons: Vec<String>,
    /// The first few members that OTLP does not define, which were ignored.
    pub unknown: Vec<String>,
    /// Counts the events' bytes as in flight.
    held: HeldBytes,
}

/// Converts records into events.
pub struct Collector<'a> {
    topic_attribute: &'a str,
    resource: Part<ResourceContext>,
    scope: Part<ScopeContext>,
    records: usize,
    bytes: usize,
    collected: Collected,
}

/// What the records of a resource share.
struct ResourceContext {
    topic: String,
    source: String,
    /// Members of the payload.
    payload: String,
    digest: Digest,
}

/// What the records of a scope share.
struct ScopeContext {
    payload: String,
    digest: Digest,
}

impl<'a> Collector<'a> {
    /// A collector of records whose topic is the resource's attribute of this name.
    pub fn new(topic_attribute: &'a str, held: HeldBytes) -> Self {
        Self {
            topic_attribute,
            resource: Err(Unusable::TooLarge(0)),
            scope: Err(Unusable::TooLarge(0)),
            records: 0,
            bytes: 0,
            collected: Collected {
                events: Vec::new(),
                by_digest: 0,
                rejected: 0,
                reasons: Vec::new(),
                unknown: Vec::new(),
                held,
            },
        }
    }

    /// The events and rejections.
    pub fn finish(self) -> Collected {
        self.collected
    }

    fn reject(&mut self, reason: &str) {
        self.collected.rejected += 1;
        let index = self.records - 1;
        if self.collected.reasons.len() < MAX_REASONS {
            let reason = format!("record {index}: {reason}");
            self.collected.reasons.push(reason);
        }
    }

    /// The event of a record and whether its id is a digest, or the reason why it cannot become an event.
    fn event(&self, record: Part<LogRecord>) -> Result<(Outgoing, bool), String> {
        let reason = |unusable: &Unusable| unusable.to_string();
        let resource = self.resource.as_ref().map_err(reason)?;
        let scope = self.scope.as_ref().map_err(reason)?;
        let mut record = record.map_err(|unusable| reason(&unusable))?;
        // A log that is read again has new observed times, which would turn each record into a conflict. If there is an event
        // time, the observed time adds nothing.
        if record.time_unix_nano != 0 {
            record.observed_time_unix_nano = 0;
        }
        let json = json(&record);
        // Checked before the event is built: resource and scope can be large, and the records many.
        let least = resource.payload.len() + scope.payload.len() + json.len();
        if least > MAX_EVENT_BYTES {
            return Err(Unusable::TooLarge(least).to_string());
        }
        let timestamp = timestamp(&record);
        let uid =
            text(&record.attributes, "log.record.uid").map(|uid| bounded_name(uid).into_owned());
        let is_digest = uid.is_none();
        let event_id = uid.unwrap_or_else(|| scope.digest.id(&record));
        let names = [
            quoted(&resource.topic),
            quoted(&event_id),
            timestamp.map_or("null".to_owned(), |time| quoted(&time)),
            quoted(&resource.source),
        ];
        // The string must not grow: only the length of the event is counted as memory.
        let names_bytes = names.iter().map(String::len).sum::<usize>();
        let mut event = String::with_capacity(least + names_bytes + FIELDS_BYTES);
        let [topic, event_id, timestamp, source] = names;
        let _ = write!(
            event,
            r#"{{"topic":{topic},"event_id":{event_id},"timestamp":{timestamp},"source":{source},"payload":{{{}{}"record":{json}}}}}"#,
            resource.payload, scope.payload,
        );
        let event = Bytes::from(event);
        match Event::parse_arrived(&event, 0) {
            Ok(Event {
                topic, event_id, ..
            }) => {
                let outgoing = Outgoing {
                    topic,
                    event_id,
                    json: event,
                };
                Ok((outgoing, is_digest))
            }
            Err(violations) => Err(violations[0].to_string()),
        }
    }
}

impl Visit for Collector<'_> {
    fn resource(&mut self, resource: Part<Option<Resource>>, schema_url: String) {
        self.scope = Err(Unusable::TooLarge(0));
        self.resource = resource.map(|resource| {
            let attributes = resource.as_ref().map_or(&[][..], |found| &found.attributes);
            let named = |name| text(attributes, name);
            let topic = named(self.topic_attribute).unwrap_or(UNKNOWN_TOPIC);
            let source = named("service.instance.id").or_else(|| named("host.name"));
            ResourceContext {
                topic: bounded_name(topic).into_owned(),
                source: bounded_name(source.unwrap_or(UNKNOWN_SOURCE)).into_owned(),
                payload: members(
                    ["resource", "resourceSchemaUrl"],
                    resource.as_ref(),
                    &schema_url,
                ),
                digest: Digest::default().with(resource.as_ref(), &schema_url),
            }
        });
    }

    fn scope(&mut self, scope: Part<Option<Scope>>, schema_url: String) {
        let Ok(resource) = &self.resource else {
            return;
        };
        self.scope = scope.map(|scope| ScopeContext {
            payload: members(["scope", "scopeSchemaUrl"], scope.as_ref(), &schema_url),
            digest: resource.digest.with(scope.as_ref(), &schema_url),
        });
    }

    fn record(&mut self, record: Part<LogRecord>) -> Result<(), Problem> {
        self.records += 1;
        match self.event(record) {
            Ok((event, is_digest)) => {
                let bytes = event.json.len() + EVENT_OVERHEAD;
                self.bytes += bytes;
                if self.bytes > MAX_EVENTS_BYTES {
                    return Err(Problem::batch_too_large(MAX_EVENTS_BYTES));
                }
                self.collected.held.add(bytes)?;
                self.collected.by_digest += u64::from(is_digest);
                self.collected.events.push(event);
            }
            Err(reason) => self.reject(&reason),
        }
        Ok(())
    }

    fn unknown(&mut self, message: &'static str, member: &str) {
        let unknown = &mut self.collected.unknown;
        if unknown.len() < MAX_UNKNOWN {
            let member = &member[..member.floor_char_boundary(MAX_MEMBER_BYTES)];
            let member = format!("{member} in {message}");
            if !unknown.contains(&member) {
                unknown.push(member);
            }
        }
    }
}

/// The time of a record, or else its observed time; `None` if both are unknown.
fn timestamp(record: &LogRecord) -> Option<String> {
    let known = [record.time_unix_nano, record.observed_time_unix_nano];
    let nanoseconds = known.into_iter().find(|time| *time != 0)?;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds.into());
    let time = time.expect("u64 nanoseconds end in 2554, which is in range");
    Some(time.format(TIME).expect("it has all components"))
}

/// Members of a payload, each followed by a comma: the message, if present, and its schema URL.
fn members<T: Serialize>(names: [&str; 2], message: Option<&T>, schema_url: &str) -> String {
    let mut members = String::new();
    if let Some(message) = message {
        let _ = write!(members, r#""{}":{},"#, names[0], json(message));
    }
    if !schema_url.is_empty() {
        let _ = write!(members, r#""{}":{},"#, names[1], quoted(schema_url));
    }
    members
}

fn json<T: Serialize>(message: &T) -> String {
    serde_json::to_string(message).expect("its keys are strings, and writing to memory cannot fail")
}

fn quoted(text: &str) -> String {
    json(&text)
}
