//! The messages of an OTLP 1.x export request for logs, in both encodings.
//!
//! Field numbers and names are those of `opentelemetry/proto/{logs,common,resource}/v1`. Unknown fields are ignored in
//! both. JSON is read and written by the rules of OTLP (`docs/specification.md`, JSON Protobuf Encoding), otherwise by
//! those of `ProtoJSON`; a field with its default value is omitted, as its JSON printers do.

use prost::{Message, Oneof};
use serde::{Deserialize, Serialize};

use super::json::{self, is_default};

/// A log record.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogRecord {
    #[prost(fixed64, tag = "1")]
    #[serde(with = "json::long", skip_serializing_if = "is_default")]
    pub time_unix_nano: u64,
    #[prost(fixed64, tag = "11")]
    #[serde(with = "json::long", skip_serializing_if = "is_default")]
    pub observed_time_unix_nano: u64,
    #[prost(int32, tag = "2")]
    #[serde(deserialize_with = "json::number", skip_serializing_if = "is_default")]
    pub severity_number: i32,
    #[prost(string, tag = "3")]
    #[serde(
        deserialize_with = "json::or_default",
        skip_serializing_if = "is_default"
    )]
    pub severity_text: String,
    #[prost(message, optional, tag = "5")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    #[serde(
        deserialize_with = "json::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "7")]
    #[serde(deserialize_with = "json::number", skip_serializing_if = "is_default")]
    pub dropped_attributes_count: u32,
    #[prost(fixed32, tag = "8")]
    #[serde(deserialize_with = "json::number", skip_serializing_if = "is_default")]
    pub flags: u32,
    #[prost(bytes = "vec", tag = "9")]
    #[serde(with = "json::hex", skip_serializing_if = "Vec::is_empty")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    #[serde(with = "json::hex", skip_serializing_if = "Vec::is_empty")]
    pub span_id: Vec<u8>,
    #[prost(string, tag = "12")]
    #[serde(
        deserialize_with = "json::or_default",
        skip_serializing_if = "is_default"
    )]
    pub event_name: String,
}

/// The producer of records: a service on a host.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resource {
    #[prost(message, repeated, tag = "1")]
    #[serde(
        deserialize_with = "json::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "2")]
    #[serde(deserialize_with = "json::number", skip_serializing_if = "is_default")]
    pub dropped_attributes_count: u32,
    #[prost(message, repeated, tag = "3")]
    #[serde(
        deserialize_with = "json::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub entity_refs: Vec<EntityRef>,
}

/// Names the attributes of a resource that identify an entity.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EntityRef {
    #[prost(string, tag = "1")]
    #[serde(
        deserialize_with = "json::or_default",
        skip_serializing_if = "is_default"
    )]
    pub schema_url: String,
    #[prost(string, tag = "2")]
    #[serde(
        deserialize_with = "json::or_default",
        skip_serializing_if = "is_default"
    )]
    pub r#type: String,
    #[prost(string, repeated, tag = "3")]
    #[serde(
        deserialize_with = "json::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub id_keys: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    #[serde(
        deserialize_with = "json::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub description_keys: Vec<String>,
}

/// The part of a program that produced records, such as a logger.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scope {
    #[prost(string, tag = "1")]
    #[serde(
        deserialize_with = "json::or_default",
        skip_serializing_if = "is_default"
    )]
    pub name: String,
    #[prost(string, tag = "2")]
    #[serde(
        deserialize_with = "json::or_default",
        skip_serializing_if = "is_default"
    )]
    pub version: String,
    #[prost(message, repeated, tag = "3")]
    #[serde(
        deserialize_with = "json::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "4")]
    #[serde(deserialize_with = "json::number", skip_serializing_if = "is_default")]
    pub dropped_attributes_count: u32,
}

/// An attribute.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyValue {
    #[prost(string, tag = "1")]
    #[serde(
        deserialize_with = "json::or_default",
        skip_serializing_if = "is_default"
    )]
    pub key: String,
    #[prost(message, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<AnyValue>,
}

/// A value of any type, or none. Its JSON is in [`value`](super::value).
#[derive(Clone, PartialEq, Message)]
pub struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub value: Option<Value>,
}

/// The types of a value.
#[derive(Clone, PartialEq, Oneof)]
pub enum Value {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Array(ArrayValue),
    #[prost(message, tag = "6")]
    Kvlist(KeyValueList),
    #[prost(bytes = "vec", tag = "7")]
    Bytes(Vec<u8>),
}

/// An ordered list of values.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    #[serde(
        deserialize_with = "json::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub values: Vec<AnyValue>,
}

/// Values by key.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyValueList {
    #[prost(message, repeated, tag = "1")]
    #[serde(
        deserialize_with = "json::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub values: Vec<KeyValue>,
}

/// How deep arrays and maps may be nested, in both encodings. This keeps the payload within the 128 levels of JSON that an event
/// may have (a map takes four of them), and within the recursion limits of both decoders.
pub const MAX_LEVELS: usize = 30;

/// A type with values that can be nested.
pub trait Nested {
    /// Whether arrays and maps are nested at most `levels` deep.
    fn is_within(&self, levels: usize) -> bool;
}

impl Nested for LogRecord {
    fn is_within(&self, levels: usize) -> bool {
        self.body.is_within(levels) && self.attributes.is_within(levels)
    }
}

impl Nested for Resource {
    fn is_within(&self, levels: usize) -> bool {
        self.attributes.is_within(levels)
    }
}

impl Nested for Scope {
    fn is_within(&self, levels: usize) -> bool {
        self.attributes.is_within(levels)
    }
}

impl Nested for KeyValue {
    fn is_within(&self, levels: usize) -> bool {
        self.value.is_within(levels)
    }
}

impl Nested for AnyValue {
    fn is_within(&self, levels: usize) -> bool {
        let values: &dyn Fn(usize) -> bool = match &self.value {
            Some(Value::Array(array)) => &|levels| array.values.is_within(levels),
            Some(Value::Kvlist(list)) => &|levels| list.values.is_within(levels),
            _ => return true,
        };
        levels.checked_sub(1).is_some_and(values)
    }
}

impl<T: Nested> Nested for Option<T> {
    fn is_within(&self, levels: usize) -> bool {
        self.as_ref().is_none_or(|value| value.is_within(levels))
    }
}

impl<T: Nested> Nested for Vec<T> {
    fn is_within(&self, levels: usize) -> bool {
        self.iter().all(|value| value.is_within(levels))
    }
}

/// The value of a key, if it is a non-empty string.
pub fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match &found.value.as_ref()?.value {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}
