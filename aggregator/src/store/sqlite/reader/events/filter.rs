//! Filters with no index: each candidate row is read and tested.

use std::{borrow::Cow, fmt};

use memchr::memmem::Finder;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use shared::event::{Instant, Timestamp};

use crate::store::query::{Filter, PayloadValue};

/// A [`Filter`] prepared for matching.
pub(super) struct Matcher<'a> {
    filter: &'a Filter,
    contains: Option<Finder<'a>>,
    time_since: Option<Instant<'a>>,
    time_until: Option<Instant<'a>>,
}

/// The content of an event that may match.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub event_id: &'a str,
    pub timestamp: &'a str,
    pub source: &'a str,
    pub payload: &'a str,
}

impl Filter {
    /// The matcher of this filter; `None` if every event matches.
    pub(super) fn matcher(&self) -> Option<Matcher<'_>> {
        let is_any = *self == Self::default();
        let contains = self.contains.as_ref();
        (!is_any).then(|| Matcher {
            filter: self,
            contains: contains.map(|text| {
                if self.ignore_case {
                    Finder::new(&text.to_lowercase()).into_owned()
                } else {
                    Finder::new(text)
                }
            }),
            time_since: instant(self.time_since.as_ref()),
            time_until: instant(self.time_until.as_ref()),
        })
    }
}

fn instant(timestamp: Option<&Timestamp>) -> Option<Instant<'_>> {
    Instant::of_stored(timestamp?.as_str().as_bytes())
}

impl Matcher<'_> {
    pub fn is_match(&self, event: Candidate<'_>) -> bool {
        let Candidate {
            event_id,
            timestamp,
            source,
            payload,
        } = event;
        let is_in = |finder: &Finder<'_>, text: &str| {
            if self.filter.ignore_case {
                finder.find(text.to_lowercase().as_bytes()).is_some()
            } else {
                finder.find(text.as_bytes()).is_some()
            }
        };
        let contains = |finder| {
            is_in(finder, payload) || payload.contains('\\') && is_in(finder, &unescaped(payload))
        };
        let Filter {
            event_id: wanted_id,
            source: wanted,
            contains: _,
            ignore_case: _,
            payload: values,
            time_since: _,
            time_until: _,
        } = self.filter;
        wanted_id.as_ref().is_none_or(|wanted| wanted == event_id)
            && wanted.as_ref().is_none_or(|wanted| wanted == source)
            && self.is_in_time(timestamp)
            && self.contains.as_ref().is_none_or(contains)
            && values.iter().all(|value| value.is_in(payload))
    }

    fn is_in_time(&self, timestamp: &str) -> bool {
        if self.time_since.is_none() && self.time_until.is_none() {
            return true;
        }
        Instant::of_stored(timestamp.as_bytes()).is_some_and(|time| {
            self.time_since.is_none_or(|since| time >= since)
                && self.time_until.is_none_or(|until| time < until)
        })
    }
}

/// JSON with the characters in place of their escape sequences, to search a text in it. A backslash in JSON always begins an
/// escape sequence in a string.
fn unescaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((before, escaped)) = rest.split_once('\\') {
        text.push_str(before);
        let (character, length) = match escaped.as_bytes().first() {
            Some(b'u') => unicode(escaped),
            Some(b'n') => ('\n', 1),
            Some(b't') => ('\t', 1),
            Some(b'r') => ('\r', 1),
            Some(b'b') => ('\u{8}', 1),
            Some(b'f') => ('\u{c}', 1),
            // A quote, a slash or a backslash stands for itself.
            Some(other) => (char::from(*other), 1),
            None => break,
        };
        text.push(character);
        rest = escaped.get(length..).unwrap_or_default();
    }
    text.push_str(rest);
    text
}

/// The character of a sequence `uXXXX`, or of two for a surrogate pair, and the length of the sequence.
fn unicode(escaped: &str) -> (char, usize) {
    let unit = |at: usize| u16::from_str_radix(escaped.get(at..at + 4)?, 16).ok();
    let is_pair = escaped.get(5..7) == Some("\\u");
    let units = [unit(1), unit(7).filter(|_| is_pair)];
    let mut decoded = char::decode_utf16(units.into_iter().flatten());
    match decoded.next() {
        Some(Ok(character)) => (
            character,
            1 + 4 * character.len_utf16() + 2 * (character.len_utf16() - 1),
        ),
        _ => (char::REPLACEMENT_CHARACTER, 5),
    }
}

impl PayloadValue {
    fn is_in(&self, json: &str) -> bool {
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
    fn a_text_is_found_however_its_characters_are_escaped() {
        for (json, text) in [
            (r#"{"a":"J\u00fcrgen"}"#, r#"{"a":"Jürgen"}"#),
            (r#"{"a":"\ud83d\ude00!"}"#, r#"{"a":"😀!"}"#),
            (r#"{"a":"\ud83dx\ude00"}"#, "{\"a\":\"\u{fffd}x\u{fffd}\"}"),
            (r#"{"a":"\ud83d\u0041"}"#, "{\"a\":\"\u{fffd}A\"}"),
            (
                r#"{"a":"say \"hi\" \\ \/ \n"}"#,
                "{\"a\":\"say \"hi\" \\ / \n\"}",
            ),
            (r#"{"a":"\\u00fc"}"#, r#"{"a":"\u00fc"}"#),
        ] {
            assert_eq!(unescaped(json), text, "{json}");
        }
        let filter = Filter {
            contains: Some("Jürgen \"G\"".to_owned()),
            ..Filter::default()
        };
        let matcher = filter.matcher().unwrap();
        let is_match = |payload| {
            matcher.is_match(Candidate {
                event_id: "1",
                timestamp: "2026-01-31T12:00:00Z",
                source: "s",
                payload,
            })
        };
        assert!(is_match(r#"{"name":"J\u00fcrgen \"G\""}"#));
        assert!(is_match(r#"{"name":"Jürgen \"G\""}"#));
        assert!(!is_match(r#"{"name":"J\u00fcrgen G"}"#));
    }

    #[test]
    fn a_text_is_found_in_upper_and_lower_case_on_request() {
        let is_match = |contains: &str, ignore_case, payload| {
            let contains = Some(contains.to_owned());
            let filter = Filter {
                contains,
                ignore_case,
                ..Filter::default()
            };
            filter.matcher().unwrap().is_match(Candidate {
                event_id: "1",
                timestamp: "2026-01-31T12:00:00Z",
                source: "s",
                payload,
            })
        };
        for payload in [r#"{"a":"JÜRGEN"}"#, r#"{"a":"J\u00dcrgen"}"#] {
            assert!(is_match("jürGen", true, payload), "{payload}");
            assert!(!is_match("jürGen", false, payload), "{payload}");
            assert!(!is_match("jurgen", true, payload), "{payload}");
        }
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

    #[test]
    fn text_is_found_as_written_in_the_json() {
        let filter = |contains: &str, source: Option<&str>| Filter {
            contains: Some(contains.to_owned()),
            source: source.map(str::to_owned),
            ..Filter::default()
        };
        let is_match = |filter: &Filter| {
            let matcher = filter.matcher().unwrap();
            matcher.is_match(Candidate {
                event_id: "1",
                timestamp: "2026-01-31T12:00:00Z",
                source: "s",
                payload: PAYLOAD,
            })
        };
        assert!(is_match(&filter("\"b\": 1.50", None)));
        assert!(is_match(&filter("\\u00e4", Some("s"))));
        assert!(!is_match(&filter("absent", None)));
        assert!(!is_match(&filter("big", Some("S"))));
        assert!(Filter::default().matcher().is_none());
    }

    #[test]
    fn timestamps_are_compared_as_instants_with_all_digits() {
        let time = |text: &str| Some(Timestamp::new(text).unwrap());
        let filter = Filter {
            time_since: time("2026-01-31T12:00:00.00000051Z"),
            time_until: time("2026-01-31T12:00:00.0000007Z"),
            ..Filter::default()
        };
        let matcher = filter.matcher().unwrap();
        let is_match = |timestamp: &str| {
            matcher.is_match(Candidate {
                event_id: "1",
                timestamp,
                source: "s",
                payload: PAYLOAD,
            })
        };
        assert!(is_match("2026-01-31T12:00:00.00000051Z"));
        assert!(is_match("2026-01-31T13:00:00.00000060+01:00"));
        // As earlier versions stored it.
        assert!(is_match("2026-01-31 12:00:00.0000006Z"));
        for outside in ["00.0000005Z", "00.0000007Z", "01Z"] {
            assert!(
                !is_match(&format!("2026-01-31T12:00:{outside}")),
                "{outside}"
            );
        }
    }
}
