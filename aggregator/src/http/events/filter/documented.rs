//! The parameters of `GET /events` in the OpenAPI document.

use shared::event::MAX_NAME_BYTES;
use utoipa::{
    IntoParams,
    openapi::{
        path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle},
        schema::{ArrayBuilder, ObjectBuilder, Type},
    },
};

use super::{MAX_TOPICS, MAX_VALUES};
use crate::{
    http::{
        edge::paging,
        openapi::{
            parameters,
            schemas::{name, text, time_or_relative},
        },
    },
    store::query::{EventQuery, Filter},
};

/// The names of all parameters.
pub fn names() -> [&'static str; 14] {
    // Every field is set by a parameter: a new field does not compile until its parameter is named below.
    let EventQuery {
        topics: _,
        since: _,
        until: _,
        order: _,
        filter,
        // Set by the token.
        visible: _,
    } = EventQuery::default();
    let Filter {
        event_id: _,
        source: _,
        contains: _,
        ignore_case: _,
        payload: _,
        time_since: _,
        time_until: _,
    } = filter;
    [
        "topic",
        "event_id",
        "source",
        "since",
        "until",
        "time_since",
        "time_until",
        "order",
        "contains",
        "ignore_case",
        "payload.<path>",
        "limit",
        "cursor",
        "format",
    ]
}

/// The parameters of `GET /events`.
pub enum OfEvents {}

impl IntoParams for OfEvents {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        // A new parameter does not compile until it is described below.
        let [
            _topic,
            event_id,
            source,
            since,
            until,
            time_since,
            time_until,
            order,
            contains,
            ignore_case,
            payload,
            limit,
            cursor,
            format,
        ] = names();
        let parameters = [
            topic_parameter(MAX_TOPICS),
            event_id_parameter(event_id),
            source_parameter(source),
            parameters::query(
                since,
                "Only events stored at or after this time: RFC 3339, or relative to the time of the request, such as -15m, -2h or -7d.",
            )
            .schema(Some(time_or_relative())),
            parameters::query(until, "Only events stored before this time, which is later than since.")
                .schema(Some(time_or_relative())),
            parameters::query(
                time_since,
                "Only events whose own timestamp is this time or later.",
            )
            .schema(Some(time_or_relative())),
            parameters::query(
                time_until,
                "Only events whose own timestamp is before this time, which is later than time_since.",
            )
            .schema(Some(time_or_relative())),
            parameters::query(order, "desc for newest first, asc for oldest first.").schema(Some(
                text()
                    .enum_values(Some(["desc", "asc"]))
                    .default(Some("desc".into())),
            )),
            contains_parameter(contains),
            ignore_case_parameter(ignore_case),
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
            .schema(Some(text().pattern(Some("^[A-Za-z0-9_-]{16}([A-Za-z0-9_-]{11})?$")))),
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
pub fn topic_parameter(most: usize) -> ParameterBuilder {
    parameters::query(
        "topic",
        "Only events of this topic; can be repeated for several topics.",
    )
    .schema(Some(
        ArrayBuilder::new().items(name()).max_items(Some(most)),
    ))
    .style(Some(ParameterStyle::Form))
    .explode(Some(true))
}

/// The parameter `event_id`.
pub fn event_id_parameter(parameter: &str) -> ParameterBuilder {
    parameters::query(
        parameter,
        "Only events with exactly this id, in all topics or in those given. GET /events finds them without a search if there are at most 10,000 topics.",
    )
    .schema(Some(name()))
}

/// The parameter `source`.
pub fn source_parameter(parameter: &str) -> ParameterBuilder {
    parameters::query(parameter, "Only events with exactly this source.").schema(Some(name()))
}

/// The parameter `contains`.
pub fn contains_parameter(parameter: &str) -> ParameterBuilder {
    parameters::query(
        parameter,
        "Only events whose payload, as its JSON is written, contains this text, whether its characters are escaped or not.",
    )
    .schema(Some(text().min_length(Some(1))))
}

/// The parameter `ignore_case`.
pub fn ignore_case_parameter(parameter: &str) -> ParameterBuilder {
    parameters::query(
        parameter,
        "Whether contains finds its text in upper and lower case; otherwise they differ.",
    )
    .schema(Some(
        ObjectBuilder::new()
            .schema_type(Type::Boolean)
            .default(Some(false.into())),
    ))
}

/// Parameters whose names are paths in the payload.
pub fn value_parameters(parameter: &str) -> ParameterBuilder {
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
    // Without an example, Swagger UI fills in names of its own, which the service refuses.
    .example(Some(serde_json::json!({})))
}
