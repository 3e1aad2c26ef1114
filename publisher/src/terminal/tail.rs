//! `tail`: events as they are stored, from now on, over every connection that it takes.

use std::{pin::pin, time::Duration};

use eventsource_stream::{Event, EventStreamError, Eventsource};
use reqwest::{
    Response,
    header::{ACCEPT, CACHE_CONTROL, HeaderValue},
};
use serde::Deserialize;
use tokio::{
    io::AsyncWrite,
    time::{Instant, sleep},
};

use super::{
    next,
    output::{Output, OutputError},
};
use crate::{
    api::{self, Api, ApiError, describe},
    progress::say,
};

/// Shortest and longest pause before it connects again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What `missed` says.
#[derive(Deserialize)]
struct Missed {
    missed: u64,
}

/// Prints them until an error that does not pass. The first connection must come about: before it, a wrong address
/// looks like an aggregator that is away.
///
/// # Errors
/// Where the aggregator refuses, or nothing can be printed.
pub async fn tail(
    api: &Api,
    topic: Option<&str>,
    output: &mut Output<impl AsyncWrite + Unpin>,
) -> anyhow::Result<()> {
    let mut place = Place {
        api,
        topic,
        last_id: None,
    };
    let mut answer = place.open().await?;
    let mut pause = PAUSE.0;
    loop {
        let opened = Instant::now();
        let (seen, reason) = (place.last_id.clone(), place.follow(answer, output).await?);
        output.flush().await?;
        say(format_args!(
            "lost the connection ({reason}); connecting again"
        ));
        // One that gave nothing and broke soon is as good as none.
        if place.last_id != seen || opened.elapsed() > PAUSE.1 {
            pause = PAUSE.0;
        }
        answer = loop {
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(PAUSE.1);
            match place.open().await {
                Ok(answer) => break answer,
                Err(err) if err.is_passing() => {}
                Err(err) => return Err(err.into()),
            }
        };
        say("connected again");
    }
}

/// Where it is in the events of a topic, or of all.
struct Place<'a> {
    api: &'a Api,
    topic: Option<&'a str>,
    /// The id of the last event that was printed, from which the aggregator goes on.
    last_id: Option<HeaderValue>,
}

impl Place<'_> {
    async fn open(&self) -> Result<Response, ApiError> {
        let query: Vec<_> = self.topic.iter().map(|topic| ("topic", *topic)).collect();
        let mut question = self
            .api
            .get(self.api.url("events/tail", &query))
            .header(ACCEPT, "text/event-stream")
            .header(CACHE_CONTROL, "no-store");
        if let Some(id) = &self.last_id {
            question = question.header("Last-Event-ID", id);
        }
        let answer = api::answer(question).await?;
        api::expect_kind(&answer, "event-stream")?;
        Ok(answer)
    }

    /// Prints what comes over a connection, until it is lost. Returns why.
    async fn follow(
        &mut self,
        answer: Response,
        output: &mut Output<impl AsyncWrite + Unpin>,
    ) -> Result<String, OutputError> {
        let mut events = pin!(answer.bytes_stream().eventsource());
        loop {
            match next(&mut events, output).await? {
                Some(Ok(event)) => self.take(event, output).await?,
                Some(Err(EventStreamError::Transport(err))) => return Ok(describe(&err)),
                Some(Err(err)) => return Ok(err.to_string()),
                None => return Ok("the aggregator ended it".to_owned()),
            }
        }
    }

    async fn take(
        &mut self,
        event: Event,
        output: &mut Output<impl AsyncWrite + Unpin>,
    ) -> Result<(), OutputError> {
        match event.event.as_str() {
            "event" | "message" => output.line(&event.data).await?,
            "missed" => say_missed(&event.data),
            // A later aggregator may tell more.
            _ => {}
        }
        // After it was printed. An event without an id leaves the place where it was.
        if !event.id.is_empty()
            && let Ok(id) = HeaderValue::from_bytes(event.id.as_bytes())
        {
            self.last_id = Some(id);
        }
        Ok(())
    }
}

fn say_missed(data: &str) {
    match serde_json::from_str(data) {
        Ok(Missed { missed }) => say(format_args!(
            "missed {missed} events: reading slower than they come in; GET /events has them"
        )),
        Err(_) => say("missed events: reading slower than they come in; GET /events has them"),
    }
}
