//! What `POST /publish` takes as JSON.

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
    /// What `POST /publish` takes as JSON.
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

    /// One event, as it is sent.
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

/// Several of them.
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
            "Nested at most 128 levels deep, of which it is the first. It comes back byte for byte; in NDJSON and in /events/tail, CR and LF between its tokens become spaces.",
        )),
        "timestamp" => time().description(Some(
            "RFC 3339 with an offset, and T or t between date and time. It comes back as this text, and is compared as an instant.",
        )),
        _ => name(),
    }
}
