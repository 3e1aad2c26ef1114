//! Bodies that are read by hand, so that what came is kept: as schemas, with the limits that are checked.

use shared::event::{FIELDS, MAX_NAME_BYTES};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Array, KnownFormat, Object, Ref, RefOr, Schema, SchemaFormat,
        schema::{
            AdditionalProperties, AnyOfBuilder, ArrayBuilder, ObjectBuilder, OneOfBuilder,
            SchemaType, Type,
        },
    },
};

use crate::http::publish::intake::MAX_EVENTS;

/// Types that stand for a schema, and the types that it refers to.
macro_rules! schemas {
    ($($(#[$doc:meta])* $name:ident($($of:ty),*) = $schema:expr;)+) => {$(
        $(#[$doc])*
        pub enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                Schema::from($schema).into()
            }
        }

        impl ToSchema for $name {
            fn schemas(all: &mut Vec<(String, RefOr<Schema>)>) {
                let _ = &all;
                $(
                    all.push((<$of>::name().into(), <$of>::schema()));
                    <$of>::schemas(all);
                )*
            }
        }
    )+};
}
pub(super) use schemas;

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

    /// Lines of JSON.
    Lines() = text()
        .description(Some("An event on each line that is not blank, as JSON."))
        .build();

    /// What a rejected arrival is sent again as.
    Mended(Event, CloudEvent) = OneOfBuilder::new()
        .item(to::<Event>())
        .item(events())
        .item(to::<CloudEvent>())
        .description(Some(
            "What is sent in place of the body that was rejected. Where there is nothing that body is sent again.",
        ))
        .build();

    /// A body that is not looked at.
    Nothing() = Object::builder()
        .schema_type(SchemaType::AnyValue)
        .description(Some("It is not looked at; its type says that no form of a web page sent it."))
        .build();

    /// An event in the JSON format of `CloudEvents`.
    CloudEvent() = cloud_event();

    /// Several of them.
    CloudEvents(CloudEvent) = ArrayBuilder::new()
        .items(to::<CloudEvent>())
        .max_items(Some(MAX_EVENTS))
        .build();

    /// The data of an event whose attributes are in headers.
    Data() = Object::builder()
        .schema_type(SchemaType::AnyValue)
        .description(Some(
            "The data of an event whose attributes are in the headers ce-specversion, ce-type, ce-source, ce-id and so on. Any other type than JSON can stand here, too.",
        ))
        .build();

    /// What a tail sends.
    Told() = ObjectBuilder::new()
        .description(Some("One server-sent event."))
        .property("id", text().description(Some("The sequence, for Last-Event-ID.")))
        .required("id")
        .property("event", text().enum_values(Some(["start", "missed", "message"])).description(Some(
            "start comes first, missed where the client was too far behind. Left out, which is message, with an event of the store.",
        )))
        .property("data", text().description(Some(
            "A StoredEvent on one line, in which CR and LF between tokens of its payload are spaces; with start an object, in which unknown_last_event_id is true where Last-Event-ID is not known and the newest come instead; with missed the number of events.",
        )))
        .required("data")
        .build();

    /// What the live page is sent.
    Sampled() = ObjectBuilder::new()
        .description(Some("One server-sent event."))
        .property("event", text().enum_values(Some(["history", "sample"])))
        .required("event")
        .property("data", text().description(Some("JSON: a sample, or with history a list of them.")))
        .required("data")
        .build();
}

/// There are no properties but those that are named.
const NO_OTHER: AdditionalProperties<Schema> = AdditionalProperties::FreeForm(false);

fn to<T: ToSchema>() -> Ref {
    Ref::from_schema_name(T::name())
}

fn events() -> Array {
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

/// A string.
pub fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A text that names something: the limit is of its bytes in UTF-8, which no keyword can say, and as many characters hold.
pub fn name() -> ObjectBuilder {
    text().min_length(Some(1)).max_length(Some(MAX_NAME_BYTES))
}

/// A time.
pub fn time() -> ObjectBuilder {
    text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

/// Bytes: base64 with padding, the bits behind the last byte zero.
pub fn base64() -> ObjectBuilder {
    let pattern =
        "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
    text().content_encoding("base64").pattern(Some(pattern))
}

/// The characters that `CloudEvents` allow: no control characters, and none of those that Unicode says are none.
const ALLOWED: &str = r"^[^\u0000-\u001f\u007f-\u009f\ufdd0-\ufdef\ufffe\uffff]*$";

fn attribute(types: impl IntoIterator<Item = Type>) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter(types))
        .pattern(Some(ALLOWED))
}

fn cloud_event() -> Object {
    let required = || attribute([Type::String]).min_length(Some(1));
    let optional = || attribute([Type::String, Type::Null]).min_length(Some(1));
    let extension = AnyOfBuilder::new()
        .item(attribute([Type::String, Type::Boolean, Type::Null]))
        .item(
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(i32::MIN))
                .maximum(Some(i32::MAX)),
        );
    ObjectBuilder::new()
        .description(Some("A CloudEvent 1.0, at most 512 KiB of JSON. It has data or data_base64, not both; data is nested at most 127 levels deep. The same event in another mode is a duplicate."))
        .property("specversion", text().enum_values(Some(["1.0"])))
        .required("specversion")
        .property("type", required().description(Some("The topic.")))
        .required("type")
        .property("source", required().description(Some("The source.")))
        .required("source")
        .property("id", required().description(Some("With the source, the event_id.")))
        .required("id")
        .property(
            "time",
            time()
                .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
                .description(Some("The timestamp; without one, the time of arrival.")),
        )
        .property("datacontenttype", optional())
        .property("dataschema", optional())
        .property("subject", optional())
        .property("data", Object::builder().schema_type(SchemaType::AnyValue))
        .property(
            "data_base64",
            base64().schema_type(SchemaType::from_iter([Type::String, Type::Null])),
        )
        .property_names(Some(text().pattern(Some("^([a-z0-9]+|data_base64)$"))))
        .additional_properties(Some(Schema::from(extension.build())))
        .build()
}
