//! Schemas for bodies that are parsed by hand, so that their bytes are kept as received.

use shared::event::MAX_NAME_BYTES;
use utoipa::{
    ToSchema,
    openapi::{
        KnownFormat, Ref, Schema, SchemaFormat,
        schema::{AdditionalProperties, AnyOfBuilder, ObjectBuilder, Type},
    },
};

use crate::http::edge::query::time::RELATIVE;

/// Defines types that represent a schema, each with the types that it refers to.
macro_rules! schemas {
    ($($(#[$doc:meta])* $name:ident($($of:ty),*) = $schema:expr;)+) => {$(
        $(#[$doc])*
        pub enum $name {}

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::Schema::from($schema).into()
            }
        }

        impl utoipa::ToSchema for $name {
            fn schemas(
                all: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>,
            ) {
                let _ = &all;
                $(
                    all.push((<$of as utoipa::ToSchema>::name().into(), <$of as utoipa::PartialSchema>::schema()));
                    <$of as utoipa::ToSchema>::schemas(all);
                )*
            }
        }
    )+};
}
pub(in crate::http) use schemas;

/// No other properties than the declared ones.
pub const NO_OTHER: AdditionalProperties<Schema> = AdditionalProperties::FreeForm(false);

/// A reference to the schema of a type.
pub fn to<T: ToSchema>() -> Ref {
    Ref::from_schema_name(T::name())
}

/// A string.
pub fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A name. Its limit is in bytes of UTF-8, which no keyword can express, so the schema limits the characters to that number.
pub fn name() -> ObjectBuilder {
    text().min_length(Some(1)).max_length(Some(MAX_NAME_BYTES))
}

/// A time.
pub fn time() -> ObjectBuilder {
    text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

/// A time, or one relative to the time of the request.
pub fn time_or_relative() -> AnyOfBuilder {
    let relative = text().pattern(Some(RELATIVE));
    AnyOfBuilder::new().item(time()).item(relative)
}

/// Bytes: base64 with padding, with the unused bits of the last character zero.
pub fn base64() -> ObjectBuilder {
    let pattern =
        "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
    text().content_encoding("base64").pattern(Some(pattern))
}
