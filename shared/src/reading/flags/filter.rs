//! The filters of events that `query` and `tail` have in common, and the values of flags.

use clap::Args;

use crate::event::{EventId, Instant, Source, Timestamp, Topic};

/// Which events are printed. A filter that is not given matches every event.
#[derive(Debug, Default, Args)]
#[group(skip)]
pub struct Filter {
    /// Only events of this topic; repeat for any of several
    #[arg(short, long = "topic", value_name = "TOPIC", value_parser = topic, help_heading = "Filters")]
    pub topics: Vec<String>,

    /// Only events with this id, in all topics or those given
    #[arg(long, value_name = "ID", value_parser = event_id, help_heading = "Filters")]
    event_id: Option<String>,

    /// Only events from this source
    #[arg(long, value_name = "SOURCE", value_parser = source, help_heading = "Filters")]
    source: Option<String>,

    /// Only events whose payload contains this text
    #[arg(long, value_name = "TEXT", value_parser = filled, help_heading = "Filters")]
    contains: Option<String>,

    /// Find the text of --contains in upper and lower case
    #[arg(short, long, requires = "contains", help_heading = "Filters")]
    ignore_case: bool,

    /// Only events whose payload has this value at this path, such as user.name=ann; repeat to require all
    #[arg(long = "payload", value_name = "PATH=VALUE", value_parser = field, help_heading = "Filters")]
    payload: Vec<(String, String)>,
}

impl Filter {
    /// Adds the query parameters, by name.
    pub fn add_parameters(&self, to: &mut Vec<(String, String)>) {
        for topic in &self.topics {
            to.push(("topic".to_owned(), topic.clone()));
        }
        for (name, value) in [
            ("event_id", &self.event_id),
            ("source", &self.source),
            ("contains", &self.contains),
        ] {
            to.extend(value.clone().map(|value| (name.to_owned(), value)));
        }
        if self.ignore_case {
            to.push(("ignore_case".to_owned(), "true".to_owned()));
        }
        for (path, value) in &self.payload {
            to.push((format!("payload.{path}"), value.clone()));
        }
    }

    /// Whether it tests more than the topic.
    pub fn has_conditions(&self) -> bool {
        let Self {
            topics: _,
            event_id,
            source,
            contains,
            ignore_case: _,
            payload,
        } = self;
        event_id.is_some() || source.is_some() || contains.is_some() || !payload.is_empty()
    }
}

pub(super) fn topic(text: &str) -> Result<String, String> {
    let checked = Topic::new(text).map_err(|(_, message)| message)?;
    Ok(checked.to_string())
}

pub(super) fn event_id(text: &str) -> Result<String, String> {
    let checked = EventId::new(text).map_err(|(_, message)| message)?;
    Ok(checked.to_string())
}

fn source(text: &str) -> Result<String, String> {
    let checked = Source::new(text).map_err(|(_, message)| message)?;
    Ok(checked.to_string())
}

/// A text that must not be empty.
pub(super) fn filled(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        return Err("must not be empty");
    }
    Ok(text.to_owned())
}

/// A time, or how long ago it is, with or without a minus.
pub(super) fn time(text: &str) -> Result<String, String> {
    let ago = text.strip_prefix('-').unwrap_or(text);
    let number = ago.strip_suffix(['s', 'm', 'h', 'd']).unwrap_or_default();
    if (1..=9).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(format!("-{ago}"));
    }
    let checked = Timestamp::new(text)
        .map_err(|(_, message)| format!("{message}, or how long ago, as in 30s, 15m, 2h or 7d"))?;
    Ok(checked.as_str().to_owned())
}

/// Whether a range of parsed times is empty because it does not end after its beginning. A time and a duration before now
/// are not compared: only the aggregator knows its now.
pub(super) fn is_empty(since: Option<&str>, until: Option<&str>) -> bool {
    let (Some(since), Some(until)) = (since, until) else {
        return false;
    };
    match (seconds_ago(since), seconds_ago(until)) {
        (Some(since), Some(until)) => since <= until,
        (None, None) => match (Instant::parse(since), Instant::parse(until)) {
            (Ok(since), Ok(until)) => since >= until,
            _ => false,
        },
        _ => false,
    }
}

/// The seconds of a duration before now, such as `-15m`.
fn seconds_ago(time: &str) -> Option<u64> {
    let ago = time.strip_prefix('-')?;
    let (number, unit) = ago.split_at_checked(ago.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    Some(number.parse::<u64>().ok()? * unit)
}

/// The path ends at the first equals sign; the value may contain more of them, or be empty.
fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) if !path.is_empty() => Ok((path.to_owned(), value.to_owned())),
        _ => Err("must be PATH=VALUE, such as user.name=ann".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_value_may_contain_equals_signs_or_be_empty() {
        let pair = |path: &str, value: &str| Ok((path.to_owned(), value.to_owned()));
        assert_eq!(field("a.b=1=2"), pair("a.b", "1=2"));
        assert_eq!(field("c="), pair("c", ""));
        for wrong in ["", "a.b", "=1"] {
            assert!(field(wrong).unwrap_err().contains("PATH=VALUE"), "{wrong}");
        }
    }

    #[test]
    fn a_range_that_does_not_end_after_its_beginning_is_empty() {
        for (since, until, expected) in [
            ("1h", "2h", true),
            ("60m", "1h", true),
            ("2h", "1h", false),
            ("1d", "23h", false),
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z", true),
            ("2026-01-31T12:00:00Z", "2026-01-31T13:00:00+02:00", true),
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.1Z", false),
            ("1h", "2026-01-31T12:00:00Z", false),
        ] {
            let [from, to] = [since, until].map(|text| time(text).unwrap());
            assert_eq!(
                is_empty(Some(&from), Some(&to)),
                expected,
                "{since} {until}"
            );
        }
        assert!(!is_empty(Some("-1h"), None));
        assert!(!is_empty(None, Some("-1h")));
    }

    #[test]
    fn every_condition_is_a_parameter() {
        let mut all = Vec::new();
        let filter = Filter {
            topics: vec!["a".to_owned(), "b".to_owned()],
            event_id: Some("7".to_owned()),
            source: Some("s".to_owned()),
            contains: Some("x".to_owned()),
            ignore_case: true,
            payload: vec![("n".to_owned(), "1.50".to_owned())],
        };
        filter.add_parameters(&mut all);
        let text: Vec<_> = all
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            text.join(" "),
            "topic=a topic=b event_id=7 source=s contains=x ignore_case=true payload.n=1.50"
        );
        assert!(filter.has_conditions());
        assert!(!Filter::default().has_conditions());
    }
}
