//! Bodies of `CloudEvents`, in each of their modes.

use utoipa::openapi::{
    Object, Schema,
    schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, SchemaType, Type},
};

use crate::http::{
    openapi::schemas::{base64, schemas, text, time, to},
    publish::intake::MAX_EVENTS,
};

schemas! {
    /// An event in the JSON format of `CloudEvents`.
    CloudEvent() = cloud_event();

    /// An array of `CloudEvents`.
    CloudEvents(CloudEvent) = ArrayBuilder::new()
        .items(to::<CloudEvent>())
        .max_items(Some(MAX_EVENTS))
        .build();

    /// The data of an event in the binary mode.
    Data() = Object::builder()
        .schema_type(SchemaType::AnyValue)
        .description(Some(
            "The data of an event whose attributes are in the headers ce-specversion, ce-type, ce-source, ce-id and so on. Media types other than JSON are accepted too.",
        ))
        .build();
}

/// The characters that `CloudEvents` allow: neither control characters nor Unicode noncharacters.
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
