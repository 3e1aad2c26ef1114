//! The commands that read from an aggregator: `query`, `tail`, `stats`, `topics` and `event`. Results are on standard
//! output and nothing else is, so that other programs can process them.
//!
//! They are here because both programs have them: they belong to `aggregator`, and `publisher` keeps those that it had.

mod columns;
mod event;
mod events;
mod flags;
mod help;
mod json;
mod lines;
mod output;
mod query;
mod stats;
mod tail;
mod topics;

use std::{future::pending, io, os::fd::AsFd, process::ExitCode};

use anyhow::{Context, bail};
use clap::Subcommand;
use futures::{FutureExt, Stream, StreamExt};
use tokio::{
    io::{AsyncWrite, Interest},
    net::unix::pipe::Sender,
};

use self::{
    events::Events,
    flags::Common,
    output::{Output, OutputError},
};
pub use self::{
    flags::{Event, Format, Query, Stats, Tail, Topics},
    help::{QUERY, STATS, TAIL},
};
use crate::{
    api::{Api, ApiError},
    service::Signals,
};

/// What to print.
#[derive(Debug, Subcommand)]
pub enum Reading {
    /// Print stored events that match, newest first
    #[command(after_help = help::QUERY)]
    Query(Query),
    /// Print events as they are stored, from now on until Ctrl-C
    #[command(after_help = help::TAIL)]
    Tail(Tail),
    /// Print one event by its topic and id, with its number of duplicates
    #[command(after_help = help::EVENT)]
    Event(Event),
    /// Print topics with their counts
    #[command(after_help = help::TOPICS)]
    Topics(Topics),
    /// Print the counters, and whether their sum is exact
    #[command(after_help = help::STATS)]
    Stats(Stats),
}

impl Reading {
    /// The command's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Query(_) => "query",
            Self::Tail(_) => "tail",
            Self::Event(_) => "event",
            Self::Topics(_) => "topics",
            Self::Stats(_) => "stats",
        }
    }

    /// Checks what a single flag's parser cannot.
    ///
    /// # Errors
    /// One line that names the flags.
    pub fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Query(query) => query.check(),
            Self::Tail(_) | Self::Event(_) | Self::Topics(_) | Self::Stats(_) => Ok(()),
        }
    }

    fn common(&self) -> &Common {
        let (Self::Query(Query { common, .. })
        | Self::Tail(Tail { common, .. })
        | Self::Event(Event { common, .. })
        | Self::Topics(Topics { common, .. })
        | Self::Stats(Stats { common })) = self;
        common
    }
}

/// Prints what was requested, until its end or a signal.
///
/// # Errors
/// Why the output is incomplete, as one sentence or with one line for each invalid parameter.
pub async fn run(reading: &Reading) -> anyhow::Result<ExitCode> {
    let common = reading.common();
    let target = common.credentials.target(&common.url);
    let target = target.map_err(anyhow::Error::msg)?;
    let api = Api::new(&target).context("cannot set up the HTTP client")?;
    let mut signals = Signals::new().context("cannot handle signals")?;
    let mut output = Output::new(tokio::io::stdout());
    let format = common.format();
    let printing = async {
        match reading {
            Reading::Query(query) => query::query(&api, query, format, &mut output).await,
            Reading::Tail(tail) => tail::tail(&api, tail, format, &mut output).await,
            Reading::Event(event) => event::event(&api, event, format, &mut output).await,
            Reading::Topics(topics) => topics::topics(&api, topics, format, &mut output).await,
            Reading::Stats(_) => stats::stats(&api, format, &mut output).await,
        }
    };
    let ended = tokio::select! {
        biased;
        ended = printing => ended,
        () = reader_closed() => return Ok(ExitCode::SUCCESS),
        _ = signals.next() => match reading {
            // Otherwise a tail would never end.
            Reading::Tail(_) => return Ok(ExitCode::SUCCESS),
            _ => bail!("stopped early: the output is incomplete"),
        },
    };
    match ended {
        Err(err) if matches!(err.downcast_ref(), Some(OutputError::ReaderClosed)) => {}
        Err(err) if matches!(err.downcast_ref(), Some(ApiError::Unreachable { .. })) => {
            bail!(
                "{err}; is the aggregator running there? --url or AGGREGATOR_URL sets its address"
            );
        }
        ended => ended?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The next part of an answer. The events that have arrived are printed before waiting for it.
async fn next<S: Stream + Unpin>(
    parts: &mut S,
    events: &mut Events,
    output: &mut Output<impl AsyncWrite + Unpin>,
) -> Result<Option<S::Item>, OutputError> {
    if let Some(next) = parts.next().now_or_never() {
        output.write().await?;
        return Ok(next);
    }
    events.flush(output.text());
    output.flush().await?;
    Ok(parts.next().await)
}

/// The width in columns of the terminal that standard output is connected to; `None` if it is not a terminal.
fn terminal_columns() -> Option<usize> {
    let (_, columns) = console::Term::stdout().size_checked()?;
    Some(usize::from(columns))
}

/// Writes JSON from the aggregator as one document.
async fn document(
    json: &str,
    format: Format,
    output: &mut Output<impl AsyncWrite + Unpin>,
) -> Result<(), OutputError> {
    json::document(json, format, output.text());
    output.flush().await
}

/// Waits until the reader of standard output has closed the pipe, as after `| head`. Otherwise only the next write would
/// reveal it, and on a quiet topic there may never be one.
async fn reader_closed() {
    let watched = io::stdout().as_fd().try_clone_to_owned();
    // Unchecked, because the pipe is only watched: the checked constructor would make it non-blocking for every process
    // that shares it. An output that cannot be watched, such as a file, has no reader that could go away.
    if let Ok(pipe) = watched.and_then(Sender::from_owned_fd_unchecked)
        && pipe.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    pending::<()>().await;
}
