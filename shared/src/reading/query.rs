//! `query`: prints matching stored events as they arrive.

use std::pin::pin;

use anyhow::bail;
use tokio::io::AsyncWrite;

use super::{Format, Query, events::Events, lines::Lines, next, output::Output};
use crate::{
    api::{self, Api, describe},
    command_line::say,
};

/// Prints the matching events in bounded memory. The aggregator sends all of them in one answer, across its own limits for
/// pages and searches.
///
/// # Errors
/// If there is no answer, or it ends early.
pub async fn query(
    api: &Api,
    query: &Query,
    format: Format,
    output: &mut Output<impl AsyncWrite + Unpin>,
) -> anyhow::Result<()> {
    let parameters = query.parameters();
    let parameters: Vec<_> = parameters
        .iter()
        .map(|(name, value)| (name, value.as_str()))
        .collect();
    let answer = api::answer(api.get(api.url("events", &parameters))).await?;
    api::expect_media_type(&answer, "ndjson")?;
    let mut parts = pin!(answer.bytes_stream());
    let (mut lines, mut events) = (Lines::default(), Events::new(format));
    loop {
        match next(&mut parts, &mut events, output).await? {
            Some(Ok(part)) => {
                lines.part(&part, |line| match line {
                    // An empty line is sent when nothing has matched for ten seconds.
                    "" => say("still searching: no match within the last 10 s"),
                    event => events.add(event, output.text()),
                })?;
            }
            Some(Err(err)) => {
                events.flush(output.text());
                output.flush().await?;
                bail!(
                    "the answer ended early ({}): the output is incomplete",
                    describe(&err)
                );
            }
            None => break,
        }
    }
    lines.end(|event| events.add(event, output.text()));
    events.flush(output.text());
    output.flush().await?;
    if events.count == 0 && format == Format::Table {
        say(nothing(&query.filter.topics));
    }
    Ok(())
}

/// The message if nothing matches.
fn nothing(topics: &[String]) -> &'static str {
    match topics {
        [topic] if topic.contains(',') => {
            "no events match; a comma is part of a topic's name: for several topics, repeat --topic"
        }
        _ => "no events match",
    }
}
