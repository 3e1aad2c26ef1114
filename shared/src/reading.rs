//! The commands that print what the aggregator has: one JSON object per line on standard output and nothing else, so that
//! other programs can process it.

mod output;
mod query;
mod tail;

use std::{future::pending, io, os::fd::AsFd, process::ExitCode};

use anyhow::{Context, bail};
use futures::{FutureExt, Stream, StreamExt};
use serde_json::value::RawValue;
use tokio::{
    io::{AsyncWrite, Interest},
    net::unix::pipe::Sender,
};
use tokio_util::sync::CancellationToken;

use self::output::{Output, OutputError};
use crate::{
    api::{Api, ApiError},
    config::Reading,
};

/// Prints what was requested, until its end or until stopped.
///
/// # Errors
/// Why the output is incomplete, as one sentence or with one line for each invalid parameter.
pub async fn run(reading: &Reading, stop: &CancellationToken) -> anyhow::Result<ExitCode> {
    let api = Api::new(reading.url()).context("cannot set up the HTTP client")?;
    let mut output = Output::new(tokio::io::stdout());
    let printing = async {
        match reading {
            Reading::Stats(_) => stats(&api, &mut output).await,
            Reading::Query(query) => query::query(&api, query, &mut output).await,
            Reading::Tail(tail) => tail::tail(&api, tail.topic.as_deref(), &mut output).await,
        }
    };
    let ended = tokio::select! {
        biased;
        ended = printing => ended,
        () = reader_closed() => return Ok(ExitCode::SUCCESS),
        () = stop.cancelled() => match reading {
            // A tail has no other end.
            Reading::Tail(_) => return Ok(ExitCode::SUCCESS),
            _ => bail!("stopped early: the output is incomplete"),
        },
    };
    match ended {
        Err(err) if matches!(err.downcast_ref(), Some(OutputError::ReaderClosed)) => {}
        ended => ended?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn stats(api: &Api, output: &mut Output<impl AsyncWrite + Unpin>) -> anyhow::Result<()> {
    let url = api.url::<&str>("stats", &[]);
    let body = api.read(url.clone()).await?;
    let stats: &RawValue = serde_json::from_slice(&body)
        .map_err(|err| ApiError::not_an_aggregator(&url, format!("an unexpected body ({err})")))?;
    output.line(stats.get()).await?;
    Ok(output.flush().await?)
}

/// The next part of an answer. The output is flushed before waiting for it.
async fn next<S: Stream + Unpin>(
    parts: &mut S,
    output: &mut Output<impl AsyncWrite + Unpin>,
) -> Result<Option<S::Item>, OutputError> {
    if let Some(next) = parts.next().now_or_never() {
        return Ok(next);
    }
    output.flush().await?;
    Ok(parts.next().await)
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
