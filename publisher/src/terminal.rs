//! The commands for people at a terminal, who read what the aggregator has: one JSON object a line on standard output,
//! and nothing else there, so that other programs can read on.

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

/// Prints what is asked for, until its end or until it is stopped.
///
/// # Errors
/// Why it is not whole, in one sentence or with a line for each thing that is wrong.
pub async fn run(reading: &Reading, stop: &CancellationToken) -> anyhow::Result<ExitCode> {
    let api = Api::new(reading.url()).context("cannot use HTTP")?;
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
        () = nobody_reads() => return Ok(ExitCode::SUCCESS),
        () = stop.cancelled() => match reading {
            // It has no other end.
            Reading::Tail(_) => return Ok(ExitCode::SUCCESS),
            _ => bail!("stopped early: the output is not whole"),
        },
    };
    match ended {
        Err(err) if matches!(err.downcast_ref(), Some(OutputError::NobodyReads)) => {}
        ended => ended?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn stats(api: &Api, output: &mut Output<impl AsyncWrite + Unpin>) -> anyhow::Result<()> {
    let url = api.url::<&str>("stats", &[]);
    let body = api.read(url.clone()).await?;
    let stats: &RawValue = serde_json::from_slice(&body)
        .map_err(|err| ApiError::foreign(&url, format!("something else than expected ({err})")))?;
    output.line(stats.get()).await?;
    Ok(output.flush().await?)
}

/// The next part of an answer. What was written before is shown, unless the next part is there already.
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

/// Waits until the pipe that standard output leads to has lost its reader, as after `| head`. Without that, it would
/// show with the next write only, and on a quiet topic that may never come.
async fn nobody_reads() {
    let watched = io::stdout().as_fd().try_clone_to_owned();
    // Unchecked, for it is only watched: a check would make it non-blocking, for all who share it. What cannot be
    // watched, such as a file, has no reader to lose.
    if let Ok(pipe) = watched.and_then(Sender::from_owned_fd_unchecked)
        && pipe.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    pending::<()>().await;
}
