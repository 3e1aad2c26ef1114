//! The filter by a value in the payload: where a path leads in a JSON document, and whether the value is there.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::store::query::PayloadValue;

impl PayloadValue {
    pub(super) fn is_in(&self, json: &str) -> bool {
        self.is_at(json, &self.path)
    }

    /// Whether the value is at the path `rest` within `json`, a part of the payload. An empty path refers to `json` itself.
    fn is_at(&self, json: &str, rest: &str) -> bool {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let parts = match (json.as_bytes().first(), rest) {
            (Some(b'{' | b'['), "") => return false,
            (Some(b'"'), "") => {
                return serde_json::from_str::<Text<'_>>(json)
                    .is_ok_and(|Text(text)| *text == *self.value.as_bytes());
            }
            (_, "") => return json == self.value,
            (Some(b'{'), _) => deserializer.deserialize_map(Parts(rest)),
            (Some(b'['), _) => deserializer.deserialize_seq(Parts(rest)),
            _ => return false,
        };
        let mut parts = parts.into_iter().flatten();
        parts.any(|(part, rest)| self.is_at(part.get(), rest))
    }
}

/// Visits an object or array and returns the parts that a path leads to, each with the rest of the path.
struct Parts<'p>(&'p str);

impl<'p> Parts<'p> {
    /// The rest of the path after `name`; `None` if the path does not begin with it.
    fn after(&self, name: &[u8]) -> Option<&'p str> {
        // A name is not UTF-8 only if it has half of a surrogate pair, which no path has.
        let rest = self.0.strip_prefix(std::str::from_utf8(name).ok()?)?;
        if rest.is_empty() {
            return Some(rest);
        }
        rest.strip_prefix('.')
    }
}

impl<'p, 'de> Visitor<'de> for Parts<'p> {
    type Value = Vec<(&'de RawValue, &'p str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(Text(name)) = map.next_key()? {
            match self.after(&name) {
                Some(rest) => parts.push((map.next_value()?, rest)),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(parts)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let (number, rest) = self.0.split_once('.').unwrap_or((self.0, ""));
        let Ok(number) = number.parse::<usize>() else {
            return Ok(Vec::new());
        };
        for _ in 0..number {
            if array.next_element::<IgnoredAny>()?.is_none() {
                return Ok(Vec::new());
            }
        }
        let part = array.next_element()?;
        // The remaining elements must be read, or the deserializer fails.
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(part.map(|part| (part, rest)).into_iter().collect())
    }
}

/// A JSON string as bytes: it may have half of a surrogate pair, which UTF-8 cannot represent.
struct Text<'a>(Cow<'a, [u8]>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_bytes<E>(self, text: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_bytes<E>(self, text: &[u8]) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_bytes(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &str = r#"{ "a": {"b": 1.50, "c.d": "ä\n", "e": [true, {"f": null}]}, "a.b": "x",
        "big": 1e999, "twice": 1, "twice": 2, "deep": {"text": "\u00e4"} }"#;

    fn is_in(path: &str, value: &str) -> bool {
        let value = PayloadValue {
            path: path.to_owned(),
            value: value.to_owned(),
        };
        value.is_in(PAYLOAD)
    }

    #[test]
    fn a_path_leads_through_members_and_elements_whatever_dots_their_names_have() {
        assert!(is_in("a.b", "1.50") && is_in("a.b", "x"));
        assert!(is_in("a.c.d", "ä\n"));
        assert!(is_in("a.e.0", "true") && is_in("a.e.1.f", "null"));
        assert!(is_in("twice", "1") && is_in("twice", "2"));
        for (path, value) in [
            ("a", "1.50"),
            ("b", "x"),
            ("a.e.2", "null"),
            ("a.e.x", "true"),
        ] {
            assert!(!is_in(path, value), "{path}={value}");
        }
    }

    #[test]
    fn numbers_match_as_written_and_strings_by_their_value() {
        assert!(!is_in("a.b", "1.5"));
        assert!(is_in("big", "1e999"));
        assert!(is_in("deep.text", "ä"));
        assert!(!is_in("a.e.1.f", ""));
    }

    #[test]
    fn half_of_a_surrogate_pair_hides_nothing() {
        for payload in [
            r#"{"\ud800":1,"a":"b"}"#,
            r#"{"a":"b","\ud800":1}"#,
            r#"{"\udc00\ud800":{"\ud800":[]},"a":"b","x\ud83dy":2}"#,
            r#"{"\ud800":1,"\ud800":2,"a":"\ud800","a":"b"}"#,
            r#"{"z":"\ud800","a":"b"}"#,
            r#"{"a\ud800":"c","\ud800a":"c","\u0061":"\u0062"}"#,
            r#"{"a":{"\ud800":"b"},"a":"b"}"#,
        ] {
            let is_in = |path: &str, value: &str| {
                let (path, value) = (path.to_owned(), value.to_owned());
                PayloadValue { path, value }.is_in(payload)
            };
            assert!(is_in("a", "b"), "{payload}");
            assert!(!is_in("a", "c") && !is_in("a", ""), "{payload}");
        }
        let nested = PayloadValue {
            path: "data.items.1.name".to_owned(),
            value: "tea".to_owned(),
        };
        assert!(nested.is_in(
            r#"{"\udfff":0,"data":{"\ud800":{},"items":[{"\ud800":1},{"\udc00":"\ud800","name":"tea"}]}}"#
        ));
    }
}
