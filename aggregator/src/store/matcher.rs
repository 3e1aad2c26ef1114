//! Filters with no index: each candidate row is read and tested.

mod escapes;
mod payload;

use memchr::memmem::Finder;
use shared::event::{Instant, Timestamp};

use self::escapes::unescaped;
use crate::store::query::Filter;

/// A [`Filter`] prepared for matching.
pub(in crate::store) struct Matcher<'a> {
    filter: &'a Filter,
    contains: Option<Finder<'a>>,
    time_since: Option<Instant<'a>>,
    time_until: Option<Instant<'a>>,
}

/// The content of an event that may match.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Candidate<'a> {
    pub event_id: &'a str,
    pub timestamp: &'a str,
    pub source: &'a str,
    pub payload: &'a str,
}

impl Filter {
    /// The matcher of this filter; `None` if every event matches.
    pub(in crate::store) fn matcher(&self) -> Option<Matcher<'_>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &str = r#"{ "a": {"b": 1.50}, "deep": {"text": "\u00e4"} }"#;

    fn event(payload: &str) -> Candidate<'_> {
        Candidate {
            event_id: "1",
            timestamp: "2026-01-31T12:00:00Z",
            source: "s",
            payload,
        }
    }

    #[test]
    fn a_text_is_found_however_its_characters_are_escaped() {
        let filter = Filter {
            contains: Some("Jürgen \"G\"".to_owned()),
            ..Filter::default()
        };
        let matcher = filter.matcher().unwrap();
        let is_match = |payload| matcher.is_match(event(payload));
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
            filter.matcher().unwrap().is_match(event(payload))
        };
        for payload in [r#"{"a":"JÜRGEN"}"#, r#"{"a":"J\u00dcrgen"}"#] {
            assert!(is_match("jürGen", true, payload), "{payload}");
            assert!(!is_match("jürGen", false, payload), "{payload}");
            assert!(!is_match("jurgen", true, payload), "{payload}");
        }
    }

    #[test]
    fn text_is_found_as_written_in_the_json() {
        let filter = |contains: &str, source: Option<&str>| Filter {
            contains: Some(contains.to_owned()),
            source: source.map(str::to_owned),
            ..Filter::default()
        };
        let is_match = |filter: &Filter| filter.matcher().unwrap().is_match(event(PAYLOAD));
        assert!(is_match(&filter("\"b\": 1.50", None)));
        assert!(is_match(&filter("\\u00e4", Some("s"))));
        assert!(!is_match(&filter("absent", None)));
        assert!(!is_match(&filter("deep", Some("S"))));
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
                timestamp,
                ..event(PAYLOAD)
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
