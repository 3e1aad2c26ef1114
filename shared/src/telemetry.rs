//! Logs: one line an occurrence on standard error, as text or JSON. And the export of spans.

mod export;

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt};

pub use self::export::{Export, ExportError, parse_endpoint};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// Checks a filter as settings give it: `info`, or `warn,aggregator=debug`.
///
/// # Errors
/// A sentence for people where it is no filter.
pub fn parse_filter(text: &str) -> Result<String, String> {
    EnvFilter::builder()
        .parse(text)
        .map(|_| text.to_owned())
        .map_err(|err| format!("no log filter ({err}); one is info, or warn,aggregator=debug"))
}

/// Installs the process's log. Call it once, first.
///
/// # Panics
/// Where the filter was not checked by [`parse_filter`], or a log is installed already.
pub fn init(filter: &str, format: Format) {
    // What the NATS client says of the link is said by `connection` in the words of this project, and what the LSM
    // tree says of its files by the store.
    let filter = EnvFilter::builder()
        .parse(format!("async_nats=warn,lsm_tree=off,{filter}"))
        .expect("the filter was checked where settings were read");
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        Format::Json => log.json().flatten_event(true).with_span_list(false).init(),
    }
}

/// The message of a command line error without its usage hints, on one line.
#[must_use]
pub fn one_line(message: &str) -> String {
    let mut lines = message.lines().map(str::trim);
    let first = lines.by_ref().take_while(|line| !line.is_empty());
    first.collect::<Vec<_>>().join(" ")
}
