//! The flags of the commands that read from an aggregator.

mod filter;

use std::io::{IsTerminal, stdout};

use clap::{Args, ValueEnum};
use reqwest::Url;

use self::filter::{Filter, event_id, filled, is_empty, time, topic};
use crate::{
    api::{Credentials, parse_address},
    command_line::number,
};

/// The flags of every such command.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Common {
    /// Address of the aggregator, such as 127.0.0.1:8080, :8080 or 8080
    #[arg(
        short,
        long,
        env = "AGGREGATOR_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        value_parser = parse_address
    )]
    pub url: Url,

    #[command(flatten)]
    pub credentials: Credentials,

    /// Output format: table for people, json for one compact document per line, pretty for indented JSON; by default
    /// table on a terminal and json elsewhere
    #[arg(short, long, value_name = "FORMAT", hide_possible_values = true)]
    output: Option<Format>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Each JSON document as the aggregator sent it, on one line.
    Json,
    /// Each JSON document indented, its strings and numbers unchanged.
    Pretty,
    /// Aligned columns.
    Table,
}

impl Common {
    /// The requested format, or the one that suits standard output.
    pub fn format(&self) -> Format {
        let default = if stdout().is_terminal() {
            Format::Table
        } else {
            Format::Json
        };
        self.output.unwrap_or(default)
    }
}

/// Which events `query` prints, and in which order.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Query {
    #[command(flatten)]
    pub(super) filter: Filter,

    /// Only events stored at or after this time: 1h for an hour ago (units: s, m, h, d), or RFC 3339, such as
    /// 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true, help_heading = "Filters")]
    since: Option<String>,

    /// Only events stored before this time
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true, help_heading = "Filters")]
    until: Option<String>,

    /// Only events whose own timestamp is this time or later
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true, help_heading = "Filters")]
    time_since: Option<String>,

    /// Only events whose own timestamp is before this time
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true, help_heading = "Filters")]
    time_until: Option<String>,

    /// Print at most this many events; by default all that match
    #[arg(short = 'n', long, value_name = "N", value_parser = number::<u64>(1..=u64::MAX),
          allow_negative_numbers = true)]
    limit: Option<u64>,

    /// Order by time of storing: desc for the newest first, asc for the oldest first
    #[arg(
        long,
        value_name = "ORDER",
        default_value = "desc",
        hide_possible_values = true
    )]
    order: Order,

    #[command(flatten)]
    pub(super) common: Common,
}

/// Which events `tail` prints.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Tail {
    #[command(flatten)]
    pub(super) filter: Filter,

    /// Exit after this many events
    #[arg(short = 'n', long, value_name = "N", value_parser = number::<u64>(1..=u64::MAX),
          allow_negative_numbers = true)]
    pub(super) limit: Option<u64>,

    #[command(flatten)]
    pub(super) common: Common,
}

/// How `stats` prints the counters.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Stats {
    #[command(flatten)]
    pub(super) common: Common,
}

/// Which topics `topics` prints, and in which order.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Topics {
    /// Only topics whose name contains this text
    #[arg(long, value_name = "TEXT", value_parser = filled)]
    contains: Option<String>,

    /// Value to sort by
    #[arg(long, value_name = "VALUE", default_value = "topic")]
    sort: Sort,

    /// Order: asc or desc; by default names ascend and all other values descend
    #[arg(long, value_name = "ORDER", hide_possible_values = true)]
    order: Option<Order>,

    /// Print at most this many topics; by default all if sorted by ascending name, and otherwise 1,000
    #[arg(short = 'n', long, value_name = "N", value_parser = number::<u64>(1..=u64::MAX),
          allow_negative_numbers = true)]
    pub(super) limit: Option<u64>,

    #[command(flatten)]
    pub(super) common: Common,
}

/// Which event `event` prints.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Event {
    /// Topic of the event
    #[arg(value_parser = topic, allow_hyphen_values = true)]
    pub(super) topic: String,

    /// Id of the event
    #[arg(value_name = "EVENT_ID", value_parser = event_id, allow_hyphen_values = true)]
    pub(super) id: String,

    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    Asc,
    Desc,
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Self::Asc => "asc",
            Self::Desc => "desc",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Sort {
    Topic,
    Received,
    UniqueProcessed,
    DuplicateDropped,
    DuplicateShare,
    FirstAt,
    LastAt,
}

impl Sort {
    fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Received => "received",
            Self::UniqueProcessed => "unique_processed",
            Self::DuplicateDropped => "duplicate_dropped",
            Self::DuplicateShare => "duplicate_share",
            Self::FirstAt => "first_at",
            Self::LastAt => "last_at",
        }
    }
}

impl Query {
    /// Checks what a single flag's parser cannot.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if is_empty(self.since.as_deref(), self.until.as_deref()) {
            return Err("the range is empty: --until must be later than --since");
        }
        if is_empty(self.time_since.as_deref(), self.time_until.as_deref()) {
            return Err("the range is empty: --time-until must be later than --time-since");
        }
        Ok(())
    }

    /// The query parameters of `GET /events`, by name.
    pub(super) fn parameters(&self) -> Vec<(String, String)> {
        let mut all = vec![("format".to_owned(), "ndjson".to_owned())];
        self.filter.add_parameters(&mut all);
        let limit = self.limit.map(|limit| limit.to_string());
        let order = Some(self.order.name().to_owned());
        for (name, value) in [
            ("since", &self.since),
            ("until", &self.until),
            ("time_since", &self.time_since),
            ("time_until", &self.time_until),
            ("order", &order),
            ("limit", &limit),
        ] {
            all.extend(value.clone().map(|value| (name.to_owned(), value)));
        }
        all
    }
}

impl Topics {
    /// The query parameters of `GET /topics`, other than those of the page.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![("sort", self.sort.name().to_owned())];
        let order = self.order.map(|order| order.name().to_owned());
        all.extend(order.map(|order| ("order", order)));
        all.extend(self.contains.clone().map(|text| ("contains", text)));
        all
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct QueryLine {
        #[command(flatten)]
        query: Query,
    }

    #[derive(Parser)]
    struct TopicsLine {
        #[command(flatten)]
        topics: Topics,
    }

    fn query(arguments: &[&str]) -> Result<Query, String> {
        let all = ["query"].iter().chain(arguments);
        let line = QueryLine::try_parse_from(all).map_err(|err| err.to_string());
        line.map(|line| line.query)
    }

    fn parameters(arguments: &[&str]) -> String {
        let all = query(arguments).unwrap().parameters();
        let text = |(name, value)| format!("{name}={value}");
        let all: Vec<_> = all.into_iter().map(text).collect();
        all.join(" ")
    }

    #[test]
    fn without_flags_all_events_are_requested_newest_first() {
        assert_eq!(parameters(&[]), "format=ndjson order=desc");
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
            let refused = query(&["--since", wrong]).unwrap_err();
            assert!(refused.contains("as in 30s, 15m, 2h or 7d"), "{refused}");
        }
    }

    #[test]
    fn a_range_must_end_after_its_beginning() {
        for arguments in [
            ["--since", "1h", "--until", "2h"],
            ["--time-since", "1h", "--time-until", "1h"],
        ] {
            let refused = query(&arguments).unwrap().check().unwrap_err();
            let expected = format!("{} must be later than {}", arguments[2], arguments[0]);
            assert!(refused.contains(&expected), "{refused}");
        }
        let query = query(&["--since", "2h", "--until", "1h", "--time-until", "3h"]).unwrap();
        assert_eq!(query.check(), Ok(()));
    }

    #[test]
    fn common_flags_have_short_names() {
        assert_eq!(
            parameters(&["-t", "a,b", "-t", "c", "-n", "2k"]),
            "format=ndjson topic=a,b topic=c order=desc limit=2000"
        );
        let query = query(&["-u", "8080", "-o", "pretty"]).unwrap();
        assert_eq!(query.common.url.as_str(), "http://127.0.0.1:8080/");
        assert_eq!(query.common.format(), Format::Pretty);
    }

    #[test]
    fn a_format_that_does_not_exist_is_answered_with_those_that_do() {
        let refused = query(&["-o", "yaml"]).unwrap_err();
        assert!(refused.contains("json, pretty, table"), "{refused}");
    }

    #[test]
    fn topics_are_sorted_by_any_value_of_the_api() {
        for value in Sort::value_variants() {
            let arguments = ["topics", "--sort", value.name(), "--contains", "x"];
            let line = TopicsLine::try_parse_from(arguments).unwrap();
            let expected = [
                ("sort", value.name().to_owned()),
                ("contains", "x".to_owned()),
            ];
            assert_eq!(line.topics.parameters(), expected);
        }
    }
}
