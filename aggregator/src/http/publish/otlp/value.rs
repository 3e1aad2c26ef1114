//! The JSON of a value of any type.

use std::fmt;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap,
};

use super::{
    json::{Double, Number},
    message::{AnyValue, Value},
};

/// Bytes are written with padding, and read with or without it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Serialize for AnyValue {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(usize::from(self.value.is_some())))?;
        match &self.value {
            None => {}
            Some(Value::String(text)) => map.serialize_entry("stringValue", text)?,
            Some(Value::Bool(value)) => map.serialize_entry("boolValue", value)?,
            Some(Value::Int(number)) => map.serialize_entry("intValue", &number.to_string())?,
            Some(Value::Double(number)) if number.is_finite() => {
                map.serialize_entry("doubleValue", number)?;
            }
            Some(Value::Double(number)) => {
                let name = match *number {
                    f64::INFINITY => "Infinity",
                    f64::NEG_INFINITY => "-Infinity",
                    _ => "NaN",
                };
                map.serialize_entry("doubleValue", name)?;
            }
            Some(Value::Array(values)) => map.serialize_entry("arrayValue", values)?,
            Some(Value::Kvlist(values)) => map.serialize_entry("kvlistValue", values)?,
            Some(Value::Bytes(bytes)) => {
                map.serialize_entry("bytesValue", &BASE64.encode(bytes))?;
            }
        }
        map.end()
    }
}

/// The names of the types of a value.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Key {
    StringValue,
    BoolValue,
    IntValue,
    DoubleValue,
    ArrayValue,
    KvlistValue,
    BytesValue,
    #[serde(other)]
    Unknown,
}

impl<'de> Deserialize<'de> for AnyValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = AnyValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyValue, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key()? {
            let value = match key {
                Key::StringValue => map.next_value::<Option<_>>()?.map(Value::String),
                Key::BoolValue => map.next_value::<Option<_>>()?.map(Value::Bool),
                Key::IntValue => map
                    .next_value::<Option<Number<_>>>()?
                    .map(|n| Value::Int(n.0)),
                Key::DoubleValue => map
                    .next_value::<Option<Double>>()?
                    .map(|n| Value::Double(n.0)),
                Key::ArrayValue => map.next_value::<Option<_>>()?.map(Value::Array),
                Key::KvlistValue => map.next_value::<Option<_>>()?.map(Value::Kvlist),
                Key::BytesValue => {
                    let text: Option<String> = map.next_value()?;
                    // The URL-safe alphabet is accepted too.
                    let text = text.map(|text| text.replace('-', "+").replace('_', "/"));
                    let bytes = text.map(|text| BASE64.decode(text)).transpose();
                    bytes.map_err(A::Error::custom)?.map(Value::Bytes)
                }
                Key::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                    None
                }
            };
            if found.is_some() && value.is_some() {
                return Err(A::Error::custom("a value has one type"));
            }
            found = found.or(value);
        }
        Ok(AnyValue { value: found })
    }
}
