//! Builders for the documentation of request parameters.

use utoipa::openapi::{
    Required,
    path::{ParameterBuilder, ParameterIn},
    schema::{ObjectBuilder, Type},
};

/// Defines types that represent parameters.
macro_rules! parameters {
    ($($(#[$doc:meta])* $name:ident = [$($parameter:expr),+ $(,)?];)+) => {$(
        $(#[$doc])*
        pub enum $name {}

        impl utoipa::IntoParams for $name {
            fn into_params(
                _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
            ) -> Vec<utoipa::openapi::path::Parameter> {
                vec![$($parameter.build()),+]
            }
        }
    )+};
}
pub(in crate::http) use parameters;

/// A query parameter.
pub fn query(name: &str, description: &str) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
}

/// A header parameter.
pub fn header(name: &str, description: &str) -> ParameterBuilder {
    query(name, description).parameter_in(ParameterIn::Header)
}

/// A whole number.
pub fn number(least: u64, most: u64, default: Option<u64>) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(least))
        .maximum(Some(most))
        .default(default.map(Into::into))
}

/// A limit as a number in the document.
pub fn whole(number: impl TryInto<u64>) -> u64 {
    number.try_into().ok().expect("limits fit 64 bits")
}
