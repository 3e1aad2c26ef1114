//! The five fields of an event in JSON: parsed in one pass if the event is valid, otherwise with every violation
//! reported.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    Code, Event, EventId, FIELDS, MAX_VIOLATIONS, Payload, Source, Timestamp, Topic, Violation,
    rules::Rules,
};

/// The fields of an object with exactly the five fields, each of the right type: the common case. Any other object is
/// refused without details.
pub(super) struct Plain<'a> {
    /// In the order of [`FIELDS`], without the payload.
    texts: [Text<'a>; 4],
    payload: &'a RawValue,
}

impl Plain<'_> {
    /// Returns the event if its fields obey the rules. `json` is the text it was parsed from.
    pub fn check(self, json: &Bytes) -> Option<Event> {
        let [topic, event_id, timestamp, source] = &self.texts;
        let payload = self.payload.get();
        Some(Event {
            topic: Topic::new(&topic.0).ok()?,
            event_id: EventId::new(&event_id.0).ok()?,
            timestamp: Timestamp::new(&timestamp.0).ok()?,
            source: Source::new(&source.0).ok()?,
            payload: Payload::new(payload, json, Rules::Current).ok()?,
        })
    }
}

impl<'de> Deserialize<'de> for Plain<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PlainVisitor;
        impl<'de> Visitor<'de> for PlainVisitor {
            type Value = Plain<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut texts, mut payload) = ([const { None }; 4], None);
                while let Some(Text(name)) = map.next_key()? {
                    match FIELDS.iter().position(|field| *field == name) {
                        Some(4) if payload.is_none() => payload = Some(map.next_value()?),
                        Some(index @ 0..4) if texts[index].is_none() => {
                            texts[index] = Some(map.next_value()?);
                        }
                        _ => return Err(serde::de::Error::custom("too many fields")),
                    }
                }
                let ([Some(topic), Some(event_id), Some(timestamp), Some(source)], Some(payload)) =
                    (texts, payload)
                else {
                    return Err(serde::de::Error::custom("too few fields"));
                };
                Ok(Plain {
                    texts: [topic, event_id, timestamp, source],
                    payload,
                })
            }
        }
        deserializer.deserialize_map(PlainVisitor)
    }
}

/// The fields as received; only their names have been checked.
#[derive(Default)]
pub(super) struct RawFields<'a> {
    /// In the order of [`FIELDS`].
    values: [Option<&'a RawValue>; 5],
    violations: Vec<Violation>,
}

impl<'a> RawFields<'a> {
    pub fn check(
        mut self,
        json: &Bytes,
        arrival: Option<i64>,
        rules: Rules,
    ) -> Result<Event, Vec<Violation>> {
        let topic = self.text(0, Topic::new);
        let event_id = self.text(1, EventId::new);
        let is_null = self.values[2].is_some_and(|value| value.get() == "null");
        let timestamp = match arrival.filter(|_| is_null) {
            Some(arrival) => Some(Timestamp::of_arrival(arrival)),
            None => self.text(2, |text| Timestamp::with_rules(text, rules)),
        };
        let source = self.text(3, Source::new);
        let payload = self.payload(json, rules);
        match (topic, event_id, timestamp, source, payload) {
            (Some(topic), Some(event_id), Some(timestamp), Some(source), Some(payload))
                if self.violations.is_empty() =>
            {
                Ok(Event {
                    topic,
                    event_id,
                    timestamp,
                    source,
                    payload,
                })
            }
            _ => Err(self.violations),
        }
    }

    fn take(&mut self, index: usize) -> Option<&'a RawValue> {
        let value = self.values[index];
        if value.is_none() {
            self.add(index, Code::Missing, "is required".to_owned());
        }
        value
    }

    fn text<T>(
        &mut self,
        index: usize,
        parse: impl Fn(&str) -> Result<T, (Code, String)>,
    ) -> Option<T> {
        let raw = self.take(index)?.get();
        let parsed = if raw.starts_with('"') {
            match serde_json::from_str::<Text<'_>>(raw) {
                Ok(Text(text)) => parse(&text),
                // JSON allows an unpaired surrogate; Unicode does not.
                Err(err) => Err((Code::WrongType, format!("is not valid Unicode: {err}"))),
            }
        } else {
            Err((Code::WrongType, "must be a string".to_owned()))
        };
        parsed
            .map_err(|(code, message)| self.add(index, code, message))
            .ok()
    }

    fn payload(&mut self, json: &Bytes, rules: Rules) -> Option<Payload> {
        Payload::new(self.take(4)?.get(), json, rules)
            .map_err(|(code, message)| self.add(4, code, message))
            .ok()
    }

    fn add(&mut self, index: usize, code: Code, message: String) {
        self.report(FIELDS[index], code, message);
    }

    fn report(&mut self, field: &str, code: Code, message: impl Into<Cow<'static, str>>) {
        if self.violations.len() < MAX_VIOLATIONS {
            let violation = Violation::new(Some(field), code, message);
            self.violations.push(violation);
        }
    }
}

impl<'de> Deserialize<'de> for RawFields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = RawFields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = RawFields::default();
        while let Some(Text(name)) = map.next_key()? {
            let value: &RawValue = map.next_value()?;
            match FIELDS.iter().position(|field| *field == name) {
                Some(index) if fields.values[index].is_some() => {
                    fields.add(index, Code::Repeated, "is given more than once".to_owned());
                }
                Some(index) => fields.values[index] = Some(value),
                None => fields.report(
                    &name,
                    Code::Unknown,
                    "is not a field of an event; put any additional data in the payload",
                ),
            }
        }
        Ok(fields)
    }
}

/// A JSON string, borrowed if it has no escapes.
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}
