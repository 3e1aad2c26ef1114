//! Parameters of requests, with the limits that [`Query`](crate::http::edge::query::Query) and others check.

use shared::event::MAX_NAME_BYTES;
use utoipa::{
    IntoParams,
    openapi::{
        Required,
        path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle},
        schema::{ArrayBuilder, ObjectBuilder, SchemaFormat, Type},
    },
};

use super::requests::{name, text, time};
use crate::http::{
    counts::topics::SORTS,
    edge::paging::{DEFAULT_LIMIT, MAX_LIMIT},
    events::{
        filter::{MAX_TOPICS, MAX_VALUES},
        tail::MAX_LATEST,
    },
    publish::waiting,
};

/// Types that stand for parameters.
macro_rules! parameters {
    ($($(#[$doc:meta])* $name:ident = [$($parameter:expr),+ $(,)?];)+) => {$(
        $(#[$doc])*
        pub enum $name {}

        impl IntoParams for $name {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                vec![$($parameter.build()),+]
            }
        }
    )+};
}

parameters! {
    /// Of `POST /publish` and `POST /cloudevents`.
    Waiting = [
        query("wait", "stored: the answer comes after the COMMIT and says what became of each event.")
            .schema(Some(text().enum_values(Some(["stored"])))),
        query("wait_ms", "So many milliseconds it waits at most.").schema(Some(number(
            1,
            whole(waiting::LONGEST.as_millis()),
            Some(whole(waiting::DEFAULT.as_millis())),
        ))),
    ];

    /// Of whatever has a body.
    Packed = [
        header("Content-Encoding", "How the body is packed. The limit of 16 MiB is that of the unpacked one.")
            .schema(Some(text().enum_values(Some(["identity", "gzip", "zstd"])))),
    ];

    /// Of `GET /events`.
    OfEvents = [
        topics(),
        query("source", "Of exactly this source.").schema(Some(name())),
        query("since", "Stored at this time or later.").schema(Some(time())),
        query("until", "Stored before this time.").schema(Some(time())),
        query("order", "desc for the newest first, asc for the oldest first.").schema(Some(
            text().enum_values(Some(["desc", "asc"])).default(Some("desc".into())),
        )),
        query("contains", "With this text in the payload, as its JSON is written.")
            .schema(Some(text().min_length(Some(1)))),
        values(),
        query("limit", "Most events: 1,000 of a page, any number with format=ndjson.")
            .schema(Some(
                ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).default(Some(DEFAULT_LIMIT.into())),
            )),
        query("cursor", "next_cursor of the page before, of the same question.")
            .schema(Some(text().pattern(Some("^[A-Za-z0-9_-]{16}$")))),
        query("format", "json for a page, ndjson for all of it, an event a line. The header Accept says it too.")
            .schema(Some(text().enum_values(Some(["json", "ndjson"])).default(Some("json".into())))),
    ];

    /// Of `GET /events/tail`.
    OfTail = [
        topics(),
        query("latest", "Only so many of the latest events, twice a second; missed tells how many were passed.")
            .schema(Some(number(1, whole(MAX_LATEST), None))),
        header("Last-Event-ID", "The id of the last event that the client got; it goes on behind that. Where it is not known, the newest come.")
            .schema(Some(text())),
    ];

    /// Of `GET /event`.
    OfEvent = [
        query("topic", "Its topic.").required(Required::True).schema(Some(name())).example(Some("readme".into())),
        query("event_id", "Its event_id.").required(Required::True).schema(Some(name())).example(Some("1".into())),
    ];

    /// Of `GET /duplicates`.
    OfDuplicates = [
        query("topic", "Of this topic.").schema(Some(name())),
        limit(),
    ];

    /// Of `GET /topics`.
    OfTopics = [
        query("contains", "With this text in the name.").schema(Some(text().min_length(Some(1)))),
        query("sort", "What they are sorted by.").schema(Some(
            text().enum_values(Some(SORTS.map(|(name, _)| name))).default(Some("topic".into())),
        )),
        query("order", "asc or desc. Left out, names ascend and all else descends.")
            .schema(Some(text().enum_values(Some(["asc", "desc"])))),
        limit(),
        query("cursor", "next_cursor of the page before. There are pages by ascending names only.")
            .schema(Some(text())),
    ];

    /// Of `GET /rejected` and `GET /conflicts`.
    OfKept = [
        limit(),
        query("cursor", "next_cursor of the page before.")
            .schema(Some(text().pattern(Some("^[1-9][0-9]{0,17}$")))),
    ];

    /// Of `POST /cloudevents` in the binary mode.
    Attributes = [
        header("ce-specversion", "In the binary mode 1.0.").schema(Some(text().enum_values(Some(["1.0"])))),
        header("ce-type", "In the binary mode the topic.").schema(Some(text().min_length(Some(1)))),
        header("ce-source", "In the binary mode the source.").schema(Some(text().min_length(Some(1)))),
        header("ce-id", "In the binary mode, with the source, the event_id.").schema(Some(text().min_length(Some(1)))),
        // Of a format of its own: a generator that makes a type of date-time cannot put it into a header.
        header("ce-time", "In the binary mode the timestamp: RFC 3339 with an offset.")
            .schema(Some(text().format(Some(SchemaFormat::Custom("rfc3339".to_owned()))))),
    ];

    /// Of `OPTIONS /cloudevents`.
    Handshake = [
        header("WebHook-Request-Origin", "The name of the sender, such as eventemitter.example.com.")
            .schema(Some(text())),
    ];
}

fn query(name: &str, description: &str) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
}

fn header(name: &str, description: &str) -> ParameterBuilder {
    query(name, description).parameter_in(ParameterIn::Header)
}

fn number(least: u64, most: u64, default: Option<u64>) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(least))
        .maximum(Some(most))
        .default(default.map(Into::into))
}

fn whole(number: impl TryInto<u64>) -> u64 {
    number.try_into().ok().expect("limits are small")
}

fn limit() -> ParameterBuilder {
    query("limit", "Most rows.").schema(Some(number(
        1,
        whole(MAX_LIMIT),
        Some(whole(DEFAULT_LIMIT)),
    )))
}

/// A topic, or several of them, each under the same name.
fn topics() -> ParameterBuilder {
    query("topic", "Of this topic; given again, of any of these.")
        .schema(Some(
            ArrayBuilder::new()
                .items(name())
                .max_items(Some(MAX_TOPICS)),
        ))
        .style(Some(ParameterStyle::Form))
        .explode(Some(true))
}

/// Parameters whose names are paths in the payload.
fn values() -> ParameterBuilder {
    let path = format!("^payload\\..{{1,{MAX_NAME_BYTES}}}$");
    query(
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
