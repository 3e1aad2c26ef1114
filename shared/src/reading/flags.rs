//! The flags of the commands that read from the aggregator: stats, query and tail.

use clap::{Args, ValueEnum};
use reqwest::Url;
use shared::{
    command_line::number,
    event::{EventId, Source, Timestamp, Topic},
};

/// The aggregator's address.
#[derive(Args)]
#[group(skip)]
pub struct Address {
    /// Address of the aggregator
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = parse_http_url)]
    pub url: Url,
}

/// Which events `query` prints. A filter that is not given matches every event.
#[derive(Args)]
#[group(skip)]
pub struct Query {
    #[command(flatten)]
    pub address: Address,

    /// Only events of this topic; repeat for any of several
    #[arg(long = "topic", value_name = "TOPIC", value_parser = topic)]
    topics: Vec<String>,

    /// Only events with this id, in all topics or those given
    #[arg(long, value_name = "ID", value_parser = event_id)]
    event_id: Option<String>,

    /// Only events from this source
    #[arg(long, value_name = "SOURCE", value_parser = source)]
    source: Option<String>,

    /// Only events stored at or after this time, such as 2026-01-31T12:00:00Z, or 1h for an hour ago (units: s, m, h, d)
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    since: Option<String>,

    /// Only events stored before this time, such as 2026-01-31T13:00:00+01:00 or 5m
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    until: Option<String>,

    /// Only events whose own timestamp is this time or later
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    time_since: Option<String>,

    /// Only events whose own timestamp is before this time
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    time_until: Option<String>,

    /// Sort order: desc is newest first, asc is oldest first
    #[arg(long, value_name = "ORDER", default_value = "desc")]
    order: Order,

    /// Only events whose payload contains this text
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,

    /// Only events whose payload has this value at this path, such as user.name=ann; repeat to require all
    #[arg(long = "payload", value_name = "PATH=VALUE", value_parser = field)]
    payload: Vec<(String, String)>,

    /// Print at most this many events; by default, all that match
    #[arg(long, value_name = "N", value_parser = number::<u64>(1..=u64::MAX),
          allow_negative_numbers = true)]
    limit: Option<u64>,
}

/// Which events `tail` prints.
#[derive(Args)]
#[group(skip)]
pub struct Tail {
    #[command(flatten)]
    pub address: Address,

    /// Only events of this topic
    #[arg(long, value_name = "TOPIC", value_parser = topic)]
    pub topic: Option<String>,
}

/// Parses the aggregator's address, for every command that uses it. The scheme may be left out, and so may this host:
/// `localhost:8080`, `:8080` and `8080` are accepted.
pub fn parse_http_url(text: &str) -> Result<Url, String> {
    const EXAMPLE: &str = "such as http://127.0.0.1:8080";
    let port = text.strip_prefix(':').unwrap_or(text);
    let whole = if text.contains("://") {
        text.to_owned()
    } else if port.parse::<u16>().is_ok() {
        format!("http://127.0.0.1:{port}")
    } else {
        format!("http://{text}")
    };
    let url = Url::parse(&whole).map_err(|err| format!("{err}; must be an address, {EXAMPLE}"))?;
    match url.scheme() {
        "http" => Ok(url),
        "https" => Err(format!(
            "the aggregator does not speak TLS; use an http:// address, {EXAMPLE}"
        )),
        _ => Err(format!("must be an http:// address, {EXAMPLE}")),
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Order {
    Asc,
    Desc,
}

impl Query {
    /// The query parameters, by name.
    pub fn parameters(&self) -> Vec<(String, String)> {
        let order = match self.order {
            Order::Asc => "asc",
            Order::Desc => "desc",
        };
        let mut all = vec![("format".to_owned(), "ndjson".to_owned())];
        let mut add = |name: &str, value: &str| all.push((name.to_owned(), value.to_owned()));
        for topic in &self.topics {
            add("topic", topic);
        }
        for (name, value) in [
            ("event_id", &self.event_id),
            ("source", &self.source),
            ("since", &self.since),
            ("until", &self.until),
            ("time_since", &self.time_since),
            ("time_until", &self.time_until),
            ("contains", &self.contains),
        ] {
            if let Some(value) = value {
                add(name, value);
            }
        }
        add("order", order);
        for (path, value) in &self.payload {
            add(&format!("payload.{path}"), value);
        }
        if let Some(limit) = self.limit {
            add("limit", &limit.to_string());
        }
        all
    }
}

fn topic(text: &str) -> Result<String, String> {
    let checked = Topic::new(text).map_err(|(_, message)| message)?;
    Ok(checked.to_string())
}

fn event_id(text: &str) -> Result<String, String> {
    let checked = EventId::new(text).map_err(|(_, message)| message)?;
    Ok(checked.to_string())
}

fn source(text: &str) -> Result<String, String> {
    let checked = Source::new(text).map_err(|(_, message)| message)?;
    Ok(checked.to_string())
}

/// A time, or how long ago it is, with or without a minus.
fn time(text: &str) -> Result<String, String> {
    let ago = text.strip_prefix('-').unwrap_or(text);
    let number = ago.strip_suffix(['s', 'm', 'h', 'd']).unwrap_or_default();
    if (1..=9).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(format!("-{ago}"));
    }
    let checked = Timestamp::new(text)
        .map_err(|(_, message)| format!("{message}, or how long ago, as in 30s, 15m, 2h or 7d"))?;
    Ok(checked.as_str().to_owned())
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
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        query: Query,
    }

    fn parameters(arguments: &[&str]) -> String {
        let all = ["query"].iter().chain(arguments);
        let query = Line::try_parse_from(all).unwrap().query;
        let text = |(name, value)| format!("{name}={value}");
        let all: Vec<_> = query.parameters().into_iter().map(text).collect();
        all.join(" ")
    }

    #[test]
    fn without_flags_all_events_are_requested_newest_first() {
        assert_eq!(parameters(&[]), "format=ndjson order=desc");
    }

    #[test]
    fn an_address_needs_neither_a_scheme_nor_this_host() {
        for (text, expected) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("localhost:8080", "http://localhost:8080/"),
            ("aggregator", "http://aggregator/"),
            ("logs.example/below", "http://logs.example/below"),
            ("[::1]:8080", "http://[::1]:8080/"),
            ("8080", "http://127.0.0.1:8080/"),
            (":8080", "http://127.0.0.1:8080/"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
        ] {
            let url = parse_http_url(text).map(|url| url.to_string());
            assert_eq!(url.as_deref(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "a b",
            "http://",
            "127.0.0.1:99999",
            "https://127.0.0.1:8080",
            "nats://127.0.0.1:4222",
        ] {
            let refused = parse_http_url(text).unwrap_err();
            assert!(
                refused.contains("http://127.0.0.1:8080"),
                "{text}: {refused}"
            );
            assert!(!refused.contains("relative URL"), "{text}: {refused}");
        }
    }

    #[test]
    fn a_time_may_be_how_long_ago_it_is() {
        assert_eq!(
            parameters(&[
                "--since",
                "1h",
                "--until",
                "-5m",
                "--time-since",
                "2d",
                "--time-until=-0s"
            ]),
            "format=ndjson since=-1h until=-5m time_since=-2d time_until=-0s order=desc"
        );
        for wrong in ["1w", "h", "-", "1.5h", "yesterday", "1000000000s"] {
            let refused = Line::try_parse_from(["query", "--since", wrong]).map(drop);
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("as in 30s, 15m, 2h or 7d"), "{refused}");
        }
    }

    #[test]
    fn a_payload_value_may_contain_equals_signs_or_be_empty() {
        assert_eq!(
            parameters(&["--payload", "a.b=1=2", "--payload", "c="]),
            "format=ndjson order=desc payload.a.b=1=2 payload.c="
        );
    }
}
