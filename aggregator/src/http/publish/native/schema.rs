//! The JSON bodies of `POST /publish`.

use shared::event::FIELDS;
use utoipa::openapi::{
    Array,
    schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder},
};

use crate::http::{
    openapi::schemas::{NO_OTHER, name, schemas, time, to},
    publish::intake::MAX_EVENTS,
};

schemas! {
    /// A JSON body of `POST /publish`.
    Events(Event) = OneOfBuilder::new()
        .item(to::<Event>())
        .item(events())
        .item(
            ObjectBuilder::new()
                .property("events", events())
                .required("events")
                .additional_properties(Some(NO_OTHER)),
        )
        .build();

    /// One event, as sent.
    Event() = {
        let event = FIELDS.iter().fold(ObjectBuilder::new(), |event, field| {
            event.property(*field, of_event(field)).required(*field)
        });
        event
            .additional_properties(Some(NO_OTHER))
            .description(Some("An event, at most 512 KiB of JSON."))
            .build()
    };
}

/// An array of events.
pub fn events() -> Array {
    ArrayBuilder::new()
        .items(to::<Event>())
        .min_items(Some(1))
        .max_items(Some(MAX_EVENTS))
        .build()
}

/// A field of an event.
fn of_event(field: &str) -> ObjectBuilder {
    match field {
        "payload" => ObjectBuilder::new().description(Some(
            "Nested at most 128 levels deep, counting the payload itself. It is returned byte for byte; in NDJSON and in /events/tail, CR and LF between its tokens become spaces.",
        )),
        "timestamp" => time().description(Some(
            "RFC 3339 with an offset, and T or t between date and time. It is returned as written and compared as an instant.",
        )),
        _ => name(),
    }
}
