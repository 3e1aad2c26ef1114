//! Logs: one line an occurrence on standard error, as text or JSON. And the export of spans.

mod export;

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt};

pub use self::export::{Export, ExportError, check_endpoint};

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
        Format::Text => log.with_ansi(shows_colours(&std::io::stderr())).init(),
        Format::Json => log.json().flatten_event(true).with_span_list(false).init(),
    }
}

/// Whether a stream takes colours: a terminal does, unless its person has set `NO_COLOR` (<https://no-color.org>) or
/// says that it can do nothing.
#[must_use]
pub fn shows_colours(stream: &impl IsTerminal) -> bool {
    let refuses = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    stream.is_terminal() && !refuses && !is_dumb
}

/// The message of a command line error without its usage hints, on one line.
#[must_use]
pub fn one_line(message: &str) -> String {
    let mut lines = message.lines().map(str::trim);
    let first = lines.by_ref().take_while(|line| !line.is_empty());
    first.collect::<Vec<_>>().join(" ")
}
