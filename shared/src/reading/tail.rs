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
    Format, Tail,
    events::Events,
    next,
    output::{Output, OutputError},
};
use crate::{
    api::{self, Api, ApiError, describe},
    command_line::say,
};

/// Shortest and longest pause before it reconnects.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The data of a `missed` message.
#[derive(Deserialize)]
struct Missed {
    missed: u64,
}

/// The data of a `start` message.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Start {
    unknown_last_event_id: bool,
}

/// Prints events until the limit or a permanent error. A failure of the first connection is permanent: until it succeeds, a
/// wrong address looks like an aggregator that is not running.
///
/// # Errors
/// If the aggregator refuses the request, or the output fails.
pub async fn tail(
    api: &Api,
    tail: &Tail,
    format: Format,
    output: &mut Output<impl AsyncWrite + Unpin>,
) -> anyhow::Result<()> {
    let mut subscription = Subscription {
        api,
        tail,
        events: Events::new(format),
        last_id: None,
    };
    let mut answer = subscription.open().await?;
    if format == Format::Table {
        say("waiting for new events; Ctrl-C ends");
    }
    let mut pause = PAUSE.0;
    loop {
        let opened = Instant::now();
        let seen = subscription.last_id.clone();
        let reason = match subscription.follow(answer, output).await? {
            Ended::Limit => return Ok(()),
            Ended::Lost(reason) => reason,
        };
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

/// Why a connection is not read any further.
enum Ended {
    /// As many events as requested were printed.
    Limit,
    /// It was lost, for this reason.
    Lost(String),
}

/// A subscription to the events that match, with its position.
struct Subscription<'a> {
    api: &'a Api,
    tail: &'a Tail,
    events: Events,
    /// The id of the last event printed, after which the aggregator continues.
    last_id: Option<HeaderValue>,
}

impl Subscription<'_> {
    async fn open(&self) -> Result<Response, ApiError> {
        let mut query = Vec::new();
        self.tail.filter.add_parameters(&mut query);
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| (name, value.as_str()))
            .collect();
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

    /// Prints the events of a connection until it is lost or the limit is reached.
    async fn follow(
        &mut self,
        answer: Response,
        output: &mut Output<impl AsyncWrite + Unpin>,
    ) -> Result<Ended, OutputError> {
        let mut messages = pin!(answer.bytes_stream().eventsource());
        let ended = loop {
            match next(&mut messages, &mut self.events, output).await? {
                Some(Ok(message)) => self.take(&message, output.text()),
                Some(Err(EventStreamError::Transport(err))) => break Ended::Lost(describe(&err)),
                Some(Err(err)) => break Ended::Lost(err.to_string()),
                None => break Ended::Lost("the aggregator closed it".to_owned()),
            }
            if self
                .tail
                .limit
                .is_some_and(|limit| self.events.count >= limit)
            {
                break Ended::Limit;
            }
        };
        self.events.flush(output.text());
        output.flush().await?;
        Ok(ended)
    }

    fn take(&mut self, message: &Event, to: &mut Vec<u8>) {
        match message.event.as_str() {
            "event" | "message" => self.events.add(&message.data, to),
            "missed" => self.say_missed(&message.data),
            "start" => say_start(&message.data),
            // A later aggregator may send other messages.
            _ => {}
        }
        // Only after it was printed. An event without an id does not change the position.
        if !message.id.is_empty()
            && let Ok(id) = HeaderValue::from_bytes(message.id.as_bytes())
        {
            self.last_id = Some(id);
        }
    }

    fn say_missed(&self, data: &str) {
        let missed = match serde_json::from_str(data) {
            Ok(Missed { missed }) => missed.to_string(),
            Err(_) => "some".to_owned(),
        };
        if self.tail.filter.has_conditions() {
            say(format_args!(
                "{missed} events were not searched: they are stored faster than they can be searched; aggregator query finds them"
            ));
        } else {
            say(format_args!(
                "missed {missed} events: reading more slowly than events are stored; aggregator query prints them"
            ));
        }
    }
}

fn say_start(data: &str) {
    let start: Start = serde_json::from_str(data).unwrap_or_default();
    if start.unknown_last_event_id {
        say(
            "the aggregator does not know the last event printed; continuing with the events stored from now on",
        );
    }
}
