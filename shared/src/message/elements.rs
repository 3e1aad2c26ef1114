//! Splits a body into its elements without parsing them.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::event::Text;

/// Why a body cannot be split into elements.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The body is not JSON; the error gives the position.
    #[error(transparent)]
    NotJson(#[from] serde_json::Error),
    /// The body is JSON, but neither an object nor an array.
    #[error("the body is neither an event nor an array of events")]
    NotEvents,
}

/// The elements of a body: slices of it, not yet parsed.
#[derive(Debug, PartialEq, Eq)]
pub struct Elements {
    /// The first elements, up to the limit.
    pub kept: Vec<Bytes>,
    /// The number of elements in the body, including those beyond the limit.
    pub total: usize,
}

/// Splits a JSON array into its elements; a single object is one element. At most `max` are kept.
///
/// # Errors
/// If the body is not JSON, or is a string, number, boolean or null.
pub fn elements(body: &Bytes, max: usize) -> Result<Elements, BodyError> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') {
        return Ok(parse(body, Array { body, max })?);
    }
    let whole: &RawValue = serde_json::from_slice(body)?;
    if first != Some(&b'{') {
        return Err(BodyError::NotEvents);
    }
    Ok(Elements {
        kept: vec![body.slice_ref(whole.get().as_bytes())],
        total: 1,
    })
}

/// The elements of `{"events":[…]}`, or `None` if the object `body` has no member `events`.
///
/// # Errors
/// If the body is not a valid JSON object, or `events` is not an array or not the only member.
pub fn wrapped(body: &Bytes, max: usize) -> Result<Option<Elements>, serde_json::Error> {
    parse(body, Wrapper { body, max })
}

fn parse<'a, S: DeserializeSeed<'a>>(
    body: &'a Bytes,
    seed: S,
) -> Result<S::Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Array<'a> {
    body: &'a Bytes,
    max: usize,
}

impl<'a> DeserializeSeed<'a> for Array<'a> {
    type Value = Elements;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Elements, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Array<'a> {
    type Value = Elements;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    /// The default error message would include the whole string, escaped.
    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Elements, E> {
        Err(E::custom("expected an array of events, not a string"))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<Elements, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < self.max
            && let Some(raw) = array.next_element::<&RawValue>()?
        {
            kept.push(self.body.slice_ref(raw.get().as_bytes()));
        }
        let mut total = kept.len();
        while array.next_element::<IgnoredAny>()?.is_some() {
            total += 1;
        }
        Ok(Elements { kept, total })
    }
}

#[derive(Clone, Copy)]
struct Wrapper<'a> {
    body: &'a Bytes,
    max: usize,
}

impl<'a> DeserializeSeed<'a> for Wrapper<'a> {
    type Value = Option<Elements>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Wrapper<'a> {
    type Value = Option<Elements>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut events = None;
        let mut others = 0;
        while let Some(Text(name)) = map.next_key()? {
            if name != "events" || events.is_some() {
                map.next_value::<IgnoredAny>()?;
                others += 1;
                continue;
            }
            let Self { body, max } = self;
            events = Some(map.next_value_seed(Array { body, max })?);
        }
        if events.is_some() && others > 0 {
            return Err(serde::de::Error::custom("events must be the only member"));
        }
        Ok(events)
    }
}
