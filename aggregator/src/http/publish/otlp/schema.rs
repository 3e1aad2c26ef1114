//! The JSON bodies of `POST /v1/logs`: `ExportLogsServiceRequest` of OTLP 1.x, as far as it is read. Unknown fields
//! are ignored and named in the response, `null` means that a field is missing, and most numbers may be strings.

use utoipa::{
    ToSchema,
    openapi::{
        KnownFormat, Object, Ref, RefOr, Schema, SchemaFormat,
        schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type},
    },
};

use crate::http::openapi::schemas::{base64, schemas, text};

schemas! {
    /// An export request for logs.
    Logs(ResourceLogs) = message([("resourceLogs", many::<ResourceLogs>())]);

    /// The records of a resource.
    ResourceLogs(Resource, ScopeLogs) = message([
        ("resource", one::<Resource>()),
        ("scopeLogs", many::<ScopeLogs>()),
        ("schemaUrl", string()),
    ]);

    /// The producer of records.
    Resource(Attribute) = message([
        ("attributes", many::<Attribute>()),
        ("droppedAttributesCount", number(0, u32::MAX.into())),
    ]);

    /// The records of a scope.
    ScopeLogs(Scope, LogRecord) = message([
        ("scope", one::<Scope>()),
        ("logRecords", many::<LogRecord>()),
        ("schemaUrl", string()),
    ]);

    /// The part of a program that produced records.
    Scope(Attribute) = message([
        ("name", string()),
        ("version", string()),
        ("attributes", many::<Attribute>()),
        ("droppedAttributesCount", number(0, u32::MAX.into())),
    ]);

    /// A log record.
    LogRecord(Attribute) = message([
        ("timeUnixNano", nanoseconds()),
        ("observedTimeUnixNano", nanoseconds()),
        ("severityNumber", number(i32::MIN.into(), i32::MAX.into())),
        ("severityText", string()),
        ("body", one::<AnyValue>()),
        ("attributes", many::<Attribute>()),
        ("droppedAttributesCount", number(0, u32::MAX.into())),
        ("flags", number(0, u32::MAX.into())),
        ("traceId", hexadecimal()),
        ("spanId", hexadecimal()),
        ("eventName", string()),
    ]);

    /// An attribute.
    Attribute(AnyValue) = message([("key", string()), ("value", one::<AnyValue>())]);

    /// A value of one type, or none.
    AnyValue() = {
        let arrays = message([("values", many_of("AnyValue"))]);
        let lists = message([("values", many_of("Attribute"))]);
        let value = ObjectBuilder::from(message([
            ("stringValue", string()),
            ("boolValue", ObjectBuilder::new().schema_type(Type::Boolean).into()),
            ("intValue", long(r"^-?[0-9]{1,18}$")),
            ("doubleValue", ObjectBuilder::new().schema_type(Type::Number).into()),
            ("arrayValue", Schema::from(arrays).into()),
            ("kvlistValue", Schema::from(lists).into()),
            ("bytesValue", base64().into()),
        ]));
        value.max_properties(Some(1)).build()
    };

    /// A message in Protobuf.
    Message() = text()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
        .description(Some("The same message in Protobuf."))
        .build();
}

fn message<const N: usize>(fields: [(&str, RefOr<Schema>); N]) -> Object {
    let fields = fields.into_iter();
    fields
        .fold(ObjectBuilder::new(), |message, (name, of)| {
            message.property(name, of)
        })
        .build()
}

fn one<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

fn many<T: ToSchema>() -> RefOr<Schema> {
    many_of(&T::name())
}

fn many_of(name: &str) -> RefOr<Schema> {
    let items = Ref::from_schema_name(name);
    ArrayBuilder::new().items(items).into()
}

fn string() -> RefOr<Schema> {
    text().into()
}

fn number(least: i64, most: i64) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(least))
        .maximum(Some(most))
        .into()
}

/// A 64-bit integer, as a string or as a number.
fn long(digits: &str) -> RefOr<Schema> {
    let types = [Type::String, Type::Integer];
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter(types))
        .pattern(Some(digits))
        .minimum(Some(i64::MIN))
        .maximum(Some(i64::MAX))
        .into()
}

fn nanoseconds() -> RefOr<Schema> {
    let types = [Type::String, Type::Integer];
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter(types))
        .pattern(Some("^[0-9]{1,19}$"))
        .minimum(Some(0))
        .maximum(Some(u64::MAX))
        .into()
}

fn hexadecimal() -> RefOr<Schema> {
    text().pattern(Some("^([0-9a-fA-F]{2})*$")).into()
}
