//! `tail`: prints events as they are stored, from now on, and reconnects after a lost connection.

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

/// Shortest and longest pause before it reconnects.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The data of a `missed` message.
#[derive(Deserialize)]
struct Missed {
    missed: u64,
}

/// Prints events until a permanent error. A failure of the first connection is permanent: until it succeeds, a wrong
/// address looks like an aggregator that is not running.
///
/// # Errors
/// If the aggregator refuses the request, or the output fails.
pub async fn tail(
    api: &Api,
    topic: Option<&str>,
    output: &mut Output<impl AsyncWrite + Unpin>,
) -> anyhow::Result<()> {
    let mut subscription = Subscription {
        api,
        topic,
        last_id: None,
    };
    let mut answer = subscription.open().await?;
    let mut pause = PAUSE.0;
    loop {
        let opened = Instant::now();
        let (seen, reason) = (
            subscription.last_id.clone(),
            subscription.follow(answer, output).await?,
        );
        output.flush().await?;
        say(format_args!(
            "lost the connection ({reason}); connecting again"
        ));
        // A connection that delivered nothing and was lost quickly counts as a failed attempt.
        if subscription.last_id != seen || opened.elapsed() > PAUSE.1 {
            pause = PAUSE.0;
        }
        answer = loop {
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(PAUSE.1);
            match subscription.open().await {
                Ok(answer) => break answer,
                Err(err) if err.is_transient() => {}
                Err(err) => return Err(err.into()),
            }
        };
        say("connected again");
    }
}

/// A subscription to the events of one topic or of all, with its position.
struct Subscription<'a> {
    api: &'a Api,
    topic: Option<&'a str>,
    /// The id of the last event printed, after which the aggregator continues.
    last_id: Option<HeaderValue>,
}

impl Subscription<'_> {
    async fn open(&self) -> Result<Response, ApiError> {
        let query: Vec<_> = self.topic.iter().map(|topic| ("topic", *topic)).collect();
        let mut request = self
            .api
            .get(self.api.url("events/tail", &query))
            .header(ACCEPT, "text/event-stream")
            .header(CACHE_CONTROL, "no-store");
        if let Some(id) = &self.last_id {
            request = request.header("Last-Event-ID", id);
        }
        let answer = api::answer(request).await?;
        api::expect_media_type(&answer, "event-stream")?;
        Ok(answer)
    }

    /// Prints the events of a connection until it is lost. Returns why.
    async fn follow(
        &mut self,
        answer: Response,
        output: &mut Output<impl AsyncWrite + Unpin>,
    ) -> Result<String, OutputError> {
        let mut events = pin!(answer.bytes_stream().eventsource());
        loop {
            match next(&mut events, output).await? {
                Some(Ok(event)) => self.print(event, output).await?,
                Some(Err(EventStreamError::Transport(err))) => return Ok(describe(&err)),
                Some(Err(err)) => return Ok(err.to_string()),
                None => return Ok("the aggregator closed it".to_owned()),
            }
        }
    }

    async fn print(
        &mut self,
        event: Event,
        output: &mut Output<impl AsyncWrite + Unpin>,
    ) -> Result<(), OutputError> {
        match event.event.as_str() {
            "event" | "message" => output.line(&event.data).await?,
            "missed" => say_missed(&event.data),
            // A later aggregator may send other messages.
            _ => {}
        }
        // Only after it was printed. An event without an id does not change the position.
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
            "missed {missed} events: reading more slowly than events are stored; GET /events has them"
        )),
        Err(_) => {
            say("missed events: reading more slowly than events are stored; GET /events has them");
        }
    }
}
